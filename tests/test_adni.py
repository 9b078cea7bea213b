"""ADNI's tables: read by prefix, encoded on the training part alone, refused in one line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from bed_reader import to_bed
from click.testing import CliRunner
from nibabel import Nifti1Image
from nibabel import save as save_nifti

from metakd_monai.apps.adni import (
    MODALITIES,
    PARTS,
    encode_adni,
    make_encoders,
    prepare_adni,
    read_cohort,
    simulate_adni,
)
from metakd_monai.apps.adni.encode import MapScaler, TableEncoder, VectorScaler
from metakd_monai.apps.adni.genomic import prune, read_genotypes
from metakd_monai.apps.adni.imaging import read_imaging
from metakd_monai.apps.adni.oversample import oversample
from metakd_monai.apps.adni.simulated_subjects import MISSING
from metakd_monai.apps.adni.tables import clean, latest_rows, read_diagnoses, read_group
from metakd_monai.cli import main
from metakd_monai.errors import UserError
from metakd_monai.networks import ConvEncoder, VectorEncoder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adni") / "raw"
    simulate_adni(folder, subjects=150, seed=1)
    return folder


@pytest.fixture
def copied(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare_adni(raw, folder, seed=0)


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def edit(path, change):
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False)


def test_cohort_is_split_stratified_and_seeded(raw, prepared, tmp_path):
    folder, manifest = prepared
    total = {name: sum(part[name] for part in manifest["subjects"].values()) for name in ("CTL", "MCI", "AD")}
    for part, share in zip(PARTS, (0.70, 0.15, 0.15), strict=True):
        for name, count in manifest["subjects"][part].items():
            assert count == pytest.approx(share * total[name], abs=1.5)
    assert sum(total.values()) == 150
    again = prepare_adni(raw, tmp_path / "again", seed=0)
    assert again == manifest
    assert (tmp_path / "again" / "adni.npz").read_bytes() == (folder / "adni.npz").read_bytes()
    assert prepare_adni(raw, tmp_path / "other", seed=1)["sha256"] != manifest["sha256"]
    for name, share in MISSING.items():
        assert manifest["missing"][name] == pytest.approx(share, abs=0.15)
    assert not any("PTCOGBEG" in column or "PTADDX" in column for column in manifest["columns"]["clinical"])


def test_absence_is_nan_and_numbers_are_in_range(prepared):
    parts = read_cohort(prepared[0])
    for item in [item for part in PARTS for item in parts[part]]:
        for name, there in zip(MODALITIES, item["available"], strict=True):
            values = item[name]
            assert values.isnan().logical_not().all() if there else values.isnan().all()
            if there:
                assert values.abs().max() <= 1 + 1e-6
        assert item["available"].any()
    names = {part: {item["case_id"] for item in parts[part]} for part in PARTS}
    assert not names["training"] & names["test"]
    assert not names["validation"] & names["test"]


def test_synthetic_samples_are_for_training_alone_and_take_no_modality(prepared):
    parts = read_cohort(prepared[0])
    assert all("synthetic" not in item["case_id"] for part in PARTS[1:] for item in parts[part])
    synthetic = [item for item in parts["training"] if "synthetic" in item["case_id"]]
    assert len(synthetic) == prepared[1]["synthetic"] > 0
    patterns = {tuple(i["available"].tolist()) for i in parts["training"] if "synthetic" not in i["case_id"]}
    assert {tuple(item["available"].tolist()) for item in synthetic} <= patterns


def test_smote_lies_between_neighbours_of_the_same_modalities():
    rng = np.random.default_rng(0)
    label = np.array([0] * 12 + [1] * 4 + [2])
    arrays = {
        "one": rng.normal(size=(17, 2)).astype(np.float32),
        "two": np.full((17, 3), np.nan, np.float32),
        "available": np.tile([True, False], (17, 1)),
        "label": label,
        "part": np.zeros(17, int),
        "ptid": np.array([f"subject_{n}" for n in range(17)]),
        "synthetic": np.zeros(17, bool),
    }
    grown = oversample(arrays, ("one", "two"), seed=0)
    assert np.bincount(grown["label"]).tolist() == [12, 12, 1]  # one sample has no neighbour
    made = grown["one"][grown["synthetic"]]
    mine = arrays["one"][label == 1]
    assert (made >= mine.min(axis=0) - 1e-6).all()
    assert (made <= mine.max(axis=0) + 1e-6).all()
    assert np.isnan(grown["two"]).all()
    assert np.array_equal(grown["one"][:17], arrays["one"])


def test_encoders_are_fitted_on_the_training_part_alone():
    rows = pd.DataFrame(
        {
            "age": [60.0, 80, np.nan, 200],
            "work": ["a", "b", None, "c"],
            "sex": [1.0, 2, 2, 1],
            "empty": [np.nan] * 3 + [5],
        }
    )
    encoder = TableEncoder(rows[:3])
    values, names = encoder(rows), encoder.names
    assert not any(name.startswith("empty") for name in names)
    by_name = dict(zip(names, values.T.tolist(), strict=True))
    # Two different ages are few enough to be categories; a third makes them numbers.
    assert by_name["sex_1.0"] == [1, -1, -1, 1]
    assert by_name["work_a"] == [1, -1, -1, -1]
    assert by_name["work_missing"] == [-1, -1, 1, -1]
    assert [by_name[n][3] for n in names if n.startswith("work")] == [-1, -1, -1]  # an unknown category
    more = pd.concat([rows, rows.assign(age=70.0).iloc[:1]], ignore_index=True)
    encoder = TableEncoder(more.drop(index=3))
    values, names = encoder(more), encoder.names
    assert values[:, names.index("age")].tolist() == [-1, 1, 0, 1, 0]  # the mean of 60, 80 and 70; 200 is clipped


def test_counts_and_images_by_hand():
    counts = np.array([[0, 2], [2, np.nan], [1, 0]])
    assert VectorScaler(counts[:2])(counts)[:, 0].tolist() == [-1, 1, 0]
    maps = np.zeros((3, 1, 2, 2, 2), np.float32)
    maps[0] = 2
    encoded = MapScaler(maps[:2])(maps)
    assert (encoded[0].mean(), encoded[1].mean()) == (1, -1)


def test_pruning_keeps_one_of_each_block():
    rng = np.random.default_rng(0)
    independent = rng.binomial(2, 0.4, (400, 12)).astype(float)
    rarer = independent[:, :6].copy()
    rarer[rng.random(rarer.shape) < 0.1] = 0  # in linkage with the first six, the allele is rarer
    constant = np.ones((400, 1))
    counts = np.concatenate([independent, rarer, constant], axis=1)
    counts[3, 4] = np.nan
    stays = prune(counts, np.full(19, "1"))
    assert stays.tolist() == [True] * 12 + [False] * 7
    assert prune(counts, np.array(["1"] * 12 + ["2"] * 7)).tolist() == [True] * 18 + [False]  # other chromosomes


def test_newest_row_counts_and_its_gaps_are_filled():
    table = pd.DataFrame(
        {"PTID": ["a", "a", "b"], "UPDATE_STAMP": ["2020", "2021", "2020"], "X": [1.0, 2, 3], "Y": [4.0, np.nan, 6]}
    )
    rows = latest_rows(table, "table.csv")
    assert rows.loc["a", ["X", "Y"]].tolist() == [2, 4]


def test_texts_that_are_numbers_and_missing_codes():
    rows = clean(pd.DataFrame({"A": [">1700", "<8", "200.5"], "B": [-4, 2, -1], "C": ["x", "-4", "y"]}))
    assert rows["A"].tolist() == [1700, 8, 200.5]
    assert rows["B"].isna().tolist() == [True, False, True]
    rows = clean(pd.DataFrame({"EXDATE": ["2000-01-03", None]}))
    assert rows["EXDATE"].tolist()[0] == 2


def test_diagnoses_that_changed_are_left_out(copied):
    path = next(copied.glob("DXSUM*"))
    before = read_diagnoses(copied)
    visits = pd.read_csv(path)
    changed = visits.iloc[:1].assign(DIAGNOSIS=visits["DIAGNOSIS"].iloc[0] % 3 + 1)
    pd.concat([visits, changed]).to_csv(path, index=False)
    after = read_diagnoses(copied)
    assert set(before.index) - set(after.index) == {visits["PTID"].iloc[0]}


@pytest.mark.parametrize("kind", ["raw", "csv"])
def test_genotypes_in_other_forms(copied, kind):
    subjects = list(read_diagnoses(copied).index)
    wanted, _ = read_genotypes(copied, subjects)
    for path in copied.glob("genomic.*"):
        path.unlink()
    table = wanted.astype(object).where(wanted.notna(), "NA")
    if kind == "raw":
        table.insert(0, "IID", table.index)
        table.to_csv(copied / "all.raw", sep=" ", index=False)
    else:
        table.rename_axis("PTID").to_csv(copied / "GENOMIC_02Feb2026.csv")
    found, _ = read_genotypes(copied, subjects)
    assert np.array_equal(found.sort_index(), wanted.sort_index(), equal_nan=True)


@pytest.mark.parametrize("kind", ["matrix", "maps"])
def test_imaging_in_other_forms(copied, tmp_path, kind):
    subjects = list(read_diagnoses(copied).index)
    next(copied.glob("IMAGE*")).unlink()
    chosen = sorted(subjects)[:40]
    if kind == "matrix":
        np.save(copied / "ADNI_G.npy", np.arange(82.0).reshape(41, 2))
        scans = [f"{ptid}_2010-01-01" for ptid in chosen]
        (copied / "ADNI_subj.txt").write_text("\n".join([f"{chosen[0]}_2012-01-01", *scans]))
        names, values = read_imaging(copied, subjects)
        assert dict(zip(names, values[:, 0].tolist(), strict=True))[chosen[0]] == 0  # its scan of 2012
        assert values.shape == (40, 2)
    else:
        for n, ptid in enumerate(chosen):
            save_nifti(Nifti1Image(np.full((30, 32, 30), n, np.float32), np.eye(4)), copied / f"{ptid}_map.nii.gz")
        manifest = prepare_adni(copied, tmp_path / "out")
        assert manifest["shapes"]["imaging"] == [1, 24, 28, 24]
        encoders = make_encoders(tmp_path / "out", features=5)
        assert isinstance(encoders["imaging"], ConvEncoder)
        assert isinstance(encoders["genomic"], VectorEncoder)
        item = next(item for item in read_cohort(tmp_path / "out")["training"] if item["available"][3])
        assert encoders["imaging"].eval()(item["imaging"][None]).shape == (1, 5)


def no_ptid(folder):
    edit(folder / "VITALS_01Jan2026.csv", lambda table: table.rename(columns={"PTID": "SUBJECT"}))


def twice(folder):
    edit(folder / "IMAGE_01Jan2026.csv", lambda table: pd.concat([table, table.iloc[:1]]))


def twice_in_plink(folder):
    names = ["002_S_0001"] * 2
    to_bed(folder / "genomic.bed", np.ones((2, 3)), properties={"iid": names}, num_threads=1)


def strange_diagnosis(folder):
    edit(folder / "DXSUM_PDXCONV_01Jan2026.csv", lambda table: table.assign(DIAGNOSIS=table["DIAGNOSIS"] + 1))


def other_cohort(folder):
    edit(folder / "APOERES_01Jan2026.csv", lambda table: table.assign(PTID="999_S_" + table["PTID"].str[-4:]))


def one_class(folder):
    edit(folder / "DXSUM_PDXCONV_01Jan2026.csv", lambda table: table.assign(DIAGNOSIS=1))


def no_diagnoses(folder):
    (folder / "DXSUM_PDXCONV_01Jan2026.csv").unlink()


def two_tables(folder):
    shutil.copy(folder / "VITALS_01Jan2026.csv", folder / "VITALS_02Jan2026.csv")


def no_clinical(folder):
    for name in ("MEDHIST", "NEUROEXM", "PTDEMOG", "RECCMEDS", "VITALS"):
        (folder / f"{name}_01Jan2026.csv").unlink()


def no_table(folder):
    (folder / "VITALS_01Jan2026.csv").write_text("")


def no_bim(folder):
    (folder / "genomic.bim").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_ptid, "VITALS_01Jan2026.csv: no column PTID found (there are SUBJECT"),
        (twice, "found twice; expected one row, or UPDATE_STAMP"),
        (twice_in_plink, "genomic.bed: PTID 002_S_0001 found twice"),
        (strange_diagnosis, "diagnosis '4' found; expected 1, 2, 3"),
        (other_cohort, "APOERES_01Jan2026.csv: no subject in common with the diagnoses (first PTID: 999_S_"),
        (one_class, "0 subjects of class MCI found; expected at least 7"),
        (no_diagnoses, "no DXSUM*.csv found"),
        (two_tables, "2 tables VITALS*.csv found"),
        (no_clinical, "no table of clinical found; expected some of MEDHIST"),
        (no_table, "VITALS_01Jan2026.csv: unreadable"),
        (no_bim, "genomic.bed: unreadable"),
    ],
)
def test_bad_tables_cost_one_line(copied, tmp_path, spoil, message):
    spoil(copied)
    result = run("adni-prepare", copied, "-o", tmp_path / "out")
    assert result.exit_code == 2
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("metakd: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_given_splits_are_followed_or_refused(copied, tmp_path):
    labels = read_diagnoses(copied)
    lists = {
        "training": list(labels.index[::2]),
        "validation": list(labels.index[1::4]),
        "testing": list(labels.index[3::4]),
    }
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(lists))
    manifest = prepare_adni(copied, tmp_path / "out", splits=path)
    assert sum(manifest["subjects"]["test"].values()) == len(lists["testing"])
    controls = [ptid for ptid in lists["testing"] if labels[ptid] == 0]
    others = [ptid for ptid in lists["testing"] if labels[ptid] != 0]
    path.write_text(json.dumps({**lists, "testing": controls, "training": lists["training"] + others}))
    with pytest.raises(UserError, match="the test part has CTL alone; expected each of CTL, MCI, AD in it"):
        prepare_adni(copied, tmp_path / "out", splits=path)
    path.write_text(json.dumps({**lists, "testing": others}))
    with pytest.raises(UserError, match="subjects are in no part"):
        prepare_adni(copied, tmp_path / "out", splits=path)
    path.write_text(json.dumps({**lists, "testing": lists["training"]}))
    with pytest.raises(UserError, match="a subject stands in it twice"):
        prepare_adni(copied, tmp_path / "out", splits=path)


def test_commands(tmp_path):
    assert run("adni-simulate", tmp_path / "raw", "--subjects", 60).exit_code == 0
    done = run("adni-prepare", tmp_path / "raw", "-o", tmp_path / "out", "--no-smote")
    assert done.exit_code == 0, done.output
    assert "0 synthetic samples" in done.output
    assert run("adni-simulate", tmp_path / "few", "--subjects", 10).exit_code == 2
    with pytest.raises(UserError, match="expected a folder that `metakd adni-prepare` wrote"):
        read_cohort(tmp_path / "raw")
    (tmp_path / "out" / "adni.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="unreadable"):
        read_cohort(tmp_path / "out")


def test_simulated_modalities_hold_what_they_say(tmp_path):
    """Least squares along each modality finds the separation that was put in."""
    simulate_adni(tmp_path, subjects=4000, seed=0, missing=dict.fromkeys(MODALITIES, 0.0))
    labels = read_diagnoses(tmp_path)
    imaging = pd.read_csv(next(tmp_path.glob("IMAGE*"))).set_index("PTID").loc[labels.index]
    genotypes, _ = read_genotypes(tmp_path, list(labels.index))
    clinical = read_group(tmp_path, "clinical", list(labels.index)).loc[labels.index]
    informative = clinical[[c for c in clinical if c.split(".")[1] in ("NXGAIT", "NXTREMOR") or c.startswith("VITALS")]]
    genotypes = genotypes.loc[labels.index].fillna(genotypes.mean()).iloc[:, ::3]
    for values, wanted in ((imaging, 1.4), (informative, 0.8), (genotypes, 2.0)):
        assert separation(values.to_numpy(float), labels.to_numpy()) == pytest.approx(wanted, abs=0.25)


def separation(values, label):
    """Return the distance of class means along the best direction, in standard deviations within a class."""
    within = values - np.stack([values[label == c].mean(axis=0) for c in range(3)])[label]
    covariance = within.T @ within / len(values)
    step = (values[label == 2].mean(axis=0) - values[label == 0].mean(axis=0)) / 2
    return float(np.sqrt(step @ np.linalg.solve(covariance, step)))


def test_an_absent_modality_cannot_leak(prepared):
    item = read_cohort(prepared[0])["test"][0]
    encoders = make_encoders(prepared[0], features=4)
    absent = [name for name, there in zip(MODALITIES, item["available"], strict=True) if not there]
    assert all(torch.isnan(encoders[name].eval()(item[name][None])).any() for name in absent)  # NaN would be seen


def test_subjects_to_come_are_encoded_as_fitted(raw, prepared, copied, tmp_path):
    """The subjects of the cohort itself, met as strangers, get the very numbers they had."""
    fitted = prepared[0] / "fitted.joblib"
    before = {item["case_id"]: item for part in PARTS for item in read_cohort(prepared[0])[part]}
    strangers = sorted(ptid for ptid in before if "synthetic" not in ptid)[:30]
    for path in copied.glob("*.csv"):
        edit(path, lambda table: table[table["PTID"].isin(strangers)])
    next(copied.glob("DXSUM*")).unlink()
    done = run("adni-prepare", copied, "-o", tmp_path / "new", "--fitted", fitted)
    assert done.exit_code == 0, done.output
    items = {item["case_id"]: item for item in read_cohort(tmp_path / "new")["test"]}
    assert set(strangers) <= set(items)  # the PLINK file still has everybody who has genotypes
    for ptid in strangers:
        assert items[ptid]["label"] == -1
        for name in (*MODALITIES, "available"):
            torch.testing.assert_close(items[ptid][name], before[ptid][name], rtol=0, atol=0, equal_nan=True)
    assert encode_adni(copied, tmp_path / "again", fitted)["sha256"] == encode_adni(copied, tmp_path, fitted)["sha256"]
    with_diagnoses = encode_adni(raw, tmp_path / "diagnosed", fitted)
    assert sum(with_diagnoses["subjects"]["test"].values()) == 150


def test_subjects_to_come_may_lack_whole_modalities(prepared, copied, tmp_path):
    for pattern in ("DXSUM*", "IMAGE*", "genomic*", "VITALS*"):
        for path in copied.glob(pattern):
            path.unlink()
    edit(next(copied.glob("NEUROEXM*")), lambda table: table.assign(NXVISUAL="unheard of"))
    manifest = encode_adni(copied, tmp_path / "new", prepared[0] / "fitted.joblib")
    assert manifest["missing"]["genomic"] == manifest["missing"]["imaging"] == 1
    assert manifest["shapes"] == prepared[1]["shapes"]
    items = read_cohort(tmp_path / "new")["test"]
    assert not any(item["clinical"].isnan().any() for item in items if item["available"][0])


def test_what_does_not_fit_is_refused(prepared, copied, tmp_path):
    fitted = prepared[0] / "fitted.joblib"
    path = next(copied.glob("IMAGE*"))
    table = pd.read_csv(path)
    table.drop(columns=table.columns[0]).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"imaging: \(11,\) values for each subject found; expected \(12,\)"):
        encode_adni(copied, tmp_path / "new", fitted)
    path.unlink()
    (tmp_path / "spoilt.joblib").write_bytes(b"PK")
    for wrong, message in ((tmp_path / "spoilt.joblib", "unreadable"), (tmp_path / "none", "no such file")):
        with pytest.raises(UserError, match=message):
            encode_adni(copied, tmp_path / "new", wrong)
    assert not (tmp_path / "new").exists()

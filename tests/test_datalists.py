"""Downloads of every year, their labels and their splits."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from layouts import AFFINE, make_layout, write_grades
from monai.data import load_decathlon_datalist
from monai.transforms import LoadImaged

from metakd_monai.bundle.split import split_cases
from metakd_monai.cli import main
from metakd_monai.data.datalists import datalist_part, make_datalist, read_datalist, read_layout, write_datalist
from metakd_monai.data.datalists.splits import read_lists
from metakd_monai.data.years import YEARS
from metakd_monai.errors import UserError
from metakd_monai.transforms import LabelsToRegionsd, LoadImageModalitiesd, RegionsToLabelsd, regions_to_labels

FORCED = {"2024": "2024"}  # tiny volumes have not the shape by which 2024 is told from 2023


def layout_of(folder, year, **options):
    return read_layout(folder, FORCED.get(year, "auto"), progress=False, **options)


@pytest.mark.parametrize("year", YEARS)
def test_every_year_is_recognised_and_read(year, tmp_path):
    names = make_layout(tmp_path, year)
    layout = layout_of(tmp_path, year)
    assert (layout.year, sorted(e.case.case_id for e in layout.entries)) == (YEARS[year], sorted(names))
    item = LoadImageModalitiesd()(layout.entries[0].as_item(layout.year))
    assert item["available"].all()
    assert item["image"].shape == (4, 16, 18, 14)
    regions = LabelsToRegionsd(keys="label")(LoadImaged(keys="label", ensure_channel_first=True)(item))["label"]
    assert regions.sum(dim=(1, 2, 3)).tolist() == [1, 3, 7]  # ET; ET and necrosis; and oedema; no cavity


@pytest.mark.parametrize("year", ["2018", "2019", "2020", "2021", "2023", "msd"])
def test_a_validation_part_has_no_labels(year, tmp_path):
    names = make_layout(tmp_path, year, cases=2, labelled=False)
    layout = layout_of(tmp_path, year)
    assert [entry.case.label for entry in layout.entries] == [None] * len(names)


def test_a_validation_part_alone_is_all_testing(tmp_path):
    names = make_layout(tmp_path / "data", "2021", cases=2, labelled=False)
    path = tmp_path / "list.json"
    write_datalist(path, make_datalist(layout_of(tmp_path / "data", "auto")))
    assert ids(datalist_part(path, "testing")) == set(names)
    assert not any(datalist_part(path, part) for part in ("meta", "test"))
    with pytest.raises(UserError, match="no training cases"):
        datalist_part(path, "validation")


def test_an_msd_archive_is_found_in_the_folder_it_was_unpacked_to(tmp_path):
    names = make_layout(tmp_path / "Task01_BrainTumour", "msd", cases=2)
    assert [entry.case.case_id for entry in layout_of(tmp_path, "msd").entries] == names


def test_an_msd_file_without_its_channels_is_refused(tmp_path):
    make_layout(tmp_path, "msd", cases=2)
    path = tmp_path / "imagesTr" / "BRATS_001.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj)[..., 0], AFFINE), path)
    with pytest.raises(UserError, match=r"BRATS_001\.nii\.gz: shape \(16, 18, 14\); expected a 4-D file"):
        layout_of(tmp_path, "msd")


def test_text_of_another_encoding_ends_in_words(tmp_path):
    (name,) = make_layout(tmp_path / "data", "2020", cases=1)
    row = f"Grade,Site,BraTS_2020_subject_ID\nLGG,Z\xfcrich,{name}\n".encode("latin-1")
    (tmp_path / "data" / "name_mapping.csv").write_bytes(row)
    layout = layout_of(tmp_path / "data", "auto")
    assert layout.entries[0].grade == "LGG"
    splits = lists(tmp_path / "s", train=[name], val=[name])
    (splits / "val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="1 names in val"):
        make_datalist(layout, splits=splits)


def test_2024_is_told_from_2023_by_its_shape(tmp_path):
    make_layout(tmp_path, "2024", cases=1, shape=YEARS["2024"].shape)
    assert layout_of(tmp_path, "auto").year is YEARS["2024"]


def test_labels_and_back():
    masks = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]])  # ET, TC, WT; second and third not nested
    assert regions_to_labels(masks).tolist() == [[4, 4, 1, 2, 0]]
    assert regions_to_labels(masks, 3, nested=True).tolist() == [[3, 0, 0, 2, 0]]
    assert RegionsToLabelsd("x", nested=True)({"x": masks})["x"].tolist() == [[4, 0, 0, 2, 0]]


def relabel(path, old, new):
    voxels = np.asarray(nib.load(path).dataobj)
    nib.save(nib.Nifti1Image(np.where(voxels == old, new, voxels).astype(np.uint8), AFFINE), path)


@pytest.mark.parametrize(("year", "old", "new"), [("2018", 4, 3), ("2021", 4, 3), ("2023", 3, 4), ("msd", 3, 4)])
def test_labels_of_another_year_are_refused(year, old, new, tmp_path):
    make_layout(tmp_path, year)
    label = layout_of(tmp_path, year).entries[2].case.label
    relabel(label, old, new)
    with pytest.raises(UserError, match=rf"{label.name}: label values {new} found; expected 0, 1, 2, {old} of"):
        layout_of(tmp_path, year)


def test_the_year_can_be_said_when_names_are_wrong_about_it(tmp_path):
    make_layout(tmp_path, "2023")
    relabel(layout_of(tmp_path, "auto").entries[2].case.label, 3, 4)
    with pytest.raises(UserError, match=r"by the names this is 2023; --year overrides\)$"):
        layout_of(tmp_path, "auto")
    assert layout_of(tmp_path, "2024").year is YEARS["2024"]  # 4 is its resection cavity


def test_two_years_together_are_refused_and_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no modality found"):
        layout_of(tmp_path, "auto")
    make_layout(tmp_path / "a", "2018", cases=1)
    make_layout(tmp_path / "b", "2021", cases=1)
    with pytest.raises(UserError, match=r"Brats18_TCIA_000_1 \(2018\); BraTS2021_00000 \(2021\); expected one"):
        layout_of(tmp_path, "auto")


def test_case_355_of_2020(tmp_path):
    (name,) = make_layout(tmp_path, "2020", cases=1)
    (tmp_path / name / f"{name}_seg.nii.gz").rename(tmp_path / name / "W39_1998.09.19_Segm.nii.gz")
    assert layout_of(tmp_path, "auto").entries[0].case.label.name == "W39_1998.09.19_Segm.nii.gz"


def test_grades_from_folders_and_from_the_table_of_2020(tmp_path):
    make_layout(tmp_path / "2018", "2018", cases=2)
    assert [entry.grade for entry in layout_of(tmp_path / "2018", "auto").entries] == ["HGG", "LGG"]
    names = make_layout(tmp_path / "2020", "2020", cases=2)
    write_grades(tmp_path / "2020", dict(zip(names, ("LGG", "HGG"), strict=True)))
    assert [entry.grade for entry in layout_of(tmp_path / "2020", "auto").entries] == ["LGG", "HGG"]


def ids(items):
    return {item["case_id"] for item in items}


def test_parts_are_whole_disjoint_by_patient_and_stratified(tmp_path):
    names = make_layout(tmp_path, "2018", cases=40)
    made = make_datalist(layout_of(tmp_path, "auto"))
    parts = [*(made[part] for part in ("training", "meta", "test"))]
    assert [len(part) for part in parts] == [27, 5, 8]
    assert set().union(*map(ids, parts)) == set(names)
    assert [sum(item["grade"] == "HGG" for item in made["test"]), ids(made["meta"]) & ids(made["test"])] == [4, set()]
    for fold in range(5):
        assert 2 <= sum(i["grade"] == "HGG" for i in made["training"] if i["fold"] == fold) <= 4


def test_time_points_of_a_patient_stay_together(tmp_path):
    make_layout(tmp_path, "2023", cases=24)
    made = make_datalist(layout_of(tmp_path, "auto"), folds=3)
    groups = [made["meta"], made["test"], *([i for i in made["training"] if i["fold"] == n] for n in range(3))]
    patients = [{item["patient"] for item in group} for group in groups]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 12
    assert all(len(group) == 2 * len(members) for group, members in zip(groups, patients, strict=True))


def test_the_split_depends_on_seed_and_names_alone(tmp_path):
    for folder in ("here", "there"):
        make_layout(tmp_path / folder, "2021", cases=20)
    made = [make_datalist(layout_of(tmp_path / folder, "auto")) for folder in ("here", "there")]
    here, there = [{item["case_id"]: item["fold"] for item in one["training"]} for one in made]
    assert here == there
    other = make_datalist(layout_of(tmp_path / "here", "auto"), seed=1)
    assert ids(other["test"]) != ids(made[0]["test"])


def test_too_few_patients_and_wrong_shares(tmp_path):
    make_layout(tmp_path, "2021", cases=4)
    layout = layout_of(tmp_path, "auto")
    with pytest.raises(UserError, match="4 labelled patients found, 2 of them for 5 folds"):
        make_datalist(layout)
    with pytest.raises(UserError, match=r"test-fraction: 0\.7 found"):
        make_datalist(layout, test_fraction=0.7)
    with pytest.raises(UserError, match="folds: 1 found"):
        make_datalist(layout, folds=1)


def lists(folder, **names):
    folder.mkdir(exist_ok=True)
    for part, lines in names.items():
        (folder / f"{part}.txt").write_text("\r\n".join(lines) + "\r\n")
    return folder


def test_published_lists_are_followed(tmp_path, caplog):
    names = make_layout(tmp_path / "data", "2018", cases=8)
    layout = layout_of(tmp_path / "data", "auto")
    splits = lists(tmp_path / "s", train=[f"HGG/{n}" for n in names[:4]], val=[f"{names[4]}.npy"], test=names[5:7])
    made = make_datalist(layout, splits=splits)
    folds = {item["case_id"]: item["fold"] for item in made["training"]}
    assert folds.pop(names[4]) == 0
    assert set(folds.values()) == {1}
    assert set(folds) | ids(made["meta"]) == set(names[:4])
    assert (len(made["meta"]), ids(made["test"])) == (1, set(names[5:7]))
    assert "1 labelled cases are in no list" in caplog.text


def test_published_lists_that_do_not_fit_are_refused(tmp_path):
    names = make_layout(tmp_path / "data", "2018", cases=4)
    layout = layout_of(tmp_path / "data", "auto")
    with pytest.raises(UserError, match=r"no cases in train\*\.txt"):
        make_datalist(layout, splits=lists(tmp_path / "a"))
    with pytest.raises(UserError, match=r"1 names in val\*\.txt are not in the data set \(Brats18_X\)"):
        make_datalist(layout, splits=lists(tmp_path / "b", train=names, val=["Brats18_X"]))
    with pytest.raises(UserError, match=r"is in the lists of training and validation \(train\.txt, val\.txt\)"):
        make_datalist(layout, splits=lists(tmp_path / "c", train=names, val=names[:1]))
    with pytest.raises(UserError, match="1 names in val"):  # joined lines, as of files without a last newline
        make_datalist(layout, splits=lists(tmp_path / "d", train=names[:2], val=["".join(names[2:])]))
    with pytest.raises(UserError, match="no such folder"):
        make_datalist(layout, splits=tmp_path / "e")


def test_cases_with_sequences_missing_are_kept_and_can_be_left_out(tmp_path):
    names = make_layout(tmp_path, "2021", cases=3)
    (tmp_path / names[1] / f"{names[1]}_t1ce.nii.gz").unlink()
    entry = layout_of(tmp_path, "auto").entries[1]
    assert LoadImageModalitiesd()(entry.as_item(None))["available"].tolist() == [True, True, False, True]
    assert len(layout_of(tmp_path, "auto", min_modalities=4).entries) == 2


def test_a_damaged_label_is_named_and_skipped_when_asked(tmp_path, caplog):
    names = make_layout(tmp_path, "2021", cases=3)
    (tmp_path / names[1] / f"{names[1]}_seg.nii.gz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=rf"{names[1]}_seg\.nii\.gz: unreadable"):
        layout_of(tmp_path, "auto")
    assert len(layout_of(tmp_path, "auto", skip_damaged=True).entries) == 2
    assert f"{names[1]}: left out" in caplog.text


def test_a_sequence_that_is_cut_short_is_found(tmp_path, caplog):
    """The header is whole, and so are the voxels: the checksum is cut."""
    names = make_layout(tmp_path, "2021", cases=3)
    path = tmp_path / names[1] / f"{names[1]}_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=rf"{names[1]}_t2\.nii\.gz: unreadable or truncated"):
        layout_of(tmp_path, "auto")
    assert len(layout_of(tmp_path, "auto", skip_damaged=True).entries) == 2
    assert f"{names[1]}: left out" in caplog.text


@pytest.mark.parametrize("shift", [0, 60])
def test_a_label_map_on_another_grid_is_refused(tmp_path, shift):
    names = make_layout(tmp_path, "2021", cases=3)
    path = tmp_path / names[1] / f"{names[1]}_seg.nii.gz"
    image = nib.load(path)
    voxels, affine = np.asarray(image.dataobj), image.affine.copy()
    affine[:3, 3] += shift
    nib.save(nib.Nifti1Image(voxels if shift else voxels[:-2], affine), path)
    found = "affine differs by 60 from" if shift else r"shape .* found; expected .* as in"
    with pytest.raises(UserError, match=rf"{names[1]}_seg\.nii\.gz: {found} .*the images of its case"):
        layout_of(tmp_path, "auto")


def test_a_damaged_first_file_does_not_hide_the_year(tmp_path):
    names = make_layout(tmp_path, "2023", cases=4)
    (tmp_path / names[0] / f"{names[0]}-t1c.nii.gz").write_bytes(b"damaged")
    layout = layout_of(tmp_path, "auto", skip_damaged=True)
    assert (layout.year, len(layout.entries)) == (YEARS["2023"], 3)


def test_links_to_files_keep_their_names(tmp_path):
    make_layout(tmp_path / "data", "2021", cases=10)
    for number, path in enumerate(sorted((tmp_path / "data").rglob("*.nii.gz"))):
        path.symlink_to(path.rename(tmp_path / f"blob{number}"))
    write_datalist(tmp_path / "list.json", make_datalist(layout_of(tmp_path / "data", "auto"), folds=2, meta_cases=1))
    item = datalist_part(tmp_path / "list.json", "test")[0]
    assert all(name.endswith(".nii.gz") for name in [*item["image"].values(), item["label"]])


@pytest.mark.parametrize("inside", [True, False])
def test_monai_reads_the_file(inside, tmp_path):
    make_layout(tmp_path / "data", "2021", cases=10)
    path = tmp_path / "list.json" if inside else tmp_path / "lists" / "list.json"
    write_datalist(path, make_datalist(layout_of(tmp_path / "data", "auto"), folds=2, meta_cases=1))
    stored = json.loads(path.read_text())["training"][0]
    assert Path(stored["label"]).is_absolute() is not inside
    items = load_decathlon_datalist(str(path), True, "training")
    assert all(Path(name).is_file() for item in items for name in [*item["image"], item["label"]])
    parts = {part: ids(datalist_part(path, part, 1)) for part in ("training", "validation", "meta", "test", "testing")}
    assert {part: len(names) for part, names in parts.items()} == {
        "training": 4,
        "validation": 3,
        "meta": 1,
        "test": 2,
        "testing": 0,
    }
    assert not parts["training"] & parts["validation"]


def test_unusable_datalists_and_parts(tmp_path):
    make_layout(tmp_path / "data", "2021", cases=10)
    path = tmp_path / "list.json"
    write_datalist(path, make_datalist(layout_of(tmp_path / "data", "auto"), folds=2, meta_cases=1))
    with pytest.raises(UserError, match="fold: 7 found; expected one of 0, 1"):
        datalist_part(path, "training", 7)
    with pytest.raises(UserError, match="part: 'train' found"):
        datalist_part(path, "train")
    with pytest.raises(UserError, match="no such file"):
        read_datalist(tmp_path / "x.json")
    path.write_text("{")
    with pytest.raises(UserError, match="unreadable"):
        read_datalist(path)
    path.write_text("{}")
    with pytest.raises(UserError, match="no list 'training'"):
        read_datalist(path)


def test_the_command(tmp_path):
    make_layout(tmp_path / "data", "2020", cases=10)
    result = CliRunner().invoke(main, ["datalist", str(tmp_path / "data"), "-o", str(tmp_path / "list.json")])
    assert result.exit_code == 0, result.output
    assert "BraTS 2020: 10 cases of 10 patients" in result.output
    assert json.loads((tmp_path / "list.json").read_text())["metakd"]["year"] == "2020"
    result = CliRunner().invoke(main, ["datalist", str(tmp_path / "no"), "-o", str(tmp_path / "list.json")])
    assert result.exit_code == 2
    assert "no such file or folder" in result.output


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_lists_that_would_never_end_are_refused(tmp_path, make):
    make(tmp_path / "train.txt")
    with pytest.raises(UserError, match=r"train\.txt: not a file; expected a list of case names"):
        read_lists(tmp_path, "train*.txt", {})


def test_a_fold_needs_a_datalist(tmp_path):
    with pytest.raises(UserError, match="fold: 7 found without a datalist"):
        split_cases(tmp_path, fold=7)

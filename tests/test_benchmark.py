"""Fifteen subsets: the same masks as one by one, every case in its turn, tables in the paper's order."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from layouts import make_layout
from PIL import Image

from metakd_monai.apps.benchmark import SubsetPredictor, choose_items, read_scores, run_benchmark, tune_postprocessing
from metakd_monai.apps.benchmark.case_record import choose_scoring, read_reference
from metakd_monai.apps.benchmark.comparison import read_reference as read_table
from metakd_monai.apps.benchmark.subset_tables import MEAN, SUBSET_NAMES
from metakd_monai.apps.benchmark.tuning import Enhancing, curve_of
from metakd_monai.apps.predict.predictor import Compute, Predictor, to_volume
from metakd_monai.apps.predict.subset_predictor import case_of
from metakd_monai.cli import main
from metakd_monai.data.datalists import make_datalist, read_layout, write_datalist
from metakd_monai.errors import UserError
from metakd_monai.metrics import CONVENTIONS, score_case
from metakd_monai.metrics.conventions import find_convention
from metakd_monai.transforms import regions_to_labels
from metakd_monai.vocabulary import REGION_NAMES, Modality, modality_subsets, name_subset


@pytest.fixture
def two(cohort: Path, tmp_path: Path) -> Path:
    """A folder of two cases that a test may damage."""
    for name in sorted(path.name for path in cohort.iterdir())[:2]:
        shutil.copytree(cohort / name, tmp_path / "two" / name)
    return tmp_path / "two"


@pytest.fixture
def predictor(weights: Path) -> Predictor:
    """In fp32: what is compared to 1e-5 may not depend on whether this machine has bf16."""
    return Predictor(weights, compute=Compute(precision="fp32"))


def test_each_subset_is_what_its_files_alone_give(cohort, weights, predictor):
    item = choose_items(cohort)[0][0]
    volume = predictor.read(case_of(item))
    found = {s: to_volume(x.sigmoid(), volume) for s, x in SubsetPredictor(predictor).logits(volume)}
    assert set(found) == set(modality_subsets())
    for subset, probabilities in found.items():
        alone = Predictor(weights, compute=Compute(precision="fp32"), modalities=subset)
        own = alone.read(case_of(item))
        expected = to_volume(alone.segment(own).sigmoid(), own)
        torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("compute", [Compute(mirror="lr"), Compute(precision="bf16"), Compute(memory_limit=0.7)])
def test_subsets_equal_their_own_runs_however_they_are_computed(cohort, weights, compute, monkeypatch):
    monkeypatch.setattr("metakd_monai.inferers.memory.STEP", 4)
    monkeypatch.setattr("metakd_monai.inferers.memory.SMALLEST", 8)
    item = choose_items(cohort)[0][0]
    predictor = Predictor(weights, compute=compute)
    if compute.memory_limit < 1:
        monkeypatch.setattr(predictor.network, "bytes_per_voxel", lambda: 2e4)
    volume = predictor.read(case_of(item))
    for subset, found in SubsetPredictor(predictor).logits(volume):
        available = torch.tensor([m in subset for m in Modality])
        expected = predictor.segment({**volume, "available": available})
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 if compute.precision == "bf16" else 1e-5)


def test_sequences_with_other_boxes_are_windowed_apart(predictor):
    """Masked apart, FLAIR fills another box than T1; each subset has the box of what it holds."""
    image = torch.zeros(1, 4, 40, 40, 40)
    image[:, :, 10:30, 10:30, 10:30] = torch.randn(1, 4, 20, 20, 20)
    image[:, 0, 5:30, 10:30, 10:30] = 1.0
    available = torch.tensor([True, True, False, False])
    engine = SubsetPredictor(predictor)
    flair, t1 = Modality.FLAIR, Modality.T1
    assert sorted(map(sorted, engine.group(image, available))) == [[(flair,), (flair, t1)], [(t1,)]]
    item = {"image": AsTensor(image[0]), "available": available, "size": (40, 40, 40)}
    for subset, found in engine.logits(item):
        mask = torch.tensor([[m in subset for m in Modality]])
        expected = predictor.inferer(image, predictor.network, mask)[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


class AsTensor:
    """Stands for a MetaTensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def as_tensor(self) -> torch.Tensor:
        return self.tensor


def test_sequences_are_encoded_once_for_all_subsets(cohort, predictor, monkeypatch):
    calls = []
    encode = predictor.network.encode
    monkeypatch.setattr(predictor.network, "encode", lambda *a: calls.append(1) or encode(*a))
    SubsetPredictor(predictor).label_maps(predictor.read(case_of(choose_items(cohort)[0][0])), 4)
    assert len(calls) == 1


def test_tables_hold_the_scores_of_the_composed_maps(two, weights, tmp_path):
    predictor = Predictor(weights)
    run_benchmark(
        choose_items(two)[0],
        weights,
        tmp_path / "out",
        postprocessing="small_et:threshold=100000",
    )
    table = read_scores(tmp_path / "out" / "scores.csv")
    assert table.cases == {path.name for path in two.iterdir()}
    item = choose_items(two)[0][0]
    reference = nib.load(item["label"])
    volume = predictor.read(case_of(item))
    labels = to_volume(regions_to_labels(predictor.segment(volume) > 0), volume)[0].numpy()
    expected = score_case(labels, np.asarray(reference.dataobj), reference.header.get_zooms())
    found = {
        f"{score.metric}_{score.region}": score.value
        for score in table.scores
        if (score.case, score.subset, score.postprocessing) == (item["case_id"], SUBSET_NAMES[-1], "none")
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-8)  # ten digits are written
    values = table.values("Dice", "small_et")[SUBSET_NAMES[-1], "ET"]
    assert values == [0.0, 0.0]  # all enhancing tumour removed, both references have some


def test_mirrored_masks_are_scored_where_that_is_asked_for(two, weights, tmp_path):
    items = choose_items(two)[0][:1]
    manifest = run_benchmark(items, weights, tmp_path / "out", postprocessing="none", mirror="lr")
    assert manifest["settings"]["compute"]["mirror"] == "lr"
    predictor = Predictor(weights, compute=Compute(mirror="lr"))
    volume = predictor.read(case_of(items[0]))
    labels = to_volume(regions_to_labels(predictor.segment(volume) > 0), volume)[0].numpy()
    reference = nib.load(items[0]["label"])
    expected = score_case(labels, np.asarray(reference.dataobj), reference.header.get_zooms())
    found = read_scores(tmp_path / "out" / "scores.csv").values("Dice", "none")
    for region in REGION_NAMES:
        assert found[SUBSET_NAMES[-1], region] == pytest.approx([expected[f"Dice_{region}"]])


def test_the_table_has_the_paper_s_rows_and_their_mean(two, weights, tmp_path):
    manifest = run_benchmark(choose_items(two)[0], weights, tmp_path / "out", postprocessing="none")
    lines = [line for line in (tmp_path / "out" / "table.md").read_text().splitlines() if line.startswith("|")]
    marks = ["".join(line.replace("|", "").split()[:4]) for line in lines[2:17]]
    assert marks[:4] == ["●○○○", "○●○○", "○○●○", "○○○●"]
    assert marks[-1] == "●●●●"
    assert len(set(marks)) == 15
    assert lines[17].startswith("| **mean of 15** |")
    means = read_scores(tmp_path / "out" / "scores.csv").means("Dice", "none")
    for region in REGION_NAMES:
        assert means[MEAN, region] == pytest.approx(np.mean([means[name, region] for name in SUBSET_NAMES]))
        assert manifest["means"]["none"]["Dice"][region] == pytest.approx(means[MEAN, region])
    assert manifest["settings"]["weights_sha256"]
    assert manifest["settings"]["postprocessing"] == {"name": "none"}


def test_pictures_show_something(two, weights, tmp_path):
    run_benchmark(choose_items(two)[0], weights, tmp_path / "out")
    for name in ("heatmap.png", "curves.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 10


def test_finished_cases_are_kept_and_others_done_again(two, weights, tmp_path):
    out, items = tmp_path / "out", choose_items(two)[0]
    first = run_benchmark(items, weights, out)
    times = {path.name: path.stat().st_mtime_ns for path in (out / "cases").iterdir()}
    (out / "cases" / f"{items[0]['case_id']}.json").write_text("{half a rec")
    second = run_benchmark(items, weights, out)
    assert (first["cases"]["resumed"], second["cases"]["resumed"]) == (0, 1)
    assert second["means"] == first["means"]
    kept = out / "cases" / f"{items[1]['case_id']}.json"
    assert kept.stat().st_mtime_ns == times[kept.name]
    path = next(iter(items[1]["image"].values()))
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 2, image.affine), path)  # a changed file
    assert run_benchmark(items, weights, out)["cases"]["resumed"] == 1


def test_records_of_other_settings_are_in_the_way(two, weights, tmp_path):
    items = choose_items(two)[0]
    run_benchmark(items, weights, tmp_path / "out")
    with pytest.raises(UserError, match=r"other settings \(postprocessing\); expected --overwrite"):
        run_benchmark(items, weights, tmp_path / "out", postprocessing="none")
    assert (
        run_benchmark(items, weights, tmp_path / "out", postprocessing="none", overwrite=True)["cases"]["scored"] == 2
    )


def test_a_case_counts_in_the_subsets_that_it_has(two, weights, tmp_path):
    case = next(iter(sorted(two.iterdir())))
    next(case.glob("*_t1ce.*")).unlink()
    next(case.glob("*_t2.*")).unlink()
    manifest = run_benchmark(choose_items(two)[0], weights, tmp_path / "out")
    assert manifest["incomplete"] == {case.name: ["flair", "t1"]}
    counts = {name: (2 if name in ("flair", "t1", "flair+t1") else 1) for name in SUBSET_NAMES}
    assert manifest["subsets"] == counts


def published_table() -> str:
    """A table as the paper's, 50 % everywhere."""
    subsets = ["+".join(m.value for m in subset) for subset in modality_subsets()]
    rows = [f"{subset},{region},MetaKD,50" for subset in subsets for region in REGION_NAMES]
    return "\n".join(["modalities,region,method,dice_percent", *rows]) + "\n"


@pytest.mark.parametrize(("rows", "found"), [(44, "1 of 45"), (1, "44 of 45")])
def test_a_published_table_that_was_cut_short_is_refused(tmp_path, rows, found):
    (tmp_path / "paper.csv").write_text(published_table())
    assert len(read_table(tmp_path / "paper.csv").means[""]) == 45
    (tmp_path / "paper.csv").write_text("".join(published_table().splitlines(True)[: rows + 1]))
    with pytest.raises(UserError, match=rf"{found} values missing"):
        read_table(tmp_path / "paper.csv")
    (tmp_path / "paper.csv").write_text(published_table().replace("50", "nan", 1))
    with pytest.raises(UserError, match=r"1 of 45 values missing or not from 0 to 100, such as ET of flair"):
        read_table(tmp_path / "paper.csv")


def test_a_bad_case_does_not_stop_the_others(two, weights, tmp_path):
    first, second = sorted(two.iterdir())
    (first / f"{first.name}_t1.nii.gz").write_bytes(b"nothing")
    shutil.copy(second / f"{second.name}_t1.nii.gz", second / f"{second.name}_t1w.nii.gz")
    (tmp_path / "paper.csv").write_text(published_table())
    arguments = ["--weights", str(weights), "--output", str(tmp_path / "out"), "--compare", str(tmp_path / "paper.csv")]
    run = CliRunner().invoke(main, ["benchmark", "--cases", str(two), *arguments])
    assert run.exit_code == 1, run.exception
    failed = json.loads((tmp_path / "out" / "manifest.json").read_text())["cases"]["failed"]
    assert set(failed) == {first.name, second.name}
    assert "two files for 't1'" in failed[second.name]
    assert "0 of 2 cases done" in run.output


def test_the_command_compares_with_another_run(two, weights, network, tmp_path):
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save(network.state_dict(), tmp_path / "other.pt")
    options = ["benchmark", "--cases", str(two), "--device", "cpu"]
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    assert CliRunner().invoke(main, [*options, "--weights", str(weights), "-o", theirs]).exit_code == 0
    arguments = [*options, "--weights", str(tmp_path / "other.pt"), "-o", ours, "--compare", theirs]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0
    assert "2 of 2 cases done" in run.output
    lines = (tmp_path / "ours" / "comparison.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 16 * 3
    means = {name: read_scores(tmp_path / name / "scores.csv").means("Dice", "none") for name in ("ours", "theirs")}
    rule, against, subset, region, mine, other, difference = lines[1].split(",")
    assert (rule, against, subset, region) == ("none", "none", "flair", "ET")
    assert float(mine) == pytest.approx(means["ours"]["flair", "ET"])
    assert float(other) == pytest.approx(means["theirs"]["flair", "ET"])
    assert float(difference) == pytest.approx(float(mine) - float(other), abs=1e-6)
    assert CliRunner().invoke(main, arguments[:-2]).exit_code == 0  # without --compare: no old one beside new tables
    assert not list((tmp_path / "ours").glob("comparison.*"))


def test_every_year_s_labels_mean_the_same_regions(tmp_path):
    """The layouts hold 4 voxels of oedema, 2 of necrosis and 1 of enhancing tumour, in each year's own values."""
    for year in ("2018", "2021", "2023", "2024", "msd"):
        make_layout(tmp_path / year, year)
        layout = read_layout(tmp_path / year, year)
        item = layout.entries[0].as_item(layout.year)
        image = item["image"] if isinstance(item["image"], str) else item["image"][0]
        reference = read_reference(item, image, find_convention("brats2020"))
        assert reference.masks.sum(axis=(1, 2, 3)).tolist() == [1, 3, 7]


def test_a_reference_must_be_there_on_the_grid_and_of_the_rule(two):
    item = choose_items(two)[0][0]
    image, rule = item["image"]["flair"], find_convention("brats2020")
    label = Path(item["label"])
    good = nib.load(label)
    voxels = np.asarray(good.dataobj)
    with pytest.raises(UserError, match="no label map"):
        read_reference({**item, "label": None}, image, rule)
    for bad, message in (
        (nib.Nifti1Image(voxels[:-1], good.affine), "shape"),
        (nib.Nifti1Image(voxels, np.eye(4)), "affine differs"),
        (nib.Nifti1Image(np.where(voxels == 4, 3, voxels).astype(np.uint8), good.affine), "label values 3 found"),
    ):
        nib.save(bad, label)
        with pytest.raises(UserError, match=message):
            read_reference(item, image, rule)


def test_the_rule_goes_by_year_or_name():
    old, new = {"case_id": "BraTS2021_00000"}, {"case_id": "BraTS-GLI-00000-000"}
    assert choose_scoring([old], None, None, "none").convention is CONVENTIONS["brats2020"]
    assert choose_scoring([new], None, None, "none").convention is CONVENTIONS["brats2023"]
    assert choose_scoring([{**old, "year": "2024"}], None, None, "none").convention is CONVENTIONS["brats2023"]
    assert choose_scoring([old, new], "brats2020", "surface", "none").hd95 == "surface"
    with pytest.raises(UserError, match="expected --convention"):
        choose_scoring([old, new], None, None, "none")


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    make_layout(tmp_path / "data", "2021", cases=10)
    path = tmp_path / "datalist.json"
    write_datalist(path, make_datalist(read_layout(tmp_path / "data"), folds=2))
    return path


def test_a_datalist_gives_its_test_part_or_a_fold(datalist):
    content = json.loads(datalist.read_text())
    items, source = choose_items("", datalist)
    assert [item["case_id"] for item in items] == [item["case_id"] for item in content["test"]]
    assert source == {"datalist": str(datalist), "part": "test", "fold": 0}
    fold1 = [item["case_id"] for item in content["training"] if item["fold"] == 1]
    assert [item["case_id"] for item in choose_items("", datalist, "validation", 1)[0]] == fold1
    datalist.write_text(json.dumps({**content, "test": []}))
    assert choose_items("", datalist, None, 1)[1]["part"] == "validation"
    for part in ("test", "validation", None):
        with pytest.raises(UserError, match="fold: 9 found; expected one of 0, 1"):
            choose_items("", datalist, part, 9)
    with pytest.raises(UserError, match="no cases for test"):
        choose_items("", datalist, "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither of --datalist and --cases given"),
        (["--cases", "a", "--datalist", "b"], "both of --datalist and --cases given"),
        (["--cases", "a", "--compare-method", "b"], "--compare-method b: found without --compare"),
        (["--cases", "nowhere"], "no such file or folder"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, message, tmp_path):
    run = CliRunner().invoke(main, ["benchmark", "-o", str(tmp_path / "out"), *arguments])
    assert run.exit_code == 2
    assert message in run.output
    assert not (tmp_path / "out").exists()


def test_the_same_case_twice_is_refused(two, weights, tmp_path):
    items = choose_items(two)[0]
    with pytest.raises(UserError, match="found twice"):
        run_benchmark([*items, items[0]], weights, tmp_path)
    with pytest.raises(UserError, match="none found"):
        run_benchmark([], weights, tmp_path)


def test_the_curve_counts_what_removing_wins_and_loses():
    found = [
        Enhancing("a", "flair", voxels=0, dice=1.0, dice_removed=1.0),  # nothing there, nothing said
        Enhancing("b", "flair", voxels=10, dice=0.0, dice_removed=1.0),  # false tumour of 10 voxels
        Enhancing("c", "flair", voxels=300, dice=0.5, dice_removed=0.0),  # true tumour
    ]
    assert curve_of(found) == ([0, 11, 301], [pytest.approx(0.5), pytest.approx(2.5 / 3), pytest.approx(2 / 3)])


def test_tuning_uses_validation_cases_alone(datalist, weights, tmp_path):
    options = ["--datalist", str(datalist), "--fold", "1", "--weights", str(weights), "--device", "cpu"]
    run = CliRunner().invoke(main, ["tune-postprocessing", *options, "--output", str(tmp_path / "tune")])
    assert run.exit_code == 0
    found = json.loads((tmp_path / "tune" / "postprocessing.json").read_text())
    validation = [item["case_id"] for item in choose_items("", datalist, "validation", 1)[0]]
    assert found["cases"] == {"used": sorted(validation), "failed": {}}
    assert len(found["predictions"]) == 15 * len(validation)
    best = max(found["curve"], key=lambda point: point["mean_et_dice"])
    assert found["threshold"] == best["threshold"]
    assert f"--postprocessing small_et:threshold={best['threshold']},target=1" in run.output
    assert (tmp_path / "tune" / "postprocessing.png").stat().st_size > 1000


def test_tuning_refuses_a_patient_of_the_test_part(datalist, weights, tmp_path):
    content = json.loads(datalist.read_text())
    content["test"] += [item for item in content["training"] if item["fold"] == 0][:1]
    datalist.write_text(json.dumps(content))
    arguments = ["--datalist", str(datalist), "--weights", str(weights), "--output", str(tmp_path / "tune")]
    run = CliRunner().invoke(main, ["tune-postprocessing", *arguments])
    assert run.exit_code == 2
    assert "is in validation and test" in run.output


def test_tuning_names_cases_that_fail_and_refuses_to_go_on_with_none(two, weights, tmp_path):
    items = choose_items(two)[0]
    Path(items[0]["label"]).write_bytes(b"nothing")
    found = tune_postprocessing(items, weights, tmp_path / "tune", subsets="complete")
    assert set(found["cases"]["failed"]) == {items[0]["case_id"]}
    assert [one["subset"] for one in found["predictions"]] == [name_subset(tuple(Modality))]
    with pytest.raises(UserError, match="none of 1 can be used"):
        tune_postprocessing(items[:1], weights, tmp_path / "tune")
    with pytest.raises(UserError, match="expected one of all, complete"):
        tune_postprocessing(items, weights, tmp_path / "tune", subsets="some")

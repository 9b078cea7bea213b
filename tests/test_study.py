"""The evaluation on real cases: each row against the masks it is of, the aims by hand, cases that lack something."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import CHANNELS
from PIL import Image

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.study import Study, run_study
from metakd_monai.apps.study.aims import check_aims, difference, violations
from metakd_monai.apps.study.evidence import ALL, Evidence, Row, Source, expectations, summarise
from metakd_monai.apps.study.pictures import choose_subsets, worst_rows
from metakd_monai.apps.study.study_report import Content, make_report
from metakd_monai.apps.study.uncertainty_score import auroc, score_uncertainty, segment_case
from metakd_monai.apps.study.weights_compared import compare_lines, dropping_lines
from metakd_monai.cli import main
from metakd_monai.data.cases import find_cases
from metakd_monai.errors import UserError
from metakd_monai.metrics import score_case
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import REGION_NAMES, Modality, modality_subsets

SUBSETS = ["+".join(m.value for m in subset) for subset in modality_subsets()]


def rows_for(case: str, dice: dict[str, float], regions=REGION_NAMES, labels="expert", trained_on=False) -> list[Row]:
    """Rows of one case, the same Dice in each region."""
    return [Row(case, s, s.count("+") + 1, r, d, 1.0, labels, trained_on) for s, d in dice.items() for r in regions]


def full_case(case: str, dice=lambda subset: 0.5, **more) -> list[Row]:
    return rows_for(case, {subset: dice(subset) for subset in SUBSETS}, **more)


@pytest.fixture(scope="module")
def folder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases: one whole, one of FLAIR and T1ce, one without enhancing tumour."""
    folder = tmp_path_factory.mktemp("cases")
    for case in sorted(cohort.iterdir())[:3]:
        shutil.copytree(case, folder / case.name)
    for name in ("t1", "t2"):
        (folder / "Simulated_001" / f"Simulated_001_{name}.nii.gz").unlink()
    path = folder / "Simulated_002" / "Simulated_002_seg.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[voxels == 4] = 1
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Weights of three seeds, whose masks have every label."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(tmp_path_factory.mktemp("weights") / f"{seed}.pt")
        torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), found[-1])
    return found


@pytest.fixture(scope="module")
def output(folder: Path, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one evaluation writes, other weights and a case that was trained on among it."""
    output = tmp_path_factory.mktemp("evaluation")
    arguments = ["study", "--output", output, "--weights", files[0], "--cases", f"{folder}=simulated", "--uncertainty"]
    arguments += ["--trained-on", "Simulated_002", "--compare", f"MetaKD={files[0]}", "--compare", f"MetaKD={files[1]}"]
    arguments += ["--compare", f"no dropping={files[2]}", "--device", "cpu"]
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"are in {output}\n")
    return output


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_are_the_scores_of_the_masks(folder, output):
    rows = read_rows(output / "rows.csv")
    for case, subset in (("Simulated_000", "flair+t1ce"), ("Simulated_001", "t1ce"), ("Simulated_002", SUBSETS[-1])):
        mask = np.asarray(nib.load(output / "masks" / subset / f"{case}.nii.gz").dataobj)
        reference = nib.load(folder / case / f"{case}_seg.nii.gz")
        expected = score_case(mask, np.asarray(reference.dataobj), reference.header.get_zooms())
        mine = [row for row in rows if (row["case"], row["subset"]) == (case, subset)]
        assert mine
        for row in mine:
            assert float(row["dice"]) == pytest.approx(expected[f"Dice_{row['region']}"])
            if row["hd95"]:
                assert float(row["hd95"]) == pytest.approx(expected[f"Hausdorff95_{row['region']}"])
            else:
                assert float(row["dice"]) == 0


def test_what_a_case_lacks_is_not_scored(output):
    rows = read_rows(output / "rows.csv")
    subsets = {
        case: {row["subset"] for row in rows if row["case"] == case} for case in ("Simulated_000", "Simulated_001")
    }
    assert subsets == {"Simulated_000": set(SUBSETS), "Simulated_001": {"flair", "t1ce", "flair+t1ce"}}
    assert {row["region"] for row in rows if row["case"] == "Simulated_002"} == {"TC", "WT"}
    assert {row["labels"] for row in rows} == {"simulated"}


def test_expectations_leave_out_what_was_trained_on(output):
    expected = json.loads((output / "expected.json").read_text())
    rows = [row for row in read_rows(output / "rows.csv") if row["trained_on"] == "False"]
    assert expected["cases"] == ["Simulated_000", "Simulated_001"]
    assert set(expected["subsets"]) == set(SUBSETS)
    assert expected["subsets"]["t1"]["WT"]["cases"] == 1
    dice = [float(row["dice"]) for row in rows if (row["subset"], row["region"]) == ("flair+t1ce", "WT")]
    found = expected["subsets"]["flair+t1ce"]["WT"]
    assert found == {"cases": 2, "median": pytest.approx(sum(dice) / 2, abs=1e-4)}  # too few for a range


def test_the_report_has_every_section(output):
    text = (output / "report.md").read_text()
    for heading in ("Cases", "Aims", "Each subset", "Trained on: Each subset", "With and without t1ce", "Uncertainty"):
        assert f"## {heading}\n" in text
    assert "| Simulated_002 | flair, t1, t1ce, t2 | simulated | TC, WT | yes |" in text
    assert "Seeds: MetaKD (2), no dropping (1)." in text
    assert "## Against a network trained without dropping" in text
    assert len({row["seed"] for row in read_rows(output / "compared.csv")}) == 2


def test_pictures_are_drawn(output):
    for name in ("Simulated_000", "Simulated_001", "failures", "Simulated_001_uncertainty_flair+t1ce"):
        with Image.open(output / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert (output / "Simulated_000.png").stat().st_size < 200_000


def test_auroc_by_hand():
    score, wrong = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    assert auroc(score, wrong) == pytest.approx((1 + 0.5 + 1 + 1) / 4)  # of four pairs one is a tie
    assert np.isnan(auroc(score, np.zeros(4, bool)))


def test_uncertainty_is_compared_with_the_errors_of_the_mask(folder, files, output):
    (case,) = find_cases(folder / "Simulated_001")
    found = score_uncertainty(segment_case(Predictor(files[0]), case, case.label))
    paths = (output / "masks" / "flair+t1ce" / "Simulated_001.nii.gz", case.label)
    mask, truth = (np.asarray(nib.load(path).dataobj) for path in paths)
    brain = np.any([np.asarray(nib.load(path).dataobj) != 0 for path in case.files.values()], axis=0)
    assert (found.given, found.method) == ("flair+t1ce", "subsets")
    assert found.wrong_share == pytest.approx((mask != truth)[brain].mean())
    assert 0 <= found.auroc <= 1
    assert found.auroc != found.auroc_mirroring
    assert found.where_wrong != found.where_right
    unseen = score_uncertainty(segment_case(Predictor(files[0], modalities=[Modality.FLAIR]), case, case.label))
    assert (unseen.given, unseen.method) == ("flair", "mirroring")
    assert unseen.auroc == unseen.auroc_mirroring


def test_a_second_run_computes_nothing_again(folder, files, output, monkeypatch):
    places = ("study_run.MaskKeeper.label_maps", "uncertainty_cases.segment_case")
    for place in places:
        monkeypatch.setattr(f"metakd_monai.apps.study.{place}", lambda *_: pytest.fail("computed again"))
    assert run_study(Study(files[0], output, [f"{folder}=simulated"], uncertainty=True))
    assert "yes" not in (output / "report.md").read_text().split("## Aims")[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trained_on": ["nobody"]}, "--trained-on: 'nobody' found; expected names of cases: Simulated_000"),
        ({"compare": ["MetaKD"]}, "--compare: 'MetaKD' found; expected NAME=FILE"),
    ],
)
def test_arguments_that_cannot_be_used(folder, files, output, more, message):
    with pytest.raises(UserError, match=message):
        run_study(Study(files[0], output, [f"{folder}=simulated"], **more))


def test_aims_by_hand():
    rows = full_case("a", lambda s: 0.9 if s == SUBSETS[-1] else 0.83)
    rows += rows_for("b", {"flair": 0.3, "t1ce": 0.9, "flair+t1ce": 0.7}, regions=("TC", "WT"))
    found = {aim.what: aim for aim in check_aims(Evidence(rows))}
    assert found["WT >= 0.80, all that the case has (floor)"].value == pytest.approx(0.8)
    assert found["WT >= 0.80, all that the case has (floor)"].met
    assert not found["WT >= 0.85, all that the case has (aim)"].met
    assert found["ET >= 0.65, all that the case has (aim)"].cases == 1  # b has none
    assert found["WT >= 0.40, T1 alone"].value == pytest.approx(0.83)
    assert found["WT: flair alone at most 0.08 behind all"].value == pytest.approx((0.07 + 0.4) / 2)
    assert not found["WT: flair alone at most 0.08 behind all"].met
    assert found["ET: t1ce alone at most 0.08 behind all"].value == pytest.approx(0.07)


def test_subsets_worse_than_their_own_over_the_cases_that_have_both():
    rows = full_case("a", lambda s: 0.47 if s == "flair+t1ce" else 0.5)
    assert {(v.subset, v.smaller) for v in violations(Evidence(rows))} == {
        ("flair+t1ce", "flair"),
        ("flair+t1ce", "t1ce"),
    }
    rows += rows_for("b", {"flair": 0.4, "t1ce": 0.5, "flair+t1ce": 0.43})
    (worst, *_) = violations(Evidence(rows))
    assert (worst.subset, worst.smaller, worst.cases) == ("flair+t1ce", "t1ce", 2)
    assert worst.difference == pytest.approx(-0.05)  # of -0.03 and -0.07; against FLAIR alone they cancel
    assert {v.smaller for v in violations(Evidence(rows))} == {"t1ce"}
    assert violations(Evidence(full_case("a", lambda s: 0.5 if s == "t1" else 0.48))) == []  # 0.02 is allowed


def test_means_over_subsets_are_of_each_case_first():
    evidence = Evidence(full_case("a", lambda s: s.count("+") / 10) + rows_for("b", {"flair": 0.4, "t1ce": 0.6}))
    assert evidence.over("WT", lambda members: len(members) == 1) == pytest.approx({"a": 0, "b": 0.5})
    assert evidence.gain("WT", "t1ce") == pytest.approx({"a": 0.1})
    assert evidence.of(ALL, "WT")["a"] == pytest.approx(0.3)
    assert evidence.complete(4).cases == ("a",)
    assert summarise([]).cases == 0
    assert difference({"a": 1.0}, {"b": 0.0})[1] == 0


def test_expectations_name_no_region_without_cases():
    found = expectations(Evidence(full_case("a", regions=("WT",))), "0")
    assert found["subsets"]["t1"] == {"WT": {"cases": 1, "median": 0.5}}


def test_seeds_are_averaged_and_dropping_is_compared():
    ours = [Evidence(full_case("a", lambda s, n=n: 0.6 + n)) for n in (0.0, 0.1)]
    without = [Evidence(full_case("a", lambda s: 0.5 if s != "t1" else 0.7))]
    lines = "\n".join(compare_lines({"MetaKD": ours, "no dropping": without}))
    assert "| flair | 0.650 ± 0.071 | 0.500 |" in lines
    text = "\n".join(dropping_lines(ours, without))
    assert "| WT | 1 of 15: t1 -0.050 | t1 -0.050 | +0.137 | **not met** |" in text
    assert "| WT | 0 of 15 | flair +0.150 | +0.150 | met |" in "\n".join(
        dropping_lines(ours, [Evidence(full_case("a"))])
    )


def test_a_gain_of_several_seeds_has_its_standard_error():
    """By hand: variances of 0.005 and 0.02 over two seeds each, sqrt(0.0025 + 0.01)."""
    ours = [Evidence(full_case("a", lambda s, n=n: n)) for n in (0.6, 0.7)]
    without = [Evidence(full_case("a", lambda s, n=n: n if s != "t1" else 0.9)) for n in (0.4, 0.6)]
    text = "\n".join(dropping_lines(ours, without))
    assert "| WT | 1 of 15: t1 -0.250 ± 0.050 | t1 -0.250 ± 0.050 | +0.123 ± 0.106 | **not met** |" in text
    assert "| WT | 0 of 15 | flair +0.150 ± 0.112 | +0.150 ± 0.112 | met |" in "\n".join(
        dropping_lines(ours, [Evidence(full_case("a", lambda s, n=n: n)) for n in (0.4, 0.6)])
    )


def test_subsets_in_which_no_case_has_a_region_are_left_out():
    def seed(dice):
        return Evidence(rows_for("a", dict.fromkeys(SUBSETS, dice), ["WT"]) + rows_for("b", {"flair": dice}, ["ET"]))

    lines = "\n".join(compare_lines({"MetaKD": [seed(0.6)], "no dropping": [seed(0.5)]}))
    assert "| t1 | - | - | - | - | 0.600 | 0.500 |" in lines
    assert "| **mean of 15** | 0.600 (1) | 0.500 (1) | - | - | 0.600 | 0.500 |" in lines
    text = "\n".join(dropping_lines([seed(0.6)], [seed(0.5)]))
    assert "| ET | 0 of 1 | flair +0.100 | +0.100 | met |" in text
    assert "| TC | - | - | - | not measured |" in text
    assert "| mean of regions | 0 of 15 | flair +0.100 | +0.100 | met |" in text


def test_a_reference_that_cannot_be_read_fails_its_case_alone(folder, files, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "Simulated_000" / "Simulated_000_seg.nii.gz").write_bytes(b"no NIfTI")
    seen = ["Simulated_001", "Simulated_002"]
    assert not run_study(Study(files[0], tmp_path / "out", [str(tmp_path / "in")], seen))
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Failed: Simulated_000: " in text
    assert "## Aims" not in text  # no case is left for them
    assert json.loads((tmp_path / "out" / "expected.json").read_text())["subsets"] == {}


def test_labels_of_experts_and_algorithms_are_told_apart():
    rows = full_case("a") + full_case("b", labels="algorithmic")
    sources = {"a": Source("expert", REGION_NAMES), "b": Source("algorithmic", REGION_NAMES)}
    text = make_report(Content("t", [], Evidence(rows), sources, {"c": "no file"}))
    assert "| | all | expert | algorithmic |" in text
    assert "Failed: c: no file" in text


def test_subsets_in_pictures():
    assert list(choose_subsets("flair+t1ce")) == ["all", "without t1ce", "t1ce only"]
    assert list(choose_subsets("t1ce")) == ["all"]
    assert list(choose_subsets(SUBSETS[-1])) == ["all", "without t1ce", "flair only", "t1ce only", "t1 only"]
    worst = worst_rows(Evidence(full_case("a", lambda s: SUBSETS.index(s) / 20)))
    assert [row.subset for row in worst] == SUBSETS[:3]

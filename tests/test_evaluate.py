"""Two folders in, a table out: matching, bad files, summary rows, the command."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import shared

from metakd_monai.apps.evaluate import evaluate_folders, write_report
from metakd_monai.apps.evaluate.evaluation import give_up
from metakd_monai.apps.evaluate.folders import find_predictions, find_references
from metakd_monai.cli import main
from metakd_monai.cli.evaluate import CONVENTIONS as SPELLED_CONVENTIONS
from metakd_monai.cli.evaluate import HD95_KINDS as SPELLED_KINDS
from metakd_monai.cli.evaluate import evaluate
from metakd_monai.errors import UserError
from metakd_monai.metrics import CONVENTIONS, HD95_KINDS, columns_of, convention_of

SHAPE = (12, 10, 8)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
DIAGONAL = (12**2 + 10**2 + 16**2) ** 0.5
TUMOUR = np.zeros(SHAPE, dtype=np.uint8)
TUMOUR[2:8, 2:8, 2:6], TUMOUR[3:6, 3:6, 3:5], TUMOUR[4, 4, 3] = 2, 1, 4
EMPTY = np.zeros_like(TUMOUR)


def save(path: Path, labels: np.ndarray = TUMOUR, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four right predictions a, b, c, d and their references."""
    for name in "abcd":
        save(tmp_path / "predictions" / f"{name}.nii.gz")
        save(tmp_path / "references" / f"{name}_seg.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def run(folders: tuple[Path, Path], **options: object) -> dict[str, tuple[float | None, str]]:
    """Return Dice of WT and status by case."""
    evaluation = evaluate_folders(*folders, jobs=1, progress=False, **options)
    return {r.case_id: (r.measured.row["Dice_WT"] if r.measured else None, r.status) for r in evaluation.results}


def test_references_in_every_layout(tmp_path: Path) -> None:
    names = {
        "one_seg.nii.gz": "one",
        "two-seg.nii": "two",
        "three.nii.gz": "three",
        "HGG/four/four_seg.nii.gz": "four",
        "BraTS20_Training_355/W39_1998.09.19_Segm.nii": "BraTS20_Training_355",
        "five/seg.nii.gz": "five",
    }
    others = ["six_t1.nii.gz", "six_brainmask.nii.gz", "four/four_flair.nii.gz", "notes.txt", "._one_seg.nii.gz"]
    for name in [*names, *others]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {str(p.relative_to(tmp_path)): case for case, p in find_references(tmp_path).items()} == names


def test_predictions_are_told_from_what_predict_writes_beside_them(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.png", "a.json", "a_probabilities.nii.gz", "a_uncertainty.nii.gz", "b.nii"):
        (tmp_path / name).touch()
    assert list(find_predictions(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no label map found; expected"), (["a.nii", "a.nii.gz"], "two files for case 'a'"), (None, "no such folder")],
)
def test_unusable_folders_are_refused(tmp_path: Path, names: list[str] | None, message: str) -> None:
    for name in names or []:
        (tmp_path / name).touch()
    for find in (find_predictions, find_references):
        with pytest.raises(UserError, match=message):
            find(tmp_path if names is not None else tmp_path / "none")


def test_one_case_given_twice_as_reference_is_refused(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "LGG" / "a" / "a-seg.nii.gz")
    with pytest.raises(UserError, match="two files for case 'a'"):
        run(folders)


def test_folders_without_a_common_case_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    save(tmp_path / "other" / "z.nii.gz")
    with pytest.raises(UserError, match=r"no file is named as a case of .*\(z against a\)"):
        run((tmp_path / "other", folders[1]))


def test_a_bad_prediction_scores_0_and_the_others_are_done(folders: tuple[Path, Path]) -> None:
    strange = TUMOUR.copy()
    strange[:4, 0, 0] = 1, 2, 3, 4
    (folders[0] / "a.nii.gz").unlink()
    save(folders[0] / "b.nii.gz", strange)
    (folders[0] / "c.nii.gz").write_bytes((folders[0] / "c.nii.gz").read_bytes()[:100])
    results = run(folders)
    assert {name: dice for name, (dice, _) in results.items()} == {"a": 0, "b": 0, "c": 0, "d": 1}
    expected = {"a": "no prediction", "b": "3 and 4 found together", "c": "unreadable or truncated"}
    for name, reason in expected.items():
        assert results[name][1].startswith("failed: ")
        assert reason in results[name][1]
    assert results["d"][1] == "ok"


@pytest.mark.parametrize(
    ("labels", "affine", "reason"),
    [
        (TUMOUR[1:], AFFINE, "shape"),
        (TUMOUR, np.eye(4), "affine differs"),
        (TUMOUR + np.float32(0.5), AFFINE, "label values 0.5, 1.5"),
        (np.where(TUMOUR == 4, np.nan, 0).astype(np.float32), AFFINE, "label values nan"),
        (np.where(TUMOUR == 4, 7, 0).astype(np.int16), AFFINE, "label values 7"),
        (np.where(TUMOUR == 4, 260, 0).astype(np.int16), AFFINE, "label values 260"),
        (TUMOUR[..., None].repeat(2, -1), AFFINE, "three axes"),
    ],
)
def test_predictions_that_cannot_be_scored(
    folders: tuple[Path, Path], labels: np.ndarray, affine: np.ndarray, reason: str
) -> None:
    save(folders[0] / "b.nii.gz", labels, affine)
    dice, status = run(folders)["b"]
    assert dice == 0
    assert reason in status


def test_a_missing_prediction_misses_every_lesion(folders: tuple[Path, Path]) -> None:
    (folders[0] / "a.nii.gz").unlink()
    save(folders[1] / "a_seg.nii.gz", np.where(TUMOUR == 4, 3, TUMOUR))
    row = evaluate_folders(*folders, convention="brats2023", jobs=1, progress=False).rows["a"].row
    read = ("LesionWise_Dice_WT", "LesionWise_Hausdorff95_WT", "Num_TP_WT", "Num_FP_WT", "Num_FN_WT", "Num_FN_ET")
    assert [row[name] for name in read] == [0, 374, 0, 0, 1, 0]  # one voxel of ET is below the threshold
    assert (row["Hausdorff95_WT"], row["LesionWise_Dice_ET"]) == (374, 0)


def test_jobs_are_at_least_one(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="jobs: 0 found"):
        evaluate_folders(*folders, jobs=0)


def test_an_affine_off_by_rounding_is_the_same_grid(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b.nii.gz", TUMOUR, AFFINE + 1e-5)
    assert run(folders)["b"] == (1, "ok")


@pytest.mark.parametrize("kind", ["noise", "a fourth axis", "doubles"])
def test_a_label_map_stored_in_another_way_is_the_same(folders: tuple[Path, Path], kind: str) -> None:
    labels = {"noise": TUMOUR * np.float32(0.9999), "a fourth axis": TUMOUR[..., None], "doubles": TUMOUR.astype(float)}
    nib.save(nib.Nifti1Image(labels[kind], AFFINE), folders[0] / "a.nii.gz")
    assert run(folders)["a"] == (1.0, "ok")


def test_a_bad_reference_leaves_its_case_out(folders: tuple[Path, Path]) -> None:
    (folders[1] / "b_seg.nii.gz").write_bytes(b"no image")
    dice, status = run(folders)["b"]
    assert dice is None
    assert status.startswith("left out: ")
    assert "b_seg.nii.gz" in status


def test_the_label_of_other_years_is_told(folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    save(folders[0] / "b.nii.gz", np.where(TUMOUR == 4, 3, TUMOUR))
    dice, status = run(folders)["b"]
    assert (dice, status) == (pytest.approx(2 * 143 / (143 + 144)), "ok")
    assert "prediction: 1 voxels of label 3 count for no region in brats2020" in caplog.text


def test_names_choose_the_convention() -> None:
    assert convention_of([("BraTS-GLI-00000-000", None), ("BraTS-SSA-00001-000", None)], "cases") == "brats2023"
    assert convention_of([("Brats18_CBICA_AAM_1", None), ("BraTS2021_00000", "2021")], "cases") == "brats2020"
    with pytest.raises(UserError, match="expected --convention"):
        convention_of([("BraTS-GLI-00000-000", None), ("BraTS2021_00000", None)], "cases")


def test_the_options_spelled_in_the_command_are_those_that_exist() -> None:
    assert tuple(CONVENTIONS) == SPELLED_CONVENTIONS
    assert HD95_KINDS == SPELLED_KINDS


def read_table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["Label"]: row for row in csv.DictReader(file)}


def test_table_and_manifest(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[0] / "a.nii.gz").unlink()
    save(folders[0] / "b.nii.gz", np.where(TUMOUR == 4, 1, TUMOUR))  # ET missed, the rest right
    save(folders[0] / "z.nii.gz")
    (folders[1] / "d_seg.nii.gz").write_bytes(b"no image")
    table = tmp_path / "results" / "scores.csv"
    manifest = write_report(table, evaluate_folders(*folders, jobs=1, progress=False))
    assert table.read_bytes().split(b"\n")[0].decode() == ",".join(["Label", *columns_of("brats2020"), "Status"])
    rows = read_table(table)
    assert list(rows) == ["a", "b", "c", "d", "Mean", "StdDev", "Median", "25quantile", "75quantile"]
    assert [rows[name]["Status"][:6] for name in "abcd"] == ["failed", "ok", "ok", "left o"]
    assert rows["d"]["Dice_WT"] == ""
    dice = {name: float(row["Dice_WT"]) for name, row in rows.items() if name != "d"}  # of 0, 1, 1
    assert (dice["Mean"], dice["Median"], dice["25quantile"], dice["75quantile"]) == (pytest.approx(2 / 3), 1, 0.5, 1)
    assert dice["StdDev"] == pytest.approx(3**-0.5)  # divided by n - 1
    told = json.loads(manifest.read_text())
    assert (told["convention"], told["hd95"], told["surplus_predictions"]) == ("brats2020", "pooled", ["z"])
    assert told["cases"] == {"references": 4, "in_table": 3, "with_problems": 2}
    assert told["problems"]["a"] == "failed: no prediction"
    assert told["problems"]["d"].startswith("left out: ")
    assert told["hausdorff95_mm"]["ET"] == {
        "penalised_mean": pytest.approx(DIAGONAL * 2 / 3),
        "cases": 3,
        "scorable_mean": 0,
        "scorable_cases": 1,
    }
    assert (told["hausdorff95_mm"]["WT"]["scorable_mean"], told["hausdorff95_mm"]["WT"]["scorable_cases"]) == (0, 2)


def test_without_problems_the_columns_are_the_server_s_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_report(tmp_path / "scores.csv", evaluate_folders(*folders, jobs=1, progress=False))
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header == ",".join(["Label", *columns_of("brats2020")])


def test_the_resection_cavity_of_2024_is_in_no_region(tmp_path: Path) -> None:
    labels = np.where(TUMOUR == 4, 3, TUMOUR)
    with_cavity = labels.copy()
    with_cavity[0, 0, 0] = 4
    name = "BraTS-GLI-00005-100"
    save(tmp_path / "p" / f"{name}.nii.gz", labels)
    save(tmp_path / "r" / f"{name}-seg.nii.gz", with_cavity)
    evaluation = evaluate_folders(tmp_path / "p", tmp_path / "r", jobs=1, progress=False)
    assert evaluation.problems == {}
    assert evaluation.rows[name].row["LesionWise_Dice_WT"] == 1


def test_a_table_may_not_take_the_manifests_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ending in \.csv"):
        write_report(tmp_path / "scores.json", evaluate_folders(*folders, jobs=1, progress=False))


def test_the_command_in_two_processes_writes_the_bytes_of_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[0] / "c.nii.gz").write_bytes(b"no image")
    for jobs in ("1", "2"):
        arguments = [*map(str, folders), "-o", str(tmp_path / f"{jobs}.csv"), "--jobs", jobs]
        result = CliRunner().invoke(evaluate, arguments)
        assert result.exit_code == 1
        assert "3 of 4 cases scored" in result.output
        assert f"{DIAGONAL / 4:.4f}" in result.output  # penalised
        assert "0.0000 (n=3)" in result.output
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_an_unusable_place_is_told_before_any_case_is_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in ("scores.json", "file/scores.csv"):
        result = CliRunner().invoke(main, ["evaluate", *map(str, folders), "-o", str(tmp_path / output), "--jobs", "1"])
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        assert "expected a" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "predictions", "references"]


def test_a_case_that_no_process_can_score_ends_the_evaluation() -> None:
    with pytest.raises(UserError, match=r"^a: lost its worker 2 times \(killed\); expected fewer --jobs"):
        give_up("a", "lost its worker 2 times (killed)")


def test_the_command_ends_well_when_all_is_well(folders: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = [*map(str, folders), "-o", str(tmp_path / "s.csv"), "--jobs", "1", "--convention", "brats2023"]
    result = CliRunner().invoke(evaluate, arguments)
    assert result.exit_code == 0
    assert "LesionWise_Dice" in result.output
    assert json.loads((tmp_path / "s.json").read_text())["hd95"] == "surface"
    assert list(read_table(tmp_path / "s.csv")["a"])[1:] == list(columns_of("brats2023"))


def test_real_cases_against_themselves_and_shifted(tmp_path: Path) -> None:
    references = shared("data", "tcga_cc-by")
    for case_id, path in find_references(references).items():
        image = nib.load(path)
        labels = np.asarray(image.dataobj).astype(np.uint8)
        save(tmp_path / "same" / f"{case_id}.nii.gz", labels, image.affine)
        save(tmp_path / "shifted" / f"{case_id}.nii.gz", np.roll(labels, 2, axis=0), image.affine)
    same = evaluate_folders(tmp_path / "same", references, jobs=1, progress=False)
    shifted = evaluate_folders(tmp_path / "shifted", references, jobs=1, progress=False)
    assert not same.problems
    assert not shifted.problems
    for case_id, measured in same.rows.items():
        assert (measured.row["Dice_WT"], measured.row["Hausdorff95_WT"]) == (1, 0)
        assert 0.5 < shifted.rows[case_id].row["Dice_WT"] < 1
        assert 1 <= shifted.rows[case_id].row["Hausdorff95_WT"] <= 2

"""An upload is written only when a BraTS server would accept it, and whatever is wrong is said at once."""

import json
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import itk
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from layouts import SHAPE, make_layout

from metakd_monai.cases import Case, find_cases
from metakd_monai.cli.submission import SUBMITTED, submission
from metakd_monai.nifti import write_like
from metakd_monai.submission import check_submission, examine_submission, read_grid, write_submission
from metakd_monai.vocabulary import UserError
from metakd_monai.years import find_year


def first_image(case: Case) -> Path:
    return case.files if isinstance(case.files, Path) else next(iter(case.files.values()))


def make_predictions(inputs: Path, folder: Path, year: str) -> list[Path]:
    """Write a good prediction for each case of a folder."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 4:9, 4:9] = 2
    labels[5:8, 5:8, 5:8] = 1
    labels[6, 6, 6] = find_year(year).labels.enhancing
    paths = [folder / f"{case.case_id}.nii.gz" for case in find_cases(inputs)]
    for path, case in zip(paths, find_cases(inputs), strict=True):
        write_like(path, labels, first_image(case))
    return paths


@pytest.fixture(params=SUBMITTED)
def year(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def good(tmp_path: Path, year: str) -> tuple[Path, Path]:
    """Inputs and predictions of a year."""
    make_layout(tmp_path / "in", year, cases=3, labelled=False)
    make_predictions(tmp_path / "in", tmp_path / "out", year)
    return tmp_path / "out", tmp_path / "in"


@pytest.fixture
def good_2021(tmp_path: Path) -> tuple[Path, Path]:
    make_layout(tmp_path / "in", "2021", cases=3, labelled=False)
    make_predictions(tmp_path / "in", tmp_path / "out", "2021")
    return tmp_path / "out", tmp_path / "in"


def test_the_years_that_are_submitted():
    assert SUBMITTED == ["2018", "2019", "2020", "2021", "2023"]
    assert [find_year(year).validation_cases for year in SUBMITTED] == [66, 125, 125, 219, 219]


def test_a_good_folder_becomes_a_zip_of_its_very_files(good, year, tmp_path):
    predictions, inputs = good
    done = write_submission(predictions, inputs, year, tmp_path / "upload.zip")
    assert done.problems == ()
    with ZipFile(tmp_path / "upload.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(path.name for path in predictions.iterdir())
        for name in archive.namelist():
            assert archive.read(name) == (predictions / name).read_bytes()
    manifest = json.loads((tmp_path / "upload_manifest.json").read_text())
    assert (manifest["year"], manifest["count"], manifest["expected"]) == (year, 3, 3)
    assert manifest["official"] == find_year(year).validation_cases
    assert not manifest["forced"]
    assert "3 cases found; the official validation set" in " ".join(manifest["notes"])


def test_the_same_files_give_the_same_zip(good_2021, tmp_path):
    for name in ("one.zip", "two.zip"):
        write_submission(*good_2021, "2021", tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_folder_holds_copies_and_is_replaced_only_when_asked(good_2021, tmp_path):
    predictions, inputs = good_2021
    write_submission(predictions, inputs, "2021", tmp_path / "upload")
    names = sorted(path.name for path in predictions.iterdir())
    assert sorted(path.name for path in (tmp_path / "upload").iterdir()) == names
    with pytest.raises(UserError, match="holds 3 files; expected an empty folder, or --overwrite"):
        write_submission(predictions, inputs, "2021", tmp_path / "upload")
    write_submission(predictions, inputs, "2021", tmp_path / "upload", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "upload").iterdir()) == names
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_overwriting_does_not_touch_a_folder_of_other_things(good_2021, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds 'chapter\.tex'"):
        write_submission(*good_2021, "2021", tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("name", "taken", "message"),
    [
        ("upload.zip", "file", "exists; expected --overwrite"),
        ("upload.zip", "folder", "a folder is there"),
        ("upload", "file", "a file is there"),
    ],
)
def test_places_that_are_taken(good_2021, tmp_path, name, taken, message):
    place = tmp_path / name
    place.mkdir() if taken == "folder" else place.write_text("mine")
    with pytest.raises(UserError, match=message):
        write_submission(*good_2021, "2021", place)


def rewrite(path: Path, voxels: np.ndarray | None = None, affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    voxels = np.asarray(image.dataobj) if voxels is None else voxels
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)


def shifted(path: Path) -> None:
    affine = nib.load(path).affine.copy()
    affine[0, 3] += 1e-4
    rewrite(path, affine=affine)


def holding(value: float, dtype: type) -> np.ndarray:
    voxels = np.zeros(SHAPE, dtype)
    voxels[1, 2, 3] = value
    return voxels


DAMAGES = {
    "five values": (
        lambda path: rewrite(path, np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint8) % 5),
        "labels 3 and 4|label values 3",
    ),
    "a fraction": (lambda path: rewrite(path, holding(1.5, np.float32)), r"label values 1\.5 found"),
    "NaN": (lambda path: rewrite(path, holding(np.nan, np.float32)), "label values nan found"),
    "floats": (lambda path: rewrite(path, np.zeros(SHAPE, np.float32)), "data type float32 found; expected uint8"),
    "64 bits": (
        lambda path: nib.save(nib.Nifti1Image(np.zeros(SHAPE, int), nib.load(path).affine, dtype="int64"), path),
        "data type int64 found",
    ),
    "another size": (lambda path: rewrite(path, np.zeros((4, 4, 4), np.uint8)), r"size \(4, 4, 4\) found"),
    "four axes": (lambda path: rewrite(path, np.zeros((*SHAPE, 2), np.uint8)), "expected three axes"),
    "no affine": (lambda path: rewrite(path, affine=np.eye(4)), r"direction .* found; expected exactly"),
    "a hair's breadth": (shifted, "origin .* found; expected exactly"),
    "half a file": (lambda path: path.write_bytes(path.read_bytes()[:60]), "unreadable or truncated"),
    "no file": (lambda path: path.unlink(), "no such file; expected a prediction of case"),
    "a spelling": (lambda path: path.rename(path.with_name(path.name.upper())), "name 'BRATS.* found; expected BraTS"),
    "seg in the name": (
        lambda path: path.rename(str(path).replace(".nii.gz", "_seg.nii.gz")),
        "_seg.* found",
    ),
    "a second file": (lambda path: shutil.copy(path, path.with_name(path.name[:-3])), "second file of case"),
    "a stranger": (lambda path: shutil.copy(path, path.with_name("brain.nii.gz")), "no input case of this name"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_server_would_refuse_is_named_and_nothing_written(good_2021, tmp_path, damage):
    predictions, inputs = good_2021
    damaging, message = DAMAGES[damage]
    damaging(predictions / "BraTS2021_00001.nii.gz")
    done = write_submission(predictions, inputs, "2021", tmp_path / "upload.zip")
    assert done.written == ()
    assert not (tmp_path / "upload.zip").exists()
    assert not (tmp_path / "upload_manifest.json").exists()
    assert re.search(message, "\n".join(done.problems))


def test_everything_wrong_is_in_one_report(good_2021):
    predictions, inputs = good_2021
    (predictions / "BraTS2021_00000.nii.gz").unlink()
    rewrite(predictions / "BraTS2021_00001.nii.gz", holding(3, np.uint8), np.eye(4))
    (predictions / "BraTS2021_00002.nii.gz").write_bytes(b"nothing")
    text = "\n".join(check_submission(predictions, inputs, "2021"))
    for part in ("2 label maps found; expected 3", "no such file", "label values 3", "direction", "unreadable"):
        assert part in text


def test_enhancing_tumour_has_its_year_s_label(tmp_path):
    make_layout(tmp_path / "in", "2023", cases=2, labelled=False)
    make_predictions(tmp_path / "in", tmp_path / "out", "2020")
    problems = check_submission(tmp_path / "out", tmp_path / "in", "2023")
    assert [("label values 4 found" in line) for line in problems] == [True, True]


def test_another_year_s_inputs_are_refused(good_2021):
    with pytest.raises(UserError, match=r"no case of 2020 found \(these are names of 2021\)"):
        examine_submission(*good_2021, "2020")


def test_years_without_an_upload_are_refused(good_2021):
    with pytest.raises(UserError, match="'msd' has no submission"):
        examine_submission(*good_2021, "msd")


def test_an_empty_folder_is_refused(tmp_path, good_2021):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no label map found"):
        examine_submission(tmp_path / "empty", good_2021[1], "2021")


def test_an_unusual_integer_is_a_note_only(good_2021):
    predictions, inputs = good_2021
    path = predictions / "BraTS2021_00000.nii.gz"
    rewrite(path, np.zeros(SHAPE, np.int16))
    done = examine_submission(predictions, inputs, "2021")
    assert done.problems == ()
    assert "1 label maps are int16" in " ".join(done.notes)


def test_the_grid_is_the_one_that_itk_tells(good_2021):
    path = good_2021[0] / "BraTS2021_00000.nii.gz"
    image = itk.imread(str(path))
    grid = read_grid(path)
    assert grid.size == tuple(itk.size(image)) == SHAPE
    assert grid.origin == tuple(image.GetOrigin())
    assert grid.spacing == tuple(image.GetSpacing())
    assert grid.direction == tuple(itk.array_from_matrix(image.GetDirection()).ravel())


def test_the_command_reports_and_exits_with_one_until_it_is_right(good_2021, tmp_path):
    predictions, inputs = good_2021
    path = predictions / "BraTS2021_00001.nii.gz"
    path.rename(predictions / "brats2021_00001.nii.gz")
    arguments = [str(predictions), "--inputs", str(inputs), "--year", "2021", "--output", str(tmp_path / "u.zip")]
    refused = CliRunner().invoke(submission, arguments)
    assert refused.exit_code == 1
    assert "expected BraTS2021_00001.nii.gz" in refused.output
    assert "nothing written" in refused.output
    forced = CliRunner().invoke(submission, [*arguments, "--force"])
    assert forced.exit_code == 1
    assert json.loads((tmp_path / "u_manifest.json").read_text())["forced"]
    (predictions / "brats2021_00001.nii.gz").rename(path)
    right = CliRunner().invoke(submission, [*arguments, "--overwrite"])
    assert right.exit_code == 0
    assert "3 label maps for 3 cases of 2021: 0 problems" in right.output


def test_a_different_qform_is_refused_in_2023_alone(tmp_path):
    for year, lines in (("2023", 1), ("2021", 0)):
        make_layout(tmp_path / year, year, cases=1, labelled=False)
        path = make_predictions(tmp_path / year, tmp_path / f"out{year}", year)[0]
        image = nib.load(path)
        image.set_qform(np.eye(4), code=0)  # ITK goes by the sform then
        image.set_sform(image.affine, code=2)
        nib.save(image, path)
        problems = check_submission(tmp_path / f"out{year}", tmp_path / year, year)
        assert [("qform" in line) for line in problems] == [True] * lines


def test_inputs_that_cannot_be_read_or_are_of_no_year_are_named(good_2021):
    predictions, inputs = good_2021
    for path in (inputs / "BraTS2021_00000").iterdir():
        path.write_bytes(b"nothing")
    shutil.copytree(inputs / "BraTS2021_00001", inputs / "extra")
    for path in (inputs / "extra").iterdir():
        path.rename(str(path).replace("BraTS2021_00001", "Brats2021_1"))
    text = "\n".join(check_submission(predictions, inputs, "2021"))
    assert "BraTS2021_00000.nii.gz: its grid cannot be checked" in text
    assert "input case 'Brats2021_1' found; expected a name of 2021" in text


def test_values_scaled_in_the_header_are_refused(good_2021):
    predictions, inputs = good_2021
    path = predictions / "BraTS2021_00000.nii.gz"
    image = nib.Nifti1Image(holding(4, np.float32), nib.load(path).affine)
    image.set_data_dtype(np.uint8)  # nibabel then spreads 0 to 4 over 0 to 255
    nib.save(image, path)
    assert "scaled by" in "\n".join(check_submission(predictions, inputs, "2021"))

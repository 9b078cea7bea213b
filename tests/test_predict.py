"""From files to mask, preview and report, through the command line as a user calls it."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import BUNDLE, CHANNELS, shared
from scipy.ndimage import label
from test_files import assert_same_grid_for_itk, save

from metakd_monai import __version__
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.bundle.root import SEGMENTATION_BUNDLE
from metakd_monai.cli import main
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.data.nifti import read_voxels, region_ml
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.load import load_network
from metakd_monai.weights.locate import find_weights


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def predict(source, output, weights, *options):
    return run("predict", source, "--output", output, "--weights", weights, "--device", "cpu", *options)


@pytest.fixture
def case(tmp_path, cohort):
    """A copy of one simulated case, to spoil."""
    return Path(shutil.copytree(cohort / "Simulated_000", tmp_path / "in" / "Simulated_000"))


def mask(output, case_id="Simulated_000"):
    return np.asarray(nib.load(output / f"{case_id}.nii.gz").dataobj)


def test_a_cohort_gets_masks_previews_and_reports(tmp_path, cohort, weights):
    result = predict(cohort, tmp_path / "out", weights)
    assert result.exit_code == 0, result.output
    assert "6 of 6 cases done" in result.output
    names = {f.name for f in (tmp_path / "out").iterdir()}
    assert names == {f"Simulated_{n:03d}{end}" for n in range(6) for end in (".nii.gz", ".png", ".json")}
    for case in find_cases(cohort):
        path = tmp_path / "out" / f"{case.case_id}.nii.gz"
        assert_same_grid_for_itk(case.files[Modality.FLAIR], path)
        assert nib.load(path).get_data_dtype() == np.uint8
        assert set(np.unique(mask(tmp_path / "out", case.case_id))) <= {0, 1, 2, 4}


def test_report_says_how_the_mask_was_made(tmp_path, case, weights):
    (case / "Simulated_000_t2.nii.gz").unlink()
    assert predict(case, tmp_path / "out", weights, "--modalities", "flair,t1ce,t2").exit_code == 0
    report = json.loads((tmp_path / "out" / "Simulated_000.json").read_text())
    assert report["modalities"] == {"used": ["flair", "t1ce"], "missing": ["t1", "t2"]}
    assert report["settings"]["version"] == __version__
    assert report["settings"]["weights_sha256"] == checksum(weights)
    voxel_ml = 6**3 / 1000
    labels = mask(tmp_path / "out")
    assert report["volumes_ml"]["ET"] == pytest.approx((labels == 4).sum() * voxel_ml, abs=1e-3)
    assert report["volumes_ml"]["WT"] == pytest.approx((labels > 0).sum() * voxel_ml, abs=1e-3)
    assert set(report["seconds"]) == {"read", "segment", "write"}


def test_masking_a_modality_equals_leaving_its_file_out(tmp_path, case, weights):
    assert predict(case, tmp_path / "masked", weights, "--modalities", "flair,t1,t2").exit_code == 0
    (case / "Simulated_000_t1ce.nii.gz").write_bytes(b"damaged, and not asked for")
    assert predict(case, tmp_path / "damaged", weights, "--modalities", "flair,t1,t2").exit_code == 0
    (case / "Simulated_000_t1ce.nii.gz").unlink()
    assert predict(case, tmp_path / "left_out", weights).exit_code == 0
    assert mask(tmp_path / "masked").any()
    assert np.array_equal(mask(tmp_path / "masked"), mask(tmp_path / "left_out"))
    assert np.array_equal(mask(tmp_path / "masked"), mask(tmp_path / "damaged"))


def test_files_one_by_one_and_4d_equal_the_folder(tmp_path, case, weights):
    files = find_cases(case)[0].files
    assert predict(case, tmp_path / "folder", weights).exit_code == 0
    one_by_one = [x for m, path in files.items() for x in (f"--{m.value}", path)]
    result = run("predict", "-o", tmp_path / "files", "--weights", weights, *one_by_one, "--case-id", "mine")
    assert result.exit_code == 0, result.output
    stack = np.stack([read_voxels(files[m]) for m in Modality], axis=-1)
    nib.save(nib.Nifti1Image(stack, nib.load(files[Modality.T1]).affine), tmp_path / "stack.nii.gz")
    assert predict(tmp_path / "stack.nii.gz", tmp_path / "stack", weights).exit_code == 0
    assert np.array_equal(mask(tmp_path / "folder"), mask(tmp_path / "files", "mine"))
    assert np.array_equal(mask(tmp_path / "folder"), mask(tmp_path / "stack", "stack"))


def test_orientation_of_the_files_does_not_matter(tmp_path, case, weights):
    assert predict(case, tmp_path / "lps", weights).exit_code == 0
    turned = tmp_path / "in2" / "Simulated_000"
    turned.mkdir(parents=True)
    for path in case.iterdir():
        nib.save(nib.load(path).as_reoriented(np.array([[2, 1], [0, -1], [1, 1]])), turned / path.name)
    assert predict(turned, tmp_path / "turned", weights).exit_code == 0
    written = nib.load(tmp_path / "turned" / "Simulated_000.nii.gz")
    assert written.shape == (28, 24, 24)
    assert_same_grid_for_itk(turned / "Simulated_000_t1.nii.gz", tmp_path / "turned" / "Simulated_000.nii.gz")
    back = nib.as_closest_canonical(written), nib.as_closest_canonical(nib.load(tmp_path / "lps/Simulated_000.nii.gz"))
    assert np.array_equal(back[0].dataobj, back[1].dataobj)


@pytest.mark.parametrize(
    ("option", "name", "expected"), [("3", "a", 3), ("auto", "a", 4), ("auto", "BraTS-GLI-1-000", 3)]
)
def test_et_label(tmp_path, case, weights, option, name, expected):
    for path in list(case.iterdir()):
        path.rename(case / path.name.replace("Simulated_000_", f"{name}-"))
    assert predict(case, tmp_path / "out", weights, "--et-label", option).exit_code == 0
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["settings"]["et_label"] == expected
    assert set(np.unique(mask(tmp_path / "out", name))) <= {0, 1, 2, expected}


def test_probabilities_and_no_preview(tmp_path, case, weights):
    assert predict(case, tmp_path / "out", weights, "--save-probabilities", "--no-preview").exit_code == 0
    assert not list((tmp_path / "out").glob("*.png"))
    maps = nib.load(tmp_path / "out" / "Simulated_000_probabilities.nii.gz").get_fdata()
    assert maps.shape == (24, 28, 24, 3)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert np.array_equal(maps[..., 0] > 0.5, mask(tmp_path / "out") == 4)


def test_masks_of_all_subsets_are_those_of_predictions_with_fewer_sequences(tmp_path, case, weights):
    out, subsets = tmp_path / "out", tmp_path / "out" / "Simulated_000_subsets"
    (case / "Simulated_000_t2.nii.gz").unlink()
    assert predict(case, out, weights, "--no-preview", "--all-subsets").exit_code == 0
    record = json.loads((subsets / "subsets.json").read_text())
    assert {f.name for f in subsets.iterdir()} == {"subsets.json", *(f"{name}.nii.gz" for name in record)}
    assert len(record) == 7
    whole = record["flair+t1+t1ce"]
    assert whole["dice_with_all"] == {"ET": 1, "TC": 1, "WT": 1}
    assert whole["volumes_ml"] == json.loads((out / "Simulated_000.json").read_text())["volumes_ml"]
    for name in ("flair", "t1+t1ce", "flair+t1+t1ce"):
        assert predict(case, tmp_path / name, weights, "--modalities", name.replace("+", ",")).exit_code == 0
        found = np.asarray(nib.load(subsets / f"{name}.nii.gz").dataobj)
        assert np.array_equal(found, mask(tmp_path / name)), name
    assert "left as it is" in predict(case, out, weights, "--no-preview", "--all-subsets").output
    assert predict(case, out, weights, "--no-preview").exit_code == 0
    assert len(list(subsets.iterdir())) == 8  # still of these settings
    assert predict(case, out, weights, "--no-preview", "--margin", "3", "--overwrite").exit_code == 0
    assert not subsets.exists()


def test_a_file_in_place_of_the_folder_of_subsets_is_named(tmp_path, case, weights, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Simulated_000_subsets").touch()
    assert predict(case, tmp_path / "out", weights, "--no-preview", "--all-subsets").exit_code == 1
    assert "Simulated_000_subsets" in caplog.text
    assert "Errno" not in caplog.text


def test_finished_cases_are_left_and_others_not_overwritten_unasked(tmp_path, case, weights):
    assert predict(case, tmp_path / "out", weights).exit_code == 0
    written = (tmp_path / "out" / "Simulated_000.nii.gz").stat().st_mtime_ns
    assert predict(case, tmp_path / "out", weights).exit_code == 0
    assert (tmp_path / "out" / "Simulated_000.nii.gz").stat().st_mtime_ns == written
    (tmp_path / "out" / "Simulated_000.json").write_text("{")
    assert predict(case, tmp_path / "out", weights).exit_code == 1
    assert predict(case, tmp_path / "out", weights, "--modalities", "t1", "--overwrite").exit_code == 0
    result = predict(case, tmp_path / "out", weights)
    assert result.exit_code == 1
    assert json.loads((tmp_path / "out" / "Simulated_000.json").read_text())["modalities"]["used"] == ["t1"]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill(value):
    def spoil(path):
        image = nib.load(path)
        voxels = image.get_fdata(dtype=np.float32)
        voxels[:] = value if np.isfinite(value) else np.where(voxels > 500, value, voxels)
        nib.save(nib.Nifti1Image(voxels, image.affine), path)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, "Simulated_000_t2.nii.gz: unreadable or truncated"),
        (lambda path: path.write_bytes(b"no"), "Simulated_000_t2.nii.gz: unreadable or truncated"),
        (fill(float("nan")), "NaN or infinite; expected finite"),
        (fill(7.0), "t2 is constant (7 everywhere)"),
        (lambda path: save(path, (24, 28, 23)), "shape (24, 28, 23) found; expected (24, 28, 24) as in"),
        (lambda path: save(path, (24, 28, 24)), "affine differs by"),
    ],
)
def test_a_bad_case_costs_one_line_and_the_others_are_done(tmp_path, case, cohort, weights, caplog, spoil, message):
    shutil.copytree(cohort / "Simulated_001", case.parent / "Simulated_001")
    spoil(case / "Simulated_000_t2.nii.gz")
    result = predict(case.parent, tmp_path / "out", weights, "--no-preview")
    assert result.exit_code == 1
    assert "1 of 2 cases done" in result.output
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert line.startswith("Simulated_000: failed: ")
    assert message in line
    assert "\n" not in line
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"Simulated_001.nii.gz", "Simulated_001.json"}


def test_a_background_of_another_value_gives_the_mask_of_one_of_0(tmp_path, case, weights, caplog):
    assert predict(case, tmp_path / "zero", weights).exit_code == 0
    for path in case.glob("*_t*.nii.gz"):
        image = nib.load(path)
        voxels = np.asarray(image.dataobj, np.float32)
        mean, spread = voxels[voxels != 0].mean(), voxels[voxels != 0].std()
        nib.save(nib.Nifti1Image(np.where(voxels != 0, (voxels - mean) / spread, -20), image.affine), path)
    caplog.clear()
    assert predict(case, tmp_path / "other", weights).exit_code == 0
    line = "background of t1 -20, t1ce -20, t2 -20 found; taken for the outside of the brain and set to 0"
    assert f"Simulated_000: warning: {line}" in [record.getMessage() for record in caplog.records]
    assert line in json.loads((tmp_path / "other" / "Simulated_000.json").read_text())["warnings"]
    assert (mask(tmp_path / "zero") != mask(tmp_path / "other")).mean() < 1e-3


def test_axes_of_length_1_are_none(tmp_path, case, weights):
    assert predict(case, tmp_path / "three", weights).exit_code == 0
    for path in case.glob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), path)
    assert predict(case, tmp_path / "four", weights).exit_code == 0
    assert np.array_equal(mask(tmp_path / "four"), mask(tmp_path / "three"))


def test_the_memory_limit_is_for_reading_too(tmp_path, weights, caplog, monkeypatch):
    """A file of half a megabyte that declares, and holds, 110 million voxels."""
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    header = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)).header
    header.set_data_shape((480, 480, 480))
    header.set_data_offset(352)
    header["scl_slope"], header["scl_inter"] = 1, 0  # on disk; in memory nibabel has NaN
    (folder / "a_t1.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4 + 480**3), 1))
    monkeypatch.setattr("metakd_monai.data.nifti.voxels.read_to_end", lambda *_: pytest.fail("unpacked"))
    assert predict(tmp_path / "in", tmp_path / "out", weights).exit_code == 1
    assert "a_t1.nii.gz: its header declares a volume that needs 5.1 GiB of memory; memory_limit" in caplog.text


def test_volumes_go_by_the_determinant_of_the_affine():
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[0, :2] = 4
    sheared = torch.eye(4)
    sheared[0, 1] = 3  # edges of 1, 3.2 and 1 mm, but a volume of 1 cubic millimetre
    assert region_ml(labels, sheared) == {"ET": 0.032, "TC": 0.032, "WT": 0.032}


def test_two_files_for_one_modality_stop_that_case_only(tmp_path, case, cohort, weights, caplog):
    shutil.copytree(cohort / "Simulated_001", case.parent / "Simulated_001")
    shutil.copy(case / "Simulated_000_t1.nii.gz", case / "Simulated_000_t1n.nii.gz")
    assert predict(case.parent, tmp_path / "out", weights, "--no-preview").exit_code == 1
    assert "Simulated_000: failed: " in caplog.text
    assert "two files for 't1'" in caplog.text
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"Simulated_001.nii.gz", "Simulated_001.json"}
    assert predict(case, tmp_path / "alone", weights).exit_code == 2


def test_4d_file_with_another_channel_count(tmp_path, weights, caplog):
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "x.nii.gz")
    assert predict(tmp_path / "x.nii.gz", tmp_path / "out", weights).exit_code == 1
    assert "expected a 4-D file with 4 channels (flair, t1, t1ce, t2)" in caplog.text


def test_unforeseen_trouble_with_a_case_is_one_line_too(tmp_path, case, weights, caplog, monkeypatch):
    monkeypatch.setattr(Predictor, "segment", lambda self, item: 1 / 0)
    assert predict(case, tmp_path / "out", weights).exit_code == 1
    assert "Simulated_000: failed: ZeroDivisionError: division by zero" in caplog.text
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modalities", "flare"], "did you mean 'flair'?"),
        (["--modalitie", "flair"], "--modalities"),
        (["--et-label", "5"], "'5' is not one of 'auto', '3', '4'"),
        (["--device", "gpu9"], "device: 'gpu9' cannot be used"),
        (["--weights", "nowhere.pt"], "weights: nowhere.pt not found"),
        (["--case-id", "x"], "--case-id goes with files by modality"),
        (["--t1", "a.nii.gz"], "both INPUT and files by modality"),
        (["surplus"], "unexpected extra argument"),
    ],
)
def test_unusable_arguments_run_nothing(tmp_path, case, weights, options, message):
    result = predict(case, tmp_path / "out", weights, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_nothing_to_segment(tmp_path, weights):
    result = run("predict", "-o", tmp_path / "out", "--weights", weights)
    assert (result.exit_code, "neither INPUT nor files by modality" in result.output) == (2, True)
    result = run("predict", "-o", tmp_path / "out", "--t1", tmp_path / "no.nii.gz")
    assert (result.exit_code, "no.nii.gz: no such file" in result.output) == (2, True)
    (tmp_path / "empty").mkdir()
    result = predict(tmp_path / "empty", tmp_path / "out", weights)
    assert (result.exit_code, "no modality found" in result.output) == (2, True)


def test_output_that_cannot_be_written(tmp_path, case, weights):
    (tmp_path / "file").touch()
    result = predict(case, tmp_path / "file" / "out", weights)
    assert result.exit_code == 2
    assert "cannot be written" in result.output


def test_unknown_command_names_the_closest():
    result = run("predcit")
    assert result.exit_code == 2
    assert "Did you mean 'predict'?" in result.output
    assert run("zzz").exit_code == 2
    assert __version__ in run("--version").output


def test_simulate_command(tmp_path):
    options = ["--cases", "1", "--shape", "16x20x16", "--spacing", "8"]
    assert run("simulate", tmp_path / "s", *options).exit_code == 0
    assert len(find_cases(tmp_path / "s")) == 1
    result = run("simulate", tmp_path / "s", *options)
    assert (result.exit_code, "exists already" in result.output) == (2, True)
    assert "three whole numbers" in run("simulate", tmp_path / "t", "--shape", "big").output


def test_without_weights_it_says_where_to_get_some(monkeypatch, tmp_path):
    monkeypatch.setattr("metakd_monai.bundle.root.PLACES", [tmp_path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"none found at .*model\.pt; give some with --weights FILE, .*pip install"):
        find_weights(None)
    folder = tmp_path / SEGMENTATION_BUNDLE
    for name in ("configs/metadata.json", "models/model.pt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    assert find_weights(None) == folder / "models" / "model.pt"


def test_weights_do_not_depend_on_the_current_folder(monkeypatch, tmp_path):
    """Another bundle, or a copy with weights of one's own, may lie there: what is taken unasked is what was shipped."""
    shutil.copytree(BUNDLE / "configs", tmp_path / "configs")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert find_weights(None) == BUNDLE / "models" / "model.pt"


def test_weights_are_loaded_strictly_whatever_their_widths(tmp_path, network):
    for wrapper in ("plain", "network", "model"):
        state = network.state_dict()
        torch.save(state if wrapper == "plain" else {wrapper: state}, tmp_path / "w.pt")
        loaded = load_network(tmp_path / "w.pt")
        image = torch.randn(1, 4, 8, 8, 8)
        assert torch.equal(loaded(image), network.eval()(image))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_bytes(b"x"), "unreadable; expected weights"),
        (lambda p: torch.save([1], p), "holds no state dict"),
        (lambda p: torch.save(torch.nn.Linear(1, 1).state_dict(), p), "not a state dict of a MetaKDUNet"),
        (lambda p: torch.save(MetaKDUNet(2, channels=CHANNELS).state_dict(), p), "found {'spatial_dims': 2}"),
        (
            lambda p: torch.save(
                {k: v for k, v in MetaKDUNet(channels=CHANNELS).state_dict().items() if "norm1" not in k}, p
            ),
            "found no ",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path, make, message):
    make(tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        load_network(tmp_path / "w.pt")


def test_preview_without_tumour(tmp_path, cohort):
    from metakd_monai.apps.predict.preview import draw_preview

    image = np.random.default_rng(0).random((4, 8, 9, 10))
    draw_preview(tmp_path / "a.png", image, [True, False, True, True], np.zeros((8, 9, 10), int), (1, 1, 2), "none")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_preview_shows_present_sequences_only(tmp_path):
    from matplotlib.image import imread

    from metakd_monai.apps.predict.preview import draw_preview

    image = np.random.default_rng(0).random((4, 8, 9, 10)) + 1
    labels = np.zeros((8, 9, 10), int)
    labels[2:5, 2:5, 2:5] = 4
    for name, value in (("a", 0.0), ("b", 5.0)):
        image[1] = value * np.random.default_rng(1).random((8, 9, 10))
        draw_preview(tmp_path / f"{name}.png", image, [True, False, True, True], labels, (1, 1, 1), "x")
    first, second = imread(tmp_path / "a.png"), imread(tmp_path / "b.png")
    assert np.array_equal(first, second)
    yellow = (first[..., 0] > first[..., 2] + 0.2) & (first[..., 1] > first[..., 2] + 0.2)
    columns = yellow[: int(0.9 * len(first))].any(axis=0).reshape(4, -1).any(axis=1)
    assert columns.tolist() == [True, False, True, True]


@pytest.mark.parametrize("name", ["brats_2013_pat0003_1", "BRATS_HG0015"])
def test_real_cases(tmp_path, weights, name):
    source = shared("data", "brats_cc-by-nc-sa", name)
    result = predict(source, tmp_path / "out", weights)
    assert result.exit_code == 0, result.output
    assert mask(tmp_path / "out", name).shape == (240, 240, 155)
    first = next(iter(find_cases(source)[0].files.values()))
    assert_same_grid_for_itk(first, tmp_path / "out" / f"{name}.nii.gz")


def test_ways_to_compute_are_recorded_and_not_mixed(tmp_path, case, weights):
    options = ["--no-preview", "--precision", "fp32"]
    more = ["--mirror", "lr", "--margin", 2, "--memory-limit", 4]
    assert predict(case, tmp_path / "out", weights, *options, *more).exit_code == 0
    report = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    expected = {"precision": "fp32", "memory_limit": 4, "margin": 2, "mirror": "lr", "overlap": 0.25, "window": "whole"}
    assert report["settings"]["compute"] == expected
    assert predict(case, tmp_path / "out", weights, *options).exit_code == 1  # a mask of other settings is left alone


def test_the_window_is_the_weights_or_the_user_s_and_in_the_report(tmp_path, case, network):
    network.set_window((16, 16, 16))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    for name, options, settled in (("own", [], [16, 16, 16]), ("other", ["--window", "whole"], "whole")):
        result = predict(case, tmp_path / name, tmp_path / "model.pt", "--no-preview", *options)
        assert result.exit_code == 0, result.output
        report = json.loads(next((tmp_path / name).glob("*.json")).read_text())
        assert report["settings"]["compute"]["window"] == settled
        assert report["window"] == [16, 16, 16] if name == "own" else max(report["window"]) > 16
    assert predict(case, tmp_path / "own", tmp_path / "model.pt", "--window", "whole").exit_code == 1
    result = predict(case, tmp_path / "x", tmp_path / "model.pt", "--window", "small")
    assert "'small' is not three whole numbers such as 72,88,72, or whole" in result.output


def test_postprocessing_drops_what_lies_apart(tmp_path, case, weights):
    """A network that finds a tenth of the brain, here and there: one rule leaves the largest, the other no ET."""
    predictor = Predictor(weights)
    item = predictor.read(find_cases(case)[0])
    state = torch.load(weights)
    state["heads.0.conv.bias"] -= predictor.segment(item).flatten(1).quantile(0.9, dim=1)
    torch.save(state, weights)
    assert predict(case, tmp_path / "as is", weights).exit_code == 0
    found = mask(tmp_path / "as is")
    assert label(found > 0, np.ones((3, 3, 3)))[1] > 1
    assert (found == 4).any()

    largest, no_et = "components:voxels=0,share=1.0", "small_et:threshold=10000000,target=1"
    for name, rule in (("largest", largest), ("no ET", no_et)):
        result = predict(case, tmp_path / name, weights, "--postprocessing", rule)
        assert result.exit_code == 0, result.output
        report = json.loads((tmp_path / name / "Simulated_000.json").read_text())
        assert report["settings"]["postprocessing"] == rule
        assert np.array_equal(mask(tmp_path / name), PostProcessing.parse(rule)(found, 4))
    assert label(mask(tmp_path / "largest") > 0, np.ones((3, 3, 3)))[1] == 1
    assert not (mask(tmp_path / "no ET") == 4).any()
    volumes = report["volumes_ml"]
    assert volumes["ET"] == 0
    assert volumes["TC"] > 0


def test_postprocessing_of_other_settings_and_unknown_rules(tmp_path, case, weights):
    assert predict(case, tmp_path / "out", weights).exit_code == 0
    result = predict(case, tmp_path / "out", weights, "--postprocessing", "metakd")
    assert result.exit_code == 1
    assert "made with other settings (postprocessing)" in result.output
    result = predict(case, tmp_path / "out", weights, "--postprocessing", "component")
    assert result.exit_code == 2
    assert "did you mean components?" in result.output

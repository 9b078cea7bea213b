"""Masks from a case onto raw grids and back: volumes stay, places stay, records that are none are refused."""

import json

import nibabel as nib
import numpy as np
import pytest
from raw_heads import SCANS, write_scan

from metakd_monai.apps.raw.back_transform import labels_to_case, labels_to_raw, map_to_raw
from metakd_monai.apps.raw.registration import rigid
from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.apps.raw.transforms_file import RawGrid, read_transforms
from metakd_monai.apps.simulation.toy import write_volume
from metakd_monai.cli import main
from metakd_monai.data.nifti import region_ml
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality


def tumour() -> np.ndarray:
    """Return nested balls: oedema 25 mm, an enhancing rim of 2 mm, necrosis 12 mm."""
    x = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")).astype(np.float32)
    away = np.sqrt(((x - np.array([100, 130, 80], np.float32)[:, None, None, None]) ** 2).sum(axis=0))
    return np.select([away < 12, away < 14, away < 25], [1, 4, 2], 0).astype(np.uint8)


def grid_of(modality=Modality.T1CE) -> RawGrid:
    """Return the grid of a scan in thick slices whose header is moved."""
    shape, edges, degrees, shift = SCANS[modality]
    middle = np.array([-119.5, 119.5, 77.0])
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = middle + np.array(shift) - np.array(edges) * (np.array(shape) - 1) / 2
    return RawGrid(shape, affine, rigid(degrees, shift, middle), None)


@pytest.mark.parametrize("modality", list(SCANS))
def test_volumes_stay_through_thick_slices_and_back(modality):
    labels, grid = tumour(), grid_of(modality)
    truth = region_ml(labels, AFFINE)
    on_raw = labels_to_raw(labels, grid)
    assert on_raw.shape == grid.shape
    for region, millilitres in region_ml(on_raw, grid.affine).items():
        assert millilitres == pytest.approx(truth[region], rel=0.005), region
    back = labels_to_case(on_raw, grid, SHAPE)
    shared = 2 * ((back > 0) & (labels > 0)).sum() / ((back > 0).sum() + (labels > 0).sum())
    assert shared > 0.93


def test_a_mask_outside_the_field_of_view_is_empty_there_and_so_is_an_empty_one():
    labels = np.zeros(SHAPE, np.uint8)
    grid = grid_of()
    assert not labels_to_raw(labels, grid).any()
    assert not labels_to_case(np.zeros(grid.shape, np.uint8), grid, SHAPE).any()
    labels[2, 2, 2] = 4
    assert not labels_to_raw(labels, grid).any()


def test_a_map_is_the_mean_over_each_voxel():
    ramp = np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), SHAPE)
    affine = AFFINE @ np.diag([1.0, 1.0, 5.0, 1.0])
    affine[2, 3] = 12.0
    found = map_to_raw(ramp, RawGrid((240, 240, 26), affine, np.eye(4), None))
    assert found[120, 120, 3] == pytest.approx(12 + 3 * 5, abs=1e-3)


def write_case(folder, grid: RawGrid, raw) -> None:
    entry = {"shape": grid.shape, "affine": grid.affine.tolist(), "centre_to_series": grid.from_case.tolist()}
    content = {"case_to_centre": np.eye(4).tolist(), "series": {"t1ce": {**entry, "file": str(raw)}}}
    folder.mkdir()
    (folder / "transforms.json").write_text(json.dumps(content))


def test_the_command_carries_a_mask_there_and_a_drawn_one_back(tmp_path, capsys):
    grid = grid_of()
    write_scan(tmp_path / "raw_t1ce.nii.gz", np.zeros(grid.shape), grid.affine)
    write_case(tmp_path / "P1", grid, tmp_path / "raw_t1ce.nii.gz")
    write_volume(tmp_path / "P1.nii.gz", tumour(), 1.0)
    case = ["--case", str(tmp_path / "P1"), "--output", str(tmp_path / "out")]
    assert main(["back", str(tmp_path / "P1.nii.gz"), *case], standalone_mode=False) is None
    assert "t1ce: ET " in capsys.readouterr().out
    native = nib.load(tmp_path / "out" / "P1_t1ce.nii.gz")
    assert (native.affine == nib.load(tmp_path / "raw_t1ce.nii.gz").affine).all()
    drawn = str(tmp_path / "out" / "P1_t1ce.nii.gz")
    main(["back", drawn, "--inverse", *case], standalone_mode=False)
    found = nib.load(tmp_path / "out" / "P1_t1ce_in_case.nii.gz")
    assert found.shape == SHAPE
    assert (np.asarray(found.dataobj) > 0).sum() == pytest.approx((tumour() > 0).sum(), rel=0.03)


def test_a_mask_on_another_grid_is_refused(tmp_path):
    grid = grid_of()
    write_case(tmp_path / "P1", grid, None)
    write_scan(tmp_path / "m.nii.gz", np.zeros((20, 20, 20)), np.eye(4))
    for extra, words in ((["--inverse"], "on the grid of none of t1ce"), ([], r"expected \(240, 240, 155\)")):
        arguments = ["back", str(tmp_path / "m.nii.gz"), "--case", str(tmp_path / "P1"), "-o", str(tmp_path / "o")]
        assert_refused([*arguments, *extra], words, tmp_path)


def assert_refused(arguments, words, folder):
    from click.testing import CliRunner

    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 2, found.output
    import re

    assert re.search(words, found.output + str(found.stderr)), found.output


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"case_to_centre": 3, "series": {}}',
        '{"case_to_centre": [[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]], "series": {}}',
        '{"case_to_centre": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]], "series": {"t9": {}}}',
        '{"case_to_centre": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]], "series": {"t1": {"shape": [1, 2]}}}',
        '{"case_to_centre": [[1,0,0,0],[0,1,0,0],[0,0,NaN,0],[0,0,0,1]], "series": {}}',
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "transforms.json").write_text(content)
    with pytest.raises(
        UserError,
        match=r"transforms.json: (unreadable|no record of raw grids found).*; expected what metakd prepare wrote",
    ):
        read_transforms(tmp_path)

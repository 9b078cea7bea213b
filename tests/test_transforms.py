import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity
from test_files import save

from metakd_monai.errors import UserError
from metakd_monai.transforms import (
    LabelsToRegionsd,
    LoadImageModalitiesd,
    LoadLabeld,
    RandDropModalitiesd,
    RegionsToLabelsd,
    SaveImageMaskd,
    labels_to_regions,
    normalize_nonzero,
    regions_to_labels,
)
from metakd_monai.vocabulary import Modality


@pytest.fixture
def case(tmp_path):
    for modality in Modality:
        save(tmp_path / "case" / f"case_{modality.value}.nii.gz")
    return tmp_path / "case"


def four_d(path, channels=4, empty=()):
    voxels = np.arange(1, 1 + 24 * channels, dtype=np.float32).reshape(2, 3, 4, channels)
    voxels[..., list(empty)] = 0
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


@pytest.mark.parametrize("form", ["mapping", "list", "folder"])
def test_all_forms_of_a_case_load_the_same(case, form):
    files = sorted(case.iterdir())
    source = {
        "mapping": {m.value: str(case / f"case_{m.value}.nii.gz") for m in reversed(Modality)},
        "list": [str(f) for f in reversed(files)],
        "folder": str(case),
    }[form]
    item = LoadImageModalitiesd()({"image": source})
    assert item["image"].shape == (4, 4, 5, 6)
    assert item["available"].tolist() == [True] * 4
    assert item["image"].affine[1, 3] == 239


def test_absence_is_data(case):
    (case / "case_t1.nii.gz").unlink()
    item = LoadImageModalitiesd(modalities="flair,t1,t2")({"image": case})
    assert item["available"].tolist() == [True, False, False, True]
    assert item["image"][1:3].abs().sum() == 0


def test_masking_a_modality_equals_leaving_its_file_out(case):
    masked = LoadImageModalitiesd(modalities="flair,t1ce,t2")({"image": case})
    (case / "case_t1.nii.gz").unlink()
    left_out = LoadImageModalitiesd()({"image": case})
    assert torch.equal(masked["available"], left_out["available"])
    assert torch.equal(masked["image"], left_out["image"])


def test_a_4d_file_in_channel_order(tmp_path):
    item = LoadImageModalitiesd()({"image": four_d(tmp_path / "x.nii.gz", empty=[2])})
    assert item["image"].shape == (4, 2, 3, 4)
    assert item["available"].tolist() == [True, True, False, True]
    assert item["image"][1, 0, 0, 0] == 2  # channel 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: save(d / "case_t2.nii.gz", (4, 5, 7)), r"t2.nii.gz: shape \(4, 5, 7\) found; expected \(4, 5, 6\)"),
        (
            lambda d: save(d / "case_t2.nii.gz", affine=np.eye(4)),
            "t2.nii.gz: affine differs by .* that of the case's",
        ),
        (lambda d: save(d / "case_t2.nii.gz", (4, 5, 6, 2)), "expected a 3-D volume"),
        (lambda d: save(d / "case_t2.nii.gz", value=0), "t2 is constant"),
        (lambda d: (d / "case_t2.nii.gz").write_bytes(b"x"), "t2.nii.gz: unreadable"),
    ],
)
def test_bad_files_are_refused_by_name(case, spoil, message):
    spoil(case)
    with pytest.raises(UserError, match=message):
        LoadImageModalitiesd()({"image": case})


def with_background(path, value):
    """Give a file of ``save`` a border, and so a background, of one value."""
    image = nib.load(path)
    voxels = np.pad(np.asarray(image.dataobj, np.float32)[1:-1, 1:-1, 1:-1] + 1, 1, constant_values=value)
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


def test_a_background_other_than_0_is_set_to_0_and_said_in_one_line(case, caplog):
    for modality, value in zip(Modality, (0, -3.5, np.nan, -1000), strict=True):
        with_background(case / f"case_{modality.value}.nii.gz", value)
    image = LoadImageModalitiesd()({"image": case})["image"]
    assert all(torch.equal(channel, image[0]) for channel in image)
    note = "background of t1 -3.5, t1ce NaN, t2 -1000 found; taken for the outside of the brain and set to 0"
    assert image.meta["note"] == note
    (record,) = caplog.records
    assert record.getMessage() == f"{case / 'case_flair.nii.gz'}: {note}"
    LoadImageModalitiesd(log=False)({"image": case})
    assert len(caplog.records) == 1


def test_a_background_in_an_array_leaves_the_array_as_it_is(case):
    for modality in Modality:
        with_background(case / f"case_{modality.value}.nii.gz", 0)
    sound = LoadImageModalitiesd()({"image": case})["image"].as_tensor()
    given = torch.where(sound == 0, torch.nan, sound)
    given[1] = torch.nan
    before = given.clone()
    item = LoadImageModalitiesd()({"image": given})
    assert item["available"].tolist() == [True, False, True, True]
    assert torch.equal(item["image"].as_tensor()[0], sound[0])
    assert torch.equal(given.nan_to_num(9), before.nan_to_num(9))


def test_a_volume_that_does_not_fit_is_refused(case):
    assert LoadImageModalitiesd(memory_limit=0.7)({"image": case})["available"].all()
    with pytest.raises(UserError, match=r"case_flair\.nii\.gz: .* needs 0\.6 GiB of memory; memory_limit is 0\.5 GiB"):
        LoadImageModalitiesd(memory_limit=0.5)({"image": case})


def test_label_maps_are_rounded_and_on_the_grid_of_their_image(case):
    values = (np.arange(120).reshape(4, 5, 6) % 5).astype(np.float32)
    affine = nib.load(case / "case_t1.nii.gz").affine
    nib.save(nib.Nifti1Image((values * 0.9999)[..., None], affine), case / "case_seg.nii.gz")
    item = LoadLabeld("label")(LoadImageModalitiesd()({"image": case, "label": case / "case_seg.nii.gz"}))
    assert item["label"].dtype == torch.uint8
    assert np.array_equal(item["label"][0], values)
    assert torch.equal(item["label"].affine, item["image"].affine)
    assert "label" not in LoadLabeld("label", allow_missing_keys=True)({"image": 1})


@pytest.mark.parametrize(
    ("shape", "shift", "message"),
    [
        (
            (4, 5, 7),
            0,
            r"seg\.nii\.gz: shape \(4, 5, 7\) found; expected \(4, 5, 6\) as in the images of its case",
        ),
        ((4, 5, 6, 2), 0, "expected a 3-D volume"),
        ((4, 5, 6), 60, "case_seg.nii.gz: affine differs by 60 from that of the images of its case"),
    ],
)
def test_a_label_map_on_another_grid_is_refused(case, shape, shift, message):
    affine = nib.load(case / "case_t1.nii.gz").affine.copy()
    affine[0, 3] += shift
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), affine), case / "case_seg.nii.gz")
    item = LoadImageModalitiesd()({"image": case, "label": case / "case_seg.nii.gz"})
    with pytest.raises(UserError, match=message):
        LoadLabeld("label")(item)


def test_wrong_channel_count_and_no_modality_left(tmp_path, case):
    with pytest.raises(UserError, match=r"expected a 4-D file with 4 channels \(flair, t1, t1ce, t2\)"):
        LoadImageModalitiesd()({"image": four_d(tmp_path / "x.nii.gz", 3)})
    with pytest.raises(UserError, match="no modality left; expected at least one of t1ce"):
        LoadImageModalitiesd(modalities="t1ce")({"image": {"t1": case / "case_t1.nii.gz"}})
    with pytest.raises(UserError, match="no modality left"):
        LoadImageModalitiesd()({"image": four_d(tmp_path / "y.nii.gz", empty=[0, 1, 2, 3])})


def test_lists_go_by_name(case):
    with pytest.raises(UserError, match="no modality in its name"):
        LoadImageModalitiesd()({"image": [str(case / "case.nii.gz")]})
    with pytest.raises(UserError, match="a second file for 't1'"):
        LoadImageModalitiesd()({"image": [str(case / "case_t1.nii.gz"), "x_t1n.nii.gz"]})


def test_folder_of_several_cases_is_no_case(tmp_path):
    save(tmp_path / "a" / "a_t1.nii.gz")
    save(tmp_path / "b" / "b_t1.nii.gz")
    with pytest.raises(UserError, match="2 cases found; expected the folder of one case"):
        LoadImageModalitiesd()({"image": tmp_path})


@pytest.mark.parametrize("et_label", [3, 4])
def test_labels_to_regions_and_back(et_label):
    labels = torch.tensor([[0, 1, 2, et_label]])
    regions = labels_to_regions(labels)
    assert regions.tolist() == [[0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]]  # ET, TC, WT
    assert regions_to_labels(regions, et_label).tolist() == labels.tolist()
    assert regions_to_labels(regions, et_label).dtype == torch.uint8


def test_composition_overwrites_without_nesting():
    assert regions_to_labels(torch.tensor([[1.0], [0.0], [0.0]])).tolist() == [[4]]
    assert regions_to_labels(torch.tensor([[0.0], [1.0], [0.0]])).tolist() == [[1]]


def test_region_transforms_on_items():
    item = LabelsToRegionsd("label", et_label=4)({"label": torch.tensor([[0, 1, 2, 4]])})
    assert RegionsToLabelsd("label")(item)["label"].tolist() == [[0, 1, 2, 4]]
    with pytest.raises(UserError, match="label 3 found; expected enhancing tumour to be 4"):
        LabelsToRegionsd("label", et_label=4)({"label": torch.tensor([[3]])})
    with pytest.raises(ValueError, match="et_label must be 3 or 4, got 2"):
        RegionsToLabelsd("label", et_label=2)


def test_save_mask_uses_the_image_s_case_and_grid(tmp_path, case):
    item = LoadImageModalitiesd()({"image": case, "case_id": "case"})
    item["pred"] = MetaTensor(torch.ones(1, 4, 5, 6, dtype=torch.uint8))
    SaveImageMaskd("pred", tmp_path / "out")(item)
    written = nib.load(tmp_path / "out" / "case.nii.gz")
    assert written.shape == (4, 5, 6)
    assert np.array_equal(written.affine, nib.load(case / "case_flair.nii.gz").affine)


def draws(law, available, number=3000, prob=1.0):
    transform = RandDropModalitiesd(law=law, prob=prob)
    transform.set_random_state(seed=0)
    return torch.stack([transform({"available": available})["available"] for _ in range(number)])


def test_count_law_keeps_each_number_equally_often():
    kept = draws("count", torch.ones(4, dtype=torch.bool))
    share = torch.bincount(kept.sum(1), minlength=5) / len(kept)
    torch.testing.assert_close(share, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]), atol=0.03, rtol=0)
    torch.testing.assert_close(kept.float().mean(0), torch.full((4,), 0.625), atol=0.03, rtol=0)


def test_subset_law_draws_all_fifteen_equally_often():
    kept = draws("subset", torch.ones(4, dtype=torch.bool))
    codes = torch.bincount((kept * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16) / len(kept)
    torch.testing.assert_close(codes, torch.tensor([0.0] + [1 / 15] * 15), atol=0.02, rtol=0)


@pytest.mark.parametrize("law", ["count", "subset"])
def test_dropping_never_invents_and_never_takes_all(law):
    available = torch.tensor([True, False, True, False])
    kept = draws(law, available, 200)
    assert not kept[:, ~available].any()
    assert kept.any(dim=1).all()


def test_dropping_rate():
    kept = draws("count", torch.ones(4, dtype=torch.bool), prob=0.4)
    assert (kept.sum(1) == 4).float().mean().item() == pytest.approx(0.6 + 0.4 / 4, abs=0.03)


def test_unknown_law():
    with pytest.raises(ValueError, match="law must be 'count' or 'subset', got 'coin'"):
        RandDropModalitiesd(law="coin")


def test_brains_are_normalised_as_monai_does_bit_for_bit():
    image = torch.rand(5, 9, 10, 11) * 1000 * (torch.rand(5, 9, 10, 11) > 0.4)
    image[3], image[4] = 0, 7.0 * (image[4] > 0)  # nothing; one value
    before = image.clone()
    wanted = NormalizeIntensity(nonzero=True, channel_wise=True)(image.clone())
    assert torch.equal(normalize_nonzero(image), torch.as_tensor(wanted))
    assert torch.equal(image, before)

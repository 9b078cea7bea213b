"""HD95, overlap and empty rules against values known by hand and against independent implementations."""

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

from metakd_monai.errors import UserError
from metakd_monai.metrics import HD95_KINDS, columns_of, hd95, score_case, score_regions
from metakd_monai.vocabulary import Region

ISOTROPIC, ANISOTROPIC = (1.0, 1.0, 1.0), (0.7, 1.2, 5.0)
DIAGONAL = 373.12866  # of 240x240x155 voxels of 1 mm


def blobs(seed: int, shape: Sequence[int] = (9, 8, 7), share: float = 0.2) -> np.ndarray:
    """Return a lumpy mask that also touches the array's borders."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.0)
    return noise > np.quantile(noise, 1 - share)


def voxels(*places: Sequence[int], shape: Sequence[int] = (12, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[tuple(place)] = True
    return mask


def pairwise(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return both directed sets of border distances from every pair of border voxels, without any library."""

    def border_of(mask: np.ndarray) -> list[tuple[int, ...]]:
        true = {tuple(map(int, place)) for place in np.argwhere(mask)}
        steps = [tuple(sign * (axis == n) for n in range(3)) for axis in range(3) for sign in (-1, 1)]
        return [p for p in true if any(tuple(x + d for x, d in zip(p, s, strict=True)) not in true for s in steps)]

    def nearest(place: tuple[int, ...], others: list[tuple[int, ...]]) -> float:
        return min(
            math.sqrt(sum((s * (x - y)) ** 2 for s, x, y in zip(spacing, place, o, strict=True))) for o in others
        )

    first, second = border_of(a), border_of(b)
    return [nearest(p, second) for p in first], [nearest(p, first) for p in second]


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("seed", range(4))
def test_pooled_and_directed_are_those_of_all_pairs_of_border_voxels(seed: int, spacing: tuple[float, ...]) -> None:
    a, b = blobs(seed), blobs(seed + 100, share=0.1)
    forth, back = pairwise(a, b, spacing)
    assert hd95(a, b, spacing, "pooled") == pytest.approx(np.percentile(forth + back, 95), abs=1e-9)
    expected = max(np.percentile(forth, 95), np.percentile(back, 95))
    assert hd95(a, b, spacing, "directed") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
def test_pooled_is_that_of_distance_transforms_of_the_whole_volume(spacing: tuple[float, ...]) -> None:
    a, b = np.zeros((2, 40, 40, 30), dtype=bool)
    a[5:25, 8:25, 12:30], b[8:29, 6:20, 10:26] = True, True  # a touches the last slice
    borders = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in borders]
    both = np.concatenate([maps[1][borders[0]], maps[0][borders[1]]])
    assert hd95(a, b, spacing) == pytest.approx(np.percentile(both, 95), abs=1e-9)


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
def test_directed_is_monais(spacing: tuple[float, ...]) -> None:
    a, b = blobs(1), blobs(2)
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (a, b)]
    expected = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing))
    assert hd95(a, b, spacing, "directed") == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("seed", range(3))
def test_surface_is_the_percentile_by_area_of_monais_surface_elements(seed: int, spacing: tuple[float, ...]) -> None:
    a, b = blobs(seed), blobs(seed + 50)
    pair = [torch.from_numpy(mask) for mask in (a, b)]
    edges, ways, areas = get_edge_surface_distance(*pair, spacing=list(spacing), use_subvoxels=True, symmetric=True)
    expected = []
    for edge, way, area in zip(edges, ways, areas, strict=True):
        elements = sorted(zip(way.tolist(), area[edge].tolist(), strict=True))
        total, so_far = sum(size for _, size in elements), 0.0
        for distance, size in elements:
            so_far += size
            if so_far >= 0.95 * total:
                expected.append(distance)
                break
    assert hd95(a, b, spacing, "surface") == pytest.approx(max(expected), abs=1e-4)


def test_kinds_differ_as_worked_out_by_hand() -> None:
    one, two = voxels((2, 5, 5)), voxels((2, 5, 5), (8, 5, 5))
    assert hd95(two, one, ISOTROPIC, "pooled") == pytest.approx(5.4)  # of 0, 0, 6: 0.9 of the way from 0 to 6
    assert hd95(two, one, ISOTROPIC, "directed") == pytest.approx(5.7)  # of 0, 6
    assert hd95(two, one, ISOTROPIC, "surface") == 6.0  # corners of the far voxel are 5 or 6 away


@pytest.mark.parametrize("kind", HD95_KINDS)
def test_distance_is_in_millimetres_along_each_axis(kind: str) -> None:
    origin = voxels((0, 0, 0))
    assert hd95(origin, voxels((0, 0, 4)), (1.0, 2.0, 3.0), kind) == pytest.approx(12.0)
    assert hd95(origin, voxels((0, 4, 0)), (1.0, 2.0, 3.0), kind) == pytest.approx(8.0)


@pytest.mark.parametrize("kind", HD95_KINDS)
def test_a_wider_array_changes_nothing(kind: str) -> None:
    a, b = blobs(5), blobs(6)
    assert a[0].any()
    assert hd95(np.pad(a, 4), np.pad(b, 4), ISOTROPIC, kind) == hd95(a, b, ISOTROPIC, kind)


def test_an_array_edge_is_a_border() -> None:
    full, centre = np.ones((5, 5, 5), dtype=bool), voxels((2, 2, 2), shape=(5, 5, 5))
    assert hd95(full, centre, ISOTROPIC, "directed") == pytest.approx(math.sqrt(12))  # 8 corners of 98 border voxels


@pytest.mark.parametrize(
    ("prediction", "kind", "message"),
    [
        (voxels(), "pooled", "empty"),
        (voxels((1, 1, 1)), "mean", "pooled, directed"),
        (np.ones((2, 2)), "pooled", "match"),
    ],
)
def test_hd95_refuses_what_has_no_distance(prediction: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hd95(prediction, voxels((1, 1, 1)), ISOTROPIC, kind)


def test_surface_needs_three_axes() -> None:
    with pytest.raises(ValueError, match="three axes"):
        hd95(np.eye(3, dtype=bool), np.eye(3, dtype=bool), (1.0, 1.0), "surface")


def labels(*regions: tuple[tuple[slice, ...], int], shape: Sequence[int] = (12, 12, 12)) -> np.ndarray:
    volume = np.zeros(shape, dtype=np.uint8)
    for place, value in regions:
        volume[place] = value
    return volume


CUBE = (slice(2, 6), slice(2, 6), slice(2, 6))
INNER = (slice(3, 5), slice(3, 5), slice(3, 5))
TUMOUR = labels((CUBE, 2), (INNER, 4))


def test_columns_are_the_servers_in_its_order() -> None:
    assert ",".join(columns_of("brats2020")) == (
        "Dice_ET,Dice_WT,Dice_TC,Sensitivity_ET,Sensitivity_WT,Sensitivity_TC,Specificity_ET,Specificity_WT,"
        "Specificity_TC,Hausdorff95_ET,Hausdorff95_WT,Hausdorff95_TC"
    )
    assert tuple(score_case(TUMOUR, TUMOUR, ISOTROPIC)) == columns_of("brats2020")


def test_overlap_by_hand() -> None:
    half = labels(((slice(2, 4), slice(2, 6), slice(2, 6)), 2))
    row = score_case(half, TUMOUR, ISOTROPIC)
    assert (row["Dice_WT"], row["Sensitivity_WT"], row["Specificity_WT"]) == (pytest.approx(2 / 3), 0.5, 1.0)
    row = score_case(TUMOUR, half, ISOTROPIC)
    assert (row["Sensitivity_WT"], row["Specificity_WT"]) == (1.0, pytest.approx(1 - 32 / (12**3 - 32)))


def test_empty_rules_of_2020() -> None:
    empty, tumour = np.zeros((240, 240, 155), dtype=np.uint8), np.zeros((240, 240, 155), dtype=np.uint8)
    tumour[100, 100, 70] = 4
    both, missed, made_up = (score_case(a, b, ISOTROPIC) for a, b in ((empty, empty), (empty, tumour), (tumour, empty)))
    read = ("Dice_ET", "Hausdorff95_ET", "Sensitivity_ET")
    assert [both[name] for name in (*read, "Specificity_ET")] == [1, 0, 1, 1]
    assert [missed[name] for name in read] == [0, pytest.approx(DIAGONAL, abs=1e-5), 0]
    assert [made_up[name] for name in read] == [0, pytest.approx(DIAGONAL, abs=1e-5), 0]
    assert score_case(empty, tumour // 4 * 3, ISOTROPIC, "brats2023")["Hausdorff95_ET"] == 374
    assert score_case(empty[:3, :4], tumour[99:102, 99:103], (1, 2, 0))["Hausdorff95_WT"] == pytest.approx(73**0.5)


@pytest.mark.parametrize(("convention", "own", "foreign"), [("brats2020", 4, 3), ("brats2023", 3, 4)])
def test_the_label_of_other_years_is_in_no_region(convention: str, own: int, foreign: int) -> None:
    reference = np.where(TUMOUR == 4, own, TUMOUR)
    row = score_case(np.where(TUMOUR == 4, foreign, TUMOUR), reference, ISOTROPIC, convention)
    assert (row["Dice_ET"], row["Dice_TC"]) == (0, 0)
    assert row["Dice_WT"] == pytest.approx(2 * 56 / (56 + 64))
    assert score_case(reference, reference, ISOTROPIC, convention)["Dice_ET"] == 1


def test_swapped_regions_do_not_score_as_right_ones() -> None:
    masks = np.stack([TUMOUR == 4, TUMOUR == 4, TUMOUR > 0])
    masks[1, 2, 2, 2] = True
    right = score_regions(masks, masks, ISOTROPIC)
    assert {right[f"Dice_{region.value}"] for region in Region} == {1.0}
    for order in ([1, 0, 2], [2, 1, 0], [0, 2, 1]):
        assert score_regions(masks[order], masks, ISOTROPIC) != right


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match=r"convention: 'brats2022' found; expected one of brats2020, brats2023"):
        score_case(TUMOUR, TUMOUR, ISOTROPIC, "brats2022")
    with pytest.raises(UserError, match="hd95: 'max' found"):
        score_case(TUMOUR, TUMOUR, ISOTROPIC, hd95="max")
    with pytest.raises(ValueError, match="expected two arrays"):
        score_case(TUMOUR, TUMOUR[1:], ISOTROPIC)


def test_scoring_files_does_not_wait_for_torch() -> None:
    code = "import sys, metakd_monai.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

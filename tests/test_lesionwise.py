"""The lesion-wise rule of BraTS 2023 against cases worked out by hand and an oracle written apart from it."""

from collections.abc import Sequence

import numpy as np
import pytest

from metakd_monai.metrics import columns_of, hd95, score_case, score_lesions
from metakd_monai.metrics.lesionwise import fail_lesions

SPACING = (1.0, 1.0, 1.0)
SHAPE = (40, 16, 16)
SEEDS = range(6)
BOTH, PREDICTED, MISSED = range(3)


def box(*starts: int, size: int = 4, width: int = 4) -> np.ndarray:
    """Return a mask with a box of ``size`` by ``width`` by ``width`` voxels at each start along the first axis."""
    mask = np.zeros(SHAPE, dtype=bool)
    for start in starts:
        mask[start : start + size, 6 : 6 + width, 6 : 6 + width] = True
    return mask


def flood(places: set[tuple[int, ...]], reach: int = 1) -> list[set[tuple[int, ...]]]:
    """Part a set of voxels into 26-connected components, one neighbour at a time."""
    steps = [tuple(step) for step in np.argwhere(np.ones([2 * reach + 1] * 3)) - reach]
    left, parts = set(places), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            place = edge.pop()
            part.add(place)
            near = {tuple(int(x + d) for x, d in zip(place, step, strict=True)) for step in steps} & left
            left -= near
            edge += near
        parts.append(part)
    return parts


def mask_of(places: set[tuple[int, ...]], shape: Sequence[int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    if places:
        mask[tuple(np.array(sorted(places)).T)] = True
    return mask


def oracle(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> tuple[float, ...]:
    """Follow the facts' six steps literally, with sets of voxels; return Dice, HD95, TP, FP and FN."""
    shape = reference.shape
    predicted, truth = ({tuple(map(int, p)) for p in np.argwhere(mask)} for mask in (prediction, reference))

    def dilate(places: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
        for _ in range(3):
            around = [step - 1 for step in np.argwhere(np.ones((3, 3, 3))) if np.abs(step - 1).sum() <= 2]
            places = {tuple(int(x) for x in np.array(p) + step) for p in places for step in around}
            places = {p for p in places if all(0 <= x < size for x, size in zip(p, shape, strict=True))}
        return places

    components, used, kept = flood(predicted), set(), []
    for grown in flood(dilate(truth)):
        lesion = grown & truth
        near = dilate(lesion)
        hits = [n for n, component in enumerate(components) if component & near]
        used.update(hits)
        if len(lesion) * np.prod(spacing) > 50:
            union = set().union(*(components[n] for n in hits))
            dice = 2 * len(union & lesion) / (len(union) + len(lesion))
            distance = hd95(mask_of(union, shape), mask_of(lesion, shape), spacing, "surface") if hits else 374
            kept.append((bool(hits), dice if hits else 0, distance))
    surplus = len(components) - len(used)
    total = len(kept) + surplus
    if not total:
        return 1, 0, 0, 0, 0
    found = sum(hit for hit, _, _ in kept)
    means = sum(dice for _, dice, _ in kept) / total, (sum(d for _, _, d in kept) + 374 * surplus) / total
    return *means, found, surplus, len(kept) - found


def scores(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] = SPACING) -> tuple[float, ...]:
    result = score_lesions(prediction, reference, spacing)
    return result.dice, result.hausdorff95, result.found, result.surplus, result.missed


def speckle(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and reference with boxes of all sizes anywhere, a third of them in both."""
    rng = np.random.default_rng(seed)
    prediction, reference = np.zeros((2, 64, 14, 12), dtype=bool)
    for fate in (BOTH, BOTH, PREDICTED, PREDICTED, MISSED, MISSED):
        start = [int(rng.integers(0, size - 1)) for size in reference.shape]
        place = tuple(slice(x, x + int(rng.integers(1, 8))) for x in start)
        if fate != PREDICTED:
            reference[place] = True
        if fate != MISSED:
            prediction[place] = True
    return prediction, reference


@pytest.mark.parametrize("spacing", [SPACING, (0.8, 1.5, 2.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_oracle(seed: int, spacing: tuple[float, ...]) -> None:
    prediction, reference = speckle(seed)
    assert scores(prediction, reference, spacing) == pytest.approx(oracle(prediction, reference, spacing))


def test_oracle_cases_have_lesions_of_every_fate() -> None:
    assert all(any(counts) for counts in zip(*(scores(*speckle(seed))[2:] for seed in SEEDS), strict=True))


def test_a_single_false_voxel_halves_a_perfect_score() -> None:
    prediction = box(4)
    prediction[30, 2, 2] = True
    assert scores(box(4), box(4)) == (1, 0, 1, 0, 0)
    assert scores(prediction, box(4)) == (0.5, 187, 1, 1, 0)


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_lesions_with_a_gap_of_six_voxels_are_one(gap: int, lesions: int) -> None:
    reference = box(4, 8 + gap)
    assert scores(reference, reference)[2:] == (lesions, 0, 0)
    dice, distance, *counts = scores(box(4), reference)
    assert counts == ([1, 0, 0] if lesions == 1 else [1, 0, 1])
    assert dice == pytest.approx(2 / 3 if lesions == 1 else 0.5)
    assert distance == (187 if lesions == 2 else pytest.approx(10))


def test_a_hit_through_dilation_alone_is_found_with_dice_0() -> None:
    dice, distance, *counts = scores(box(10), box(4))  # from 10 on, the lesion ends at 7: three voxels on
    assert (dice, counts) == (0, [1, 0, 0])
    assert distance == pytest.approx(6)
    assert scores(box(11), box(4)) == (0, 374, 0, 1, 1)


def test_one_component_may_serve_two_lesions() -> None:
    whole = np.zeros(SHAPE, dtype=bool)
    whole[4:20, 6:10, 6:10] = True  # bridges both boxes, of 4 of its 16 slices each
    dice, _, *counts = scores(whole, box(4, 16))
    assert (dice, counts) == (pytest.approx(2 * 4 / 20), [2, 0, 0])


def test_lesions_of_50_voxels_leave_the_mean_and_what_hits_them_is_not_false() -> None:
    small = np.zeros(SHAPE, dtype=bool)
    small[30:32, 5:10, 5:10] = True
    assert small.sum() == 50
    assert scores(np.zeros_like(small), small) == (1, 0, 0, 0, 0)
    assert scores(small, small) == (1, 0, 0, 0, 0)
    assert scores(box(4) | small, box(4) | small)[2:] == (1, 0, 0)
    small[29, 5, 5] = True
    assert scores(np.zeros_like(small), small) == (0, 374, 0, 0, 1)


def test_threshold_is_a_volume() -> None:
    reference = box(4, size=3, width=3)  # 27 voxels
    assert scores(reference, reference)[2:] == (0, 0, 0)
    assert scores(reference, reference, (1.0, 1.0, 2.0))[2:] == (1, 0, 0)


def test_empty_masks() -> None:
    empty = np.zeros(SHAPE, dtype=bool)
    assert scores(empty, empty) == (1, 0, 0, 0, 0)
    assert scores(box(4, 30), empty) == (0, 374, 0, 2, 0)
    assert scores(empty, box(4, 30)) == (0, 374, 0, 0, 2)
    assert fail_lesions(empty, SPACING).dice == 0


def test_row_has_lesion_columns_then_those_of_the_whole_region() -> None:
    reference = np.where(box(4, 20), 3, 0)
    prediction = np.where(box(4), 3, 0)
    row = score_case(prediction, reference, SPACING, "brats2023")
    assert tuple(row) == columns_of("brats2023")
    assert tuple(row)[:6] == (
        "LesionWise_Dice_ET",
        "LesionWise_Hausdorff95_ET",
        "Num_TP_ET",
        "Num_FP_ET",
        "Num_FN_ET",
        "LesionWise_Dice_TC",
    )
    assert (row["LesionWise_Dice_WT"], row["LesionWise_Hausdorff95_WT"], row["Num_FN_WT"]) == (0.5, 187, 1)
    assert row["Dice_WT"] == pytest.approx(2 / 3)
    assert row["Hausdorff95_WT"] == pytest.approx(16)

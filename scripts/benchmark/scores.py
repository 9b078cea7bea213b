"""Time the brats2020 scores of a 240x240x155 pair against distance transforms of the whole volume, as MedPy does them.

Usage: scores.py [REPEATS]. Both run in turns in one process; medians are printed, and that the values agree.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy import ndimage

from metakd_monai.metrics import score_case

SHAPE = (240, 240, 155)
SPACING = (1.0, 1.0, 1.0)
TARGET = 1 / 3
REGIONS = {"ET": (4,), "WT": (1, 2, 4), "TC": (1, 4)}


def make_labels(shift: float, seed: int) -> np.ndarray:
    """Make a label map ``(240, 240, 155)`` uint8 of a tumour with oedema, core and a rim, wavy in its own way."""
    grid = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in SHAPE), indexing="ij", sparse=True)
    centre, radii = (95 + shift, 140, 80 - shift), (34, 42, 30)
    distance = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)))
    noise = np.random.default_rng(seed).normal(size=[size // 5 for size in SHAPE])
    distance = distance + ndimage.zoom(noise, 5, order=1).astype(np.float32) * 0.08
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for limit, value in ((1.0, 2), (0.6, 4), (0.4, 1)):
        labels[distance < limit] = value
    return labels


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels that a 6-connected erosion of the whole volume takes away."""
    eroded: np.ndarray = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))
    return mask & ~eroded


def score_whole_volume(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Return the same scores from distance transforms of the whole volume; the masks must not be empty."""
    row = {}
    for region, values in REGIONS.items():
        a, b = np.isin(prediction, values), np.isin(reference, values)
        ways = [
            ndimage.distance_transform_edt(~surface(there), sampling=SPACING)[surface(here)]
            for here, there in ((a, b), (b, a))
        ]
        row[f"Dice_{region}"] = 2 * float((a & b).sum()) / float(a.sum() + b.sum())
        row[f"Sensitivity_{region}"] = float((a & b).sum()) / float(b.sum())
        row[f"Specificity_{region}"] = float((~a & ~b).sum()) / float((~b).sum())
        row[f"Hausdorff95_{region}"] = float(np.percentile(np.hstack(ways), 95))
    return row


def timed(score: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    """Return how many seconds a call takes, and its result."""
    start = time.perf_counter()
    row = score()
    return time.perf_counter() - start, row


def main(repeats: int = 5) -> int:
    """Print both times and their ratio; return 0 when values agree and the target is met."""
    prediction, reference = make_labels(2.5, seed=1), make_labels(0.0, seed=2)
    ours, theirs, apart = [], [], 0.0
    for _ in range(repeats):
        seconds, row = timed(lambda: score_case(prediction, reference, SPACING))
        ours.append(seconds)
        seconds, other = timed(lambda: score_whole_volume(prediction, reference))
        theirs.append(seconds)
        apart = max(apart, *(abs(row[column] - other[column]) for column in row))
    ratio = median(ours) / median(theirs)
    for column, value in row.items():
        print(f"{column:<16} {value:.6f}")
    print(f"largest difference of any value: {apart:.1e}")
    print(f"metakd_monai.metrics:            {median(ours):.3f} s (median of {repeats})")
    print(f"whole-volume transforms:        {median(theirs):.3f} s (median of {repeats})")
    print(f"ratio: {ratio:.3f}; target: at most {TARGET:.3f}")
    return 0 if ratio <= TARGET and apart < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))

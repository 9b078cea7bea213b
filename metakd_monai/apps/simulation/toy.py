"""A simulated cohort in BraTS' layout: a test object and a teaching object, not a model of disease.

A head-like brain (grey and white matter, CSF, ventricles, deep nuclei) is bent smoothly; one to three tumours grow in
it, each with necrosis, an enhancing rim and oedema. The rim differs from oedema in T1ce alone, oedema is bright in
FLAIR and T2, necrosis is dark in T1: what a radiologist would look for. Lengths are in mm.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from metakd_monai.data.nifti import write_volume
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label, Modality

Case = tuple[dict[Modality, np.ndarray], np.ndarray]  # an int16 image (*S) of each sequence, and the label map (*S)
AIR, CSF, GREY, WHITE, NECROSIS, OEDEMA, RIM = range(7)
TISSUE_TO_LABEL = np.array([0, 0, 0, 0, Label.NECROSIS, Label.OEDEMA, Label.ET], dtype=np.int16)
# Mean intensity of each tissue, in the order above, relative to the brightest normal tissue of T1.
CONTRAST: dict[Modality, tuple[float, ...]] = {
    Modality.FLAIR: (0, 0.25, 0.80, 0.65, 0.70, 1.30, 1.30),
    Modality.T1: (0, 0.30, 0.70, 1.00, 0.40, 0.65, 0.65),
    Modality.T1CE: (0, 0.30, 0.72, 1.00, 0.40, 0.65, 1.50),
    Modality.T2: (0, 1.60, 0.90, 0.65, 1.45, 1.25, 1.25),
}
DEFAULT_SHAPE, DEFAULT_SPACING = (72, 88, 72), 2.0
BRAIN_MM = np.array([66.0, 84.0, 66.0])  # half axes
GIB = 2**30
VOXEL_BYTES = 131  # of memory for each voxel of a case while it is made, measured
MOST_CASES = 100_000
NOISE, BIAS, JITTER = 0.04, 0.12, 0.05  # relative standard deviations


def simulate_cohort(
    output: str | Path,
    cases: int = 12,
    seed: int = 0,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing: float = DEFAULT_SPACING,
    overwrite: bool = False,
    progress: bool = True,
    make_case: Callable[[int], Case] | None = None,
) -> list[Path]:
    """Write case folders ``Simulated_<number>/Simulated_<number>_{flair,t1,t1ce,t2,seg}.nii.gz``.

    Args:
        output: folder for the case folders.
        cases: how many; a larger cohort of the same seed begins with the smaller one.
        seed: same seed, same bytes.
        shape: voxels along left-right, front-back, bottom-top.
        spacing: voxel size in mm.
        overwrite: replace case folders that are there.
        progress: show a bar in a terminal.
        make_case: returns the images and labels of a case, given its number; default: :func:`simulate_case`.

    Returns:
        The case folders.

    Raises:
        UserError: for impossible sizes, or existing case folders.
    """
    from tqdm import tqdm

    check_sizes(cases, seed, shape, spacing)
    folders = [Path(output) / f"Simulated_{number:03d}" for number in range(cases)]
    taken = [folder for folder in folders if folder.exists()]
    if taken and not overwrite:
        raise UserError(f"{taken[0]}: exists already; expected a new folder (or --overwrite)")
    for number, folder in enumerate(tqdm(folders, desc="simulating", unit="case", disable=None if progress else True)):
        images, labels = (make_case or partial(simulate_numbered, seed, shape, spacing))(number)
        for name, voxels in [*((m.value, v) for m, v in images.items()), ("seg", labels)]:
            write_volume(folder / f"{folder.name}_{name}.nii.gz", voxels, spacing)
    return folders


def check_sizes(cases: int, seed: int, shape: Sequence[int], spacing: float) -> None:
    """Raise UserError for impossible arguments."""
    if not 1 <= cases <= MOST_CASES:
        raise UserError(f"cases: {cases} found; expected 1 to {MOST_CASES}")
    if seed < 0:
        raise UserError(f"seed: {seed} found; expected 0 or more")
    if len(shape) != 3 or min(shape) < 16:
        raise UserError(f"shape: {tuple(shape)} found; expected three sizes of at least 16 voxels")
    if not 0.2 <= spacing <= 10:
        raise UserError(f"spacing: {spacing:g} mm found; expected 0.2 to 10 mm")
    needed, there = VOXEL_BYTES * math.prod(shape) / GIB, machine_memory() / GIB
    if needed > there:
        raise UserError(
            f"shape: {tuple(shape)} found, which takes {needed:,.0f} GiB of memory, and this machine has {there:,.0f};"
            " expected a smaller one"
        )


def machine_memory() -> float:
    """Return this machine's memory in bytes; infinity if unknown."""
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if known else math.inf


def simulate_numbered(seed: int, shape: Sequence[int], spacing: float, number: int) -> Case:
    """Draw a case of a cohort by its number."""
    return simulate_case(np.random.default_rng([seed, number]), shape, spacing)


def simulate_case(rng: np.random.Generator, shape: Sequence[int], spacing: float) -> Case:
    """Draw one case: an int16 image ``(*S)`` for each sequence and the int16 label map ``(*S)``."""
    tissue = grow_tumours(rng, *make_brain(rng, tuple(shape), spacing), spacing)
    gain = rng.uniform(300, 900)
    images = {m: take_image(rng, tissue, np.array(CONTRAST[m]), gain, spacing) for m in Modality}
    return images, TISSUE_TO_LABEL[tissue]


def make_brain(rng: np.random.Generator, shape: tuple[int, ...], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the healthy tissue map ``(*S)`` and the bent coordinates ``(3, *S)`` in mm from the middle."""
    size_mm = np.array(shape) * spacing
    axes = [((np.arange(n) + 0.5) * spacing - half) for n, half in zip(shape, size_mm / 2, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))
    place += np.stack([smooth_noise(rng, shape, spacing, 20.0) for _ in range(3)]) * 2.0
    half = np.minimum(BRAIN_MM, size_mm * 0.47) * rng.uniform(0.94, 1.0, 3)
    unit = place / half[:, None, None, None]
    radius = np.sqrt((unit**2).sum(axis=0))
    folds = smooth_noise(rng, shape, spacing, 4.0) * 0.03  # gyri and sulci
    tissue = np.full(shape, WHITE)
    tissue[radius + folds > 0.84] = GREY
    tissue[radius + 1.5 * folds > 0.96] = CSF
    for side in (-1, 1):
        tissue[ellipsoid(unit, (side * 0.24, 0.05, -0.05), (0.11, 0.16, 0.14)) < 1] = GREY  # deep nuclei
        tissue[ellipsoid(unit, (side * 0.11, 0.0, 0.12), (0.07, 0.30, 0.13)) < 1] = CSF  # ventricles
    tissue[radius > 1] = AIR
    return tissue, place


def ellipsoid(unit: np.ndarray, middle: Sequence[float], half_axes: Sequence[float]) -> np.ndarray:
    """Return a field ``(*S)`` that is below 1 inside an ellipsoid, in units of the brain's half axes."""
    shift = unit - np.array(middle)[:, None, None, None]
    field: np.ndarray = ((shift / np.array(half_axes)[:, None, None, None]) ** 2).sum(axis=0)
    return field


def grow_tumours(rng: np.random.Generator, tissue: np.ndarray, place: np.ndarray, spacing: float) -> np.ndarray:
    """Grow one to three tumours; inner parts win where tumours meet."""
    tissue = tissue.copy()
    seeds = np.argwhere(tissue == WHITE)
    reach = np.abs(place[0][tissue != AIR]).max()  # half width of the brain, mm
    parts = np.zeros(tissue.shape, int)
    for number in range(rng.integers(1, 4)):
        radius = reach * (rng.uniform(0.28, 0.42) if number == 0 else rng.uniform(0.16, 0.24))
        x, y, z = seeds[rng.integers(len(seeds))]
        middle = place[:, x, y, z]
        distance = np.sqrt(((place - middle[:, None, None, None]) ** 2).sum(axis=0)) / radius
        distance = distance + smooth_noise(rng, tissue.shape, spacing, 6.0) * 0.08
        core, necrosis = rng.uniform(0.55, 0.70), rng.uniform(0.30, 0.40)
        parts = np.maximum(parts, (distance < 1).astype(int) + (distance < core) + (distance < necrosis))
    inside = (parts > 0) & (tissue != AIR) & (tissue != CSF)
    tissue[inside] = np.array([WHITE, OEDEMA, RIM, NECROSIS])[parts[inside]]
    return tissue


def take_image(
    rng: np.random.Generator, tissue: np.ndarray, contrast: np.ndarray, gain: float, spacing: float
) -> np.ndarray:
    """Return one skull-stripped int16 image (0 outside): tissue means, partial volume, bias field, noise."""
    means = contrast * rng.normal(1, JITTER, contrast.shape)
    means[RIM] = means[RIM] if contrast[RIM] != contrast[OEDEMA] else means[OEDEMA]  # indistinguishable
    image = gaussian_filter(means[tissue], 0.5)
    image *= np.exp(BIAS * smooth_noise(rng, tissue.shape, spacing, 40.0))
    image += rng.normal(0, NOISE, tissue.shape)
    return np.where(tissue == AIR, 0, np.clip(np.round(image * gain), 1, 32767)).astype(np.int16)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing: float, width_mm: float) -> np.ndarray:
    """Return a random field ``(*S)`` of unit standard deviation that varies over ``width_mm``."""
    field = gaussian_filter(rng.standard_normal(shape), width_mm / spacing, mode="reflect")
    scaled: np.ndarray = (field - field.mean()) / field.std()
    return scaled

"""How a failed preparation is recognised: figures, limits and messages.

The limits were found on few heads (docs/how-to/raw-scans.md has the table of what they catch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from metakd_monai.apps.raw.registration import (
    FIND,
    Fit,
    centre_of_mass,
    middle_of_mask,
    refine,
    rigid,
    similarity,
)
from metakd_monai.apps.raw.volumes import Volume, resample
from metakd_monai.data.nifti import voxel_ml
from metakd_monai.vocabulary import Modality

LEAST_DICE = 0.85  # of the brain with the atlas' brain
LEAST_NMI, DOUBTFUL_NMI = 1.01, 1.025  # with the atlas, of what lies in both brains
TURNED = 0.002  # gain of that NMI with the ends exchanged from which on the brain counts as turned
BRAIN_ML = (900.0, 2000.0)
POOR_ML = (600.0, 2400.0)  # beyond these limits it is no brain
LEAST_COVER, PARTIAL = 0.6, 0.95  # share of the brain that a series shows
LEAST_SERIES_NMI, POOR_SERIES_NMI = 1.02, 1.035  # of a series with the centre, within the brain
MOST_DEGREES, MOST_MM = 45.0, 120.0  # of a head between two series of one examination
MOVED_MM, MOVED_NMI = 5.0, 0.02  # motion and gain of NMI above which headers count as contradictory
MIRRORED = 0.004  # gain of NMI from which on an image counts as mirrored
DEEP_MM = 12.0  # depth below the brain's surface at which fluid and white matter are compared
FLUID, WHITE = 0.55, 0.65  # of the atlas' median, below which is fluid; quantile from which on is white matter
STRIPPED_ML = (700.0, 2000.0)  # of what is not background where the skull is gone
STRIPPED_SHARE = 0.3  # of the field of view that is background then, at least


@dataclass(frozen=True)
class Findings:
    """The results of the checks of a case.

    Attributes:
        failure: why it cannot be used; None where it can.
        warnings: what a person should check, one line each.
        left_out: unusable sequences, with the reason.
    """

    failure: str | None = None
    warnings: tuple[str, ...] = ()
    left_out: Mapping[Modality, str] | None = None


def is_stripped(volume: Volume) -> bool:
    """Tell whether the skull has been removed: one value around a region of a brain's volume."""
    voxels = volume.voxels
    corners = voxels[np.ix_(*([0, -1] for _ in voxels.shape))]
    value = corners.flat[0]
    if not (corners == value).all():
        return False
    inside = voxels != value
    millilitres = float(inside.sum()) * voxel_ml(volume.affine)
    return STRIPPED_ML[0] <= millilitres <= STRIPPED_ML[1] and 1 - inside.mean() >= STRIPPED_SHARE


def check_atlas(brain_ml: float, overlap: float, nmi: float, cover: float, turned: bool, centre: Modality) -> Findings:
    """Judge the brain and its place in the atlas.

    Args:
        brain_ml: volume of the brain.
        overlap: Dice with the atlas' brain.
        nmi: with the atlas' image, where both have brain.
        cover: share of the atlas' brain that the centre's field of view shows.
        turned: whether it fits better with front and back, or top and bottom, exchanged.
        centre: the sequence that was registered to the atlas.
    """
    name = centre.value
    figures = f"brain {brain_ml:.0f} mL, Dice {overlap:.2f} and NMI {nmi:.3f} with the atlas"
    wanted = f"expected {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} mL, at least {LEAST_DICE:g} and {LEAST_NMI:g}"
    if cover < LEAST_COVER:
        return Findings(f"{name} shows {cover:.0%} of the brain only; expected a whole head")
    if turned:
        return Findings(f"{name} is upside down, or front and back are exchanged (so it fits better): {figures}")
    if overlap < LEAST_DICE or nmi < LEAST_NMI or not POOR_ML[0] <= brain_ml <= POOR_ML[1]:
        return Findings(f"{name} does not look like a head (flipped, cropped, no head?): {figures}; {wanted}")
    warnings = []
    if not BRAIN_ML[0] <= brain_ml <= BRAIN_ML[1]:
        warnings.append(
            f"the brain has {brain_ml:.0f} mL; expected {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f}: look at the picture"
        )
    if cover < PARTIAL:
        warnings.append(f"{name} shows {cover:.0%} of the brain, cropped?")
    return Findings(None, tuple(warnings))


def brain_similarity(atlas: Volume, brain: Volume, matrix: np.ndarray) -> float:
    """Return the normalised mutual information where both have brain, above 0; the matrix is from the atlas' world."""
    mask = Volume((brain.voxels > 0).astype(np.float32), brain.affine)
    laid = resample(mask, atlas.voxels.shape, atlas.affine, matrix)
    return similarity(atlas, brain, matrix, (laid > 0.5) & (atlas.voxels > 0))


def fits_better_turned(atlas: Volume, brain: Volume, nmi: float) -> bool:
    """Tell whether a brain fits the atlas better with front and back, or top and bottom, exchanged.

    Args:
        atlas: along the world's axes in cubes, 0 outside the brain, as the other one.
        brain: the image that may be flipped.
        nmi: of it as it is, see :func:`brain_similarity`.
    """
    for axis in (1, 2):
        turned = Volume(np.ascontiguousarray(np.flip(brain.voxels, axis)), brain.affine)
        start = rigid(shift=middle_of_mask(turned) - middle_of_mask(atlas))
        if brain_similarity(atlas, turned, refine(atlas, turned, start, FIND)) > nmi + TURNED:
            return True
    return False


def judge_series(modality: Modality, fit: Fit, cover: float, moved_mm: float) -> tuple[str | None, list[str]]:
    """Return why a series is left out, or None; and warnings.

    Args:
        modality: of the series.
        fit: of the series on the centre.
        cover: share of the brain that it shows.
        moved_mm: by how much the fit moves the middle of the brain.
    """
    name = modality.value
    found = f"NMI {fit.inner_nmi:.3f} in the brain; expected {POOR_SERIES_NMI:g} or more"
    if fit.inner_nmi < LEAST_SERIES_NMI:
        return f"{name} does not fit the other series (flipped, another patient's, no head?): {found}", []
    if fit.degrees > MOST_DEGREES or moved_mm > MOST_MM:
        return f"{name} would have to be turned by {fit.degrees:.0f} degrees and moved by {moved_mm:.0f} mm", []
    if cover < LEAST_COVER:
        return f"{name} shows {cover:.0%} of the brain only", []
    warnings = []
    if fit.inner_nmi < POOR_SERIES_NMI:
        warnings.append(f"{name} fits the other series poorly (flipped, another patient's?): {found}")
    if cover < PARTIAL:
        warnings.append(f"{name} shows {cover:.0%} of the brain, cropped?")
    if moved_mm > MOVED_MM and fit.nmi - fit.start_nmi > MOVED_NMI:
        warnings.append(f"the headers of {name} and the centre disagree by {moved_mm:.0f} mm; registered")
    return None, warnings


def fits_better_mirrored(fixed: Volume, moving: Volume, fit: Fit, brain: np.ndarray) -> bool:
    """Tell whether an image fits another better with left and right exchanged, tested both ways.

    Args:
        fixed: along the world's axes in cubes, as the other one.
        moving: the image that may be flipped.
        fit: of it as it is, by the brain.
        brain: of the fixed image, ``(*S)`` bool.
    """
    mirrored = Volume(np.ascontiguousarray(moving.voxels[::-1]), moving.affine)
    laid = Volume(resample(moving, fixed.voxels.shape, fixed.affine, fit.matrix), fixed.affine)
    middle, image = centre_of_mass(laid), centre_of_mass(mirrored)
    start = fit.matrix.copy()
    start[:3, :3] = np.diag([-1.0, 1, 1]) @ fit.matrix[:3, :3] @ np.diag([-1.0, 1, 1])
    start[:3, 3] = image - start[:3, :3] @ middle
    matrix = refine(fixed, mirrored, start, FIND, brain)
    return similarity(fixed, mirrored, matrix, brain) > fit.inner_nmi + MIRRORED


def compare_fluid(flair: np.ndarray, t2: np.ndarray, atlas: np.ndarray) -> str | None:
    """Return a warning if fluid is brighter in FLAIR than in T2, each relative to its white matter; else None.

    Args:
        flair: ``(240, 240, 155)``, 0 outside the brain.
        t2: the same.
        atlas: T1 of SRI24 without skull, whose dark and bright voxels say where fluid and white matter may be.
    """
    flair, t2, atlas = (volume[::2, ::2, ::2] for volume in (flair, t2, atlas))
    deep = distance_transform_edt(atlas > 0) * 2 > DEEP_MM
    fluid = deep & (atlas < FLUID * np.median(atlas[deep]))
    white = deep & (atlas >= np.quantile(atlas[deep], WHITE))
    ratios = []
    for image in (flair, t2):
        inside, beside = image[fluid & (image > 0)], image[white & (image > 0)]
        if not inside.size or not beside.size:
            return None
        ratios.append(float(np.median(inside)) / float(np.median(beside)))
    if ratios[0] <= ratios[1]:
        return None
    return f"flair and t2 exchanged? fluid against white matter is {ratios[0]:.2f} in flair and {ratios[1]:.2f} in t2"

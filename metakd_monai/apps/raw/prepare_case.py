"""One patient's raw series to a case in SRI24: registered, without skull, on BraTS' grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter

import numpy as np
from nibabel.affines import apply_affine

from metakd_monai.apps.raw.checks import (
    DOUBTFUL_NMI,
    brain_similarity,
    check_atlas,
    compare_fluid,
    fits_better_mirrored,
    fits_better_turned,
    is_stripped,
    judge_series,
)
from metakd_monai.apps.raw.coverage import covered, cut_brain, share_covered
from metakd_monai.apps.raw.prepared import Clock, PreparationError, Prepared
from metakd_monai.apps.raw.registration import (
    FIND,
    FINISH,
    Fit,
    centre_of_mass,
    middle_of_mask,
    refine,
    register,
    rigid,
    similarity,
)
from metakd_monai.apps.raw.strippers import NONE, choose_stripper, find_brain
from metakd_monai.apps.raw.template import AFFINE, SHAPE, Template
from metakd_monai.apps.raw.volumes import Volume, coarse, resample
from metakd_monai.data.memory_limit import GIB
from metakd_monai.data.nifti import AXES, at_once, voxel_ml
from metakd_monai.errors import UserError
from metakd_monai.metrics.region_scores import count_overlap
from metakd_monai.vocabulary import Modality

CENTRES = (Modality.T1CE, Modality.T1, Modality.FLAIR, Modality.T2)  # the first that is present
PITCHES = (0.0, 20.0, -20.0, 40.0, -40.0)  # degrees around the left-right axis at which the atlas is tried
ENOUGH_DICE = 0.9  # of the brain with the atlas, from which on no more pitches are tried
LEAST_VALUE, MOST_VALUE = 1, 32000  # inside the brain
FINE, COARSE = 500.0, 4000.0  # largest intensity up to which the range is stretched, and its new maximum


def prepare_case(
    series: Mapping[Modality, Volume],
    template: Template,
    strip: str = "auto",
    mask: Volume | None = None,
    centre: Modality | None = None,
    memory_limit: float | None = None,
) -> Prepared:
    """Bring the series of one case into SRI24.

    Args:
        series: as scanned, with or without skull, each on its own grid.
        template: of SRI24.
        strip: how to find the brain, see :func:`~metakd_monai.apps.raw.strippers.choose_stripper`; ``none`` if the
            skull has been removed.
        mask: the brain in the world of one of the series, if known; that series is then the centre.
        centre: the sequence that the others are registered to; None for the best one present.
        memory_limit: GiB for the process, which the skull stripper should fit into; None for none.

    Raises:
        UserError: when there is no skull stripper.
        PreparationError: when the result does not look like a head in the atlas.
    """
    clock = Clock()
    chosen = choose_centre(series, centre)
    small = {modality: coarse(volume) for modality, volume in series.items()}
    clock.lap("read")
    found = find_mask(series, chosen, strip, mask, memory_limit)
    clock.lap("strip")
    done = Prepared(chosen, {}, np.eye(AXES + 1), {}, np.zeros(SHAPE, bool), *found)
    lay_on_atlas(done, small[chosen], template)
    clock.lap("atlas")
    lay_on_centre(done, small)
    clock.lap("register")
    box, brain = cut_brain(done.brain)

    def carry(modality: Modality) -> np.ndarray:
        matrix = done.fits[modality].matrix @ done.to_centre
        volume, grid = series[modality], (brain.voxels.shape, brain.affine)
        image = np.zeros(SHAPE, np.int16)
        seen = brain.voxels & covered(volume, matrix, *grid)
        image[box] = write_values(resample(volume, *grid, matrix, outside=None), seen)
        return image

    done.images = dict(zip(done.fits, at_once(carry, done.fits), strict=True))
    clock.lap("resample")
    done.warnings += look_alike(done, template)
    done.seconds = clock.seconds
    return done


def look_alike(done: Prepared, template: Template) -> list[str]:
    """Return a warning if FLAIR and T2 seem to be exchanged."""
    if not {Modality.FLAIR, Modality.T2} <= set(done.images):
        return []
    found = compare_fluid(done.images[Modality.FLAIR], done.images[Modality.T2], template.volume.voxels)
    return [found] if found else []


def choose_centre(series: Mapping[Modality, Volume], centre: Modality | None) -> Modality:
    """Return the sequence that the others are registered to; raises UserError if the requested one is missing."""
    if not series:
        raise UserError("no series left; expected at least one of flair, t1, t1ce and t2")
    if centre is None:
        return next(modality for modality in CENTRES if modality in series)
    if centre not in series:
        there = ", ".join(modality.value for modality in series)
        raise UserError(f"--centre: {centre.value} given, and there is only {there}")
    return centre


def find_mask(
    series: Mapping[Modality, Volume],
    centre: Modality,
    strip: str,
    mask: Volume | None = None,
    memory_limit: float | None = None,
) -> tuple[Volume, str, list[str]]:
    """Return the probability of brain in the centre's world, its source, and warnings; see :func:`prepare_case`."""
    volume = series[centre]
    if mask is not None:
        return mask, "given", []
    if strip == NONE or is_stripped(volume):
        corner = volume.voxels.flat[0]
        return Volume((volume.voxels != corner).astype(np.float32), volume.affine), "stripped before", []
    held = sum(each.voxels.nbytes for each in series.values()) / GIB
    room = None if memory_limit is None else memory_limit - held
    best, stripper, warnings = choose_stripper(strip), choose_stripper(strip, room), []
    if stripper is not best:
        warnings.append(f"{best.name} needs more memory than {memory_limit:g} GiB; {stripper.name} used")
    if centre in stripper.rough:
        warnings.append(
            f"{stripper.name}'s mask of {centre.value} is rough; HD-BET is made for it (metakd-monai[raw-hdbet])"
        )
    if room is not None and stripper.gib > room:
        warnings.append(f"{stripper.name} needs {stripper.gib + held:.1f} GiB, the limit is {memory_limit:g} GiB")
    return find_brain(volume, stripper), stripper.name, warnings


def lay_on_atlas(done: Prepared, image: Volume, template: Template) -> None:
    """Find the motion from SRI24 to the centre, and the brain there; raises PreparationError if it is no head."""
    share = resample(done.mask, image.voxels.shape, image.affine)
    brain = Volume(np.where(share > 0.5, image.voxels - image.voxels.min() + 1, 0).astype(np.float32), image.affine)
    atlas = template.coarse
    middle, about = middle_of_mask(brain), middle_of_mask(atlas)
    best: tuple[float, float, np.ndarray] = (0.0, 0.0, rigid(shift=middle - about))
    for pitch in PITCHES:
        matrix = refine(atlas, brain, rigid((pitch, 0, 0), middle - about, about), FIND)
        nmi = similarity(atlas, brain, matrix)
        if nmi > best[1]:
            laid = resample(done.mask, atlas.voxels.shape, atlas.affine, matrix) > 0.5
            best = (count_overlap(laid, atlas.voxels > 0).dice, nmi, matrix)
        if best[0] >= ENOUGH_DICE:
            break
    finished = refine(atlas, brain, best[2], FINISH)
    nmi, done.to_centre = max((best[1:], (similarity(atlas, brain, finished), finished)), key=itemgetter(0))
    done.brain = resample(done.mask, SHAPE, AFFINE, done.to_centre) > 0.5
    brain_ml = float((done.mask.voxels > 0.5).sum()) * voxel_ml(done.mask.affine)
    cover = share_covered(image, done.to_centre, template.brain)
    overlap = count_overlap(done.brain, template.brain).dice
    inner_nmi = brain_similarity(atlas, brain, done.to_centre)
    done.figures = {"brain_ml": round(brain_ml, 1), "brain_ml_in_case": round(float(done.brain.sum()) / 1000, 1)}
    done.figures |= {"atlas_dice": round(overlap, 4), "atlas_nmi": round(nmi, 4)}
    done.figures |= {"atlas_brain_nmi": round(inner_nmi, 4), "atlas_cover": round(cover, 4)}
    turned = inner_nmi < DOUBTFUL_NMI and fits_better_turned(atlas, brain, inner_nmi)
    found = check_atlas(brain_ml, overlap, inner_nmi, cover, turned, done.centre)
    done.warnings += found.warnings
    if found.failure:
        raise PreparationError(found.failure, done)


def lay_on_centre(done: Prepared, small: Mapping[Modality, Volume]) -> None:
    """Register each other series to the centre; those that do not fit are left out."""
    fixed = small[done.centre]
    brain = resample(done.mask, fixed.voxels.shape, fixed.affine) > 0.5
    done.fits[done.centre] = Fit(np.eye(AXES + 1), 2.0, 2.0, 2.0)
    middle = apply_affine(done.to_centre, np.array([-119.5, 119.5, 77.0]))
    mirrored = []
    for modality, moving in small.items():
        if modality is done.centre:
            continue
        fit = register(fixed, moving, places_to_start(fixed, moving, middle), brain)
        cover = share_covered(moving, fit.matrix @ done.to_centre, done.brain)
        moved = fit.shift(middle)
        done.figures[modality.value] = {
            "nmi": round(fit.nmi, 4),
            "brain_nmi": round(fit.inner_nmi, 4),
            "header_nmi": round(fit.start_nmi, 4),
            "degrees": round(fit.degrees, 2),
            "moved_mm": round(moved, 1),
            "cover": round(cover, 4),
        }
        reason, warnings = judge_series(modality, fit, cover, moved)
        if reason:
            done.left_out[modality] = reason
            continue
        done.warnings += warnings
        done.fits[modality] = fit
        if fits_better_mirrored(fixed, moving, fit, brain):
            mirrored.append(modality)
    warn_of_mirrored(done, mirrored)
    done.fits = {modality: done.fits[modality] for modality in Modality if modality in done.fits}


def places_to_start(fixed: Volume, moving: Volume, middle: np.ndarray) -> Iterator[np.ndarray]:
    """Yield matrices to start from: headers, centres of mass, the fit of the whole heads, turned around a point."""
    shift = centre_of_mass(moving) - centre_of_mass(fixed)
    yield np.eye(AXES + 1)
    yield rigid(shift=shift)
    yield refine(fixed, moving, rigid(shift=shift), FIND)
    yield from (rigid((pitch, 0, 0), shift, middle) for pitch in PITCHES[1:])


def warn_of_mirrored(done: Prepared, mirrored: list[Modality]) -> None:
    """Warn of series with left and right exchanged: single ones, or the centre if all others seem to be."""
    others = [modality for modality in done.fits if modality is not done.centre]
    odd = [done.centre] if len(mirrored) > 1 and len(mirrored) == len(others) else mirrored
    rest = "the other series" if len(others) > 1 else done.centre.value
    done.warnings += [
        f"left and right of {modality.value} seem exchanged against {rest}; nothing was changed" for modality in odd
    ]


def write_values(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return intensities in BraTS' form: int16, at least 1 in the brain, 0 outside, stretched if the range is small."""
    inside = values[brain]
    if not inside.size:
        return np.zeros(values.shape, np.int16)
    high = float(np.quantile(inside[::17], 0.995))
    scale = COARSE / high if high > 0 and not FINE <= high <= MOST_VALUE else 1.0
    kept = np.clip(np.rint(values * scale), LEAST_VALUE, MOST_VALUE)
    return np.where(brain, kept, 0).astype(np.int16)

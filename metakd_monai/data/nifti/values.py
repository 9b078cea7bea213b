"""Check voxel values: intensities of a brain on a background of 0, or labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS, Label, LabelConvention

TINY = np.finfo(np.float32).tiny  # replaces an intensity of 0 that is not background
SAMPLE = 500_000  # voxels sampled for the most common value
STRAY = 0.01  # most NaN within the brain per finite voxel, as where an image had a 0
QUANTISED = 0.1  # number of zeros per foreground voxel above which they are background too


def check_image(path: str | Path, voxels: np.ndarray, what: str) -> None:
    """Refuse an invalid sequence: raises UserError for values that are not finite or all equal.

    Zeros are not brain: an image of 0 and one other value would be all 0 after normalisation.
    """
    low, high = voxels.min(), voxels.max()  # NaN if there is any
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(voxels.size - np.isfinite(voxels).sum())
        raise UserError(f"{path}: {what} has {bad} voxels that are NaN or infinite; expected finite intensities")
    if low == high:
        raise UserError(f"{path}: {what} is constant ({low:g} everywhere); expected an image of a brain")
    if 0 in (low, high) and ((voxels == low) | (voxels == high)).all():
        raise UserError(f"{path}: {what} is constant ({low + high:g} or 0 everywhere); expected an image of a brain")


def clear_background(voxels: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Set a nonzero background to 0, as readers of an image expect.

    Args:
        voxels: ``(*S)``, float32. Background is NaN that reaches the faces of the volume and is more common there than
            0 (with the few NaN within the brain where the image had a 0); and the value of all eight corners, if no
            other is more common. Then an intensity of exactly 0 is brain, and becomes the smallest number above 0. But
            many zeros, as around a brain in a larger field of view, stay background.

    Returns:
        The voxels, a copy if they are changed, and the old background, for the user; None if it was 0.
    """
    if np.isnan(voxels.min()):
        return clear_nan(voxels)
    corners = voxels[np.ix_(*([0, -1] for _ in voxels.shape))]
    value = corners.flat[0]
    if value == 0 or not (corners == value).all() or commonest(voxels) != value or voxels.min() == voxels.max():
        return voxels, None
    outside, zeros = voxels == value, voxels == 0
    if zeros.sum() <= QUANTISED * (voxels.size - outside.sum()):
        voxels = np.where(zeros, TINY, voxels)
    return np.where(outside, np.float32(0), voxels), f"{value:g}"


def clear_nan(voxels: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Clear the background as :func:`clear_background` does for NaN; other NaN are kept."""
    from scipy import ndimage  # takes a tenth of a second, and few images need it

    missing = np.isnan(voxels)
    components, _ = ndimage.label(missing)
    around = on_faces(components)
    inner = int((missing & ~np.isin(components, around)).sum())
    is_around = np.count_nonzero(around) > np.count_nonzero(on_faces(voxels) == 0)
    if not is_around or inner > STRAY * (voxels.size - missing.sum()):
        return voxels, None
    within = f" ({inner} within)" if inner else ""
    return np.where(missing, np.float32(0), voxels), f"NaN{within}"


def on_faces(volume: np.ndarray) -> np.ndarray:
    """Return the voxels of a volume ``(*S)`` on its faces, those on edges repeatedly, ``(V,)``."""
    ends = [np.take(volume, end, axis).ravel() for axis in range(volume.ndim) for end in (0, -1)]
    return np.concatenate(ends)


def commonest(voxels: np.ndarray) -> float:
    """Return the most common value in a sample of the voxels."""
    sample = voxels.ravel(order="K")[:: max(1, voxels.size // SAMPLE)]
    values, counts = np.unique(sample, return_counts=True)
    return float(values[counts.argmax()])


def check_labels(values: np.ndarray, where: str, convention: LabelConvention | None = None) -> int | None:
    """Check the values of a label map; return the value of enhancing tumour, or None if there is none.

    Args:
        values: of the label map, of any shape.
        where: for messages.
        convention: the allowed values; None for those of any BraTS, but not both 3 and 4.

    Raises:
        UserError: for values that are not allowed.
    """
    known = convention.values if convention else {int(label) for label in Label}
    found = {float(value) for value in distinct(values)}
    if not found <= known:
        strange = ", ".join(f"{value:.7g}" for value in sorted(found - known))
        allowed = ", ".join(map(str, sorted(known))) if convention else "0, 1, 2 and 4 (or 3, from BraTS 2023 on)"
        of = f" of {convention.name}" if convention else ""
        raise UserError(f"{where}: label values {strange} found; expected {allowed}{of}")
    enhancing = [value for value in ([convention.enhancing] if convention else ET_LABELS) if value in found]
    if len(enhancing) > 1:
        raise UserError(f"{where}: labels 3 and 4 found together; expected enhancing tumour to be one of them")
    return enhancing[0] if enhancing else None


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values; for bytes, each value is tested, which is faster than sorting or counting."""
    if values.dtype != np.uint8 or not values.size:
        return np.unique(values)
    return np.array([value for value in range(int(values.max()) + 1) if (values == value).any()])

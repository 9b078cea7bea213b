"""Rigid registration by mutual information, from several starts; the best result wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from metakd_monai.apps.raw.volumes import Volume, resample
from metakd_monai.data.nifti import AXES

BINS = 48  # bins of the joint histogram
FEWEST_SHARED = 1000  # fewest common voxels for comparing two images
BRAIN_MM = 100.0  # mm, edge of the cube whose corners measure the distance of two positions
AGREE_MM = 1.0  # mm up to which the results of two starts are the same
SETTINGS = {
    "Registration": ["MultiResolutionRegistration"],
    "Metric": ["AdvancedMattesMutualInformation"],
    "Optimizer": ["AdaptiveStochasticGradientDescent"],
    "Transform": ["EulerTransform"],
    "Interpolator": ["LinearInterpolator"],
    "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
    "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
    "ImageSampler": ["RandomCoordinate"],
    "NewSamplesEveryIteration": ["true"],
    "NumberOfSamplesForExactGradient": ["10000"],  # to find the step size; the default takes longer than the search
    "NumberOfHistogramBins": ["32"],
    "AutomaticScalesEstimation": ["true"],
    "AutomaticParameterEstimation": ["true"],
    "AutomaticTransformInitialization": ["false"],
    "WriteResultImage": ["false"],
    "ResampleInterpolator": ["FinalLinearInterpolator"],
    "RequiredRatioOfValidSamples": ["0.05"],
}


@dataclass(frozen=True)
class Effort:
    """How thoroughly elastix searches.

    Attributes:
        edges: of the smoothing at each resolution, in voxels.
        samples: points compared in each iteration.
        iterations: of each resolution.
    """

    edges: tuple[int, ...]
    samples: int
    iterations: int


FIND = Effort((4, 2), 2000, 100)  # to about half a millimetre, to compare starts
FINISH = Effort((2, 1), 4000, 200)  # from such a position


@dataclass(frozen=True)
class Fit:
    """The position of one image in another's world.

    Attributes:
        matrix: ``(4, 4)``, from the fixed image's world to the moving one's, rigid.
        nmi: normalised mutual information in that position, from 1 (none) to 2.
        start_nmi: the same in the position given by the headers.
        inner_nmi: the same as ``nmi`` in the region that was registered.
    """

    matrix: np.ndarray
    nmi: float
    start_nmi: float
    inner_nmi: float

    @property
    def degrees(self) -> float:
        """The angle of the rotation."""
        return float(np.degrees(Rotation.from_matrix(self.matrix[:AXES, :AXES]).magnitude()))

    def shift(self, point: np.ndarray) -> float:
        """Return by how many mm a point ``(3,)`` of the fixed image's world is moved."""
        return float(np.linalg.norm(apply_affine(self.matrix, point) - point))


def rigid(
    degrees: Iterable[float] = (0, 0, 0), shift: Iterable[float] = (0, 0, 0), about: Any = (0, 0, 0)
) -> np.ndarray:
    """Return the matrix ``(4, 4)`` that rotates about a point, by degrees around x, y and z, and then shifts by mm."""
    matrix = np.eye(AXES + 1)
    matrix[:AXES, :AXES] = Rotation.from_euler("xyz", list(degrees), degrees=True).as_matrix()
    matrix[:AXES, AXES] = np.asarray(about) - matrix[:AXES, :AXES] @ np.asarray(about) + np.array(list(shift))
    return matrix


def centre_of_mass(volume: Volume) -> np.ndarray:
    """Return the centre of mass of the voxels brighter than the mean, in mm, ``(3,)``."""
    inside = np.argwhere(volume.voxels > volume.voxels.mean())
    return apply_affine(volume.affine, inside.mean(axis=0))


def middle_of_mask(volume: Volume) -> np.ndarray:
    """Return the centre of mass of the voxels above 0, in mm, ``(3,)``; that of the field of view if there are none."""
    inside = np.argwhere(volume.voxels > 0)
    return apply_affine(volume.affine, inside.mean(axis=0)) if len(inside) else volume.middle


def register(
    fixed: Volume,
    moving: Volume,
    starts: Iterable[np.ndarray],
    within: np.ndarray | None = None,
) -> Fit:
    """Find the rigid motion that registers a moving image to a fixed one.

    Starts are tried until two of them give the same result. The best fit is refined; the headers' own position also
    counts.

    Args:
        fixed: along the world's axes, in cubes.
        moving: the same.
        starts: matrices ``(4, 4)`` from the fixed image's world to the moving one's.
        within: the part of the fixed image that counts, ``(*S)`` bool; None for all of it. Jaw, neck and eyes move
            relative to the brain, and with thick slices the best position of the head can be wrong for the brain.
    """
    header = np.eye(AXES + 1)
    found = [(header, similarity(fixed, moving, header, within))]
    for start in starts:
        matrix = refine(fixed, moving, start, FIND, within)
        agreed = any(distance(fixed, matrix, other) < AGREE_MM for other, _ in found[1:])
        found.append((matrix, similarity(fixed, moving, matrix, within)))
        if agreed:
            break
    matrix = refine(fixed, moving, max(found, key=lambda fit: fit[1])[0], FINISH, within)
    best, inner_nmi = max([*found, (matrix, similarity(fixed, moving, matrix, within))], key=lambda fit: fit[1])
    return Fit(best, similarity(fixed, moving, best), similarity(fixed, moving, header), inner_nmi)


def distance(volume: Volume, one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean distance in mm between the corners of a brain-sized cube moved by two matrices ``(4, 4)``."""
    corners = volume.middle + BRAIN_MM / 2 * np.array(list(product((-1, 1), repeat=AXES)))
    return float(np.linalg.norm(apply_affine(one, corners) - apply_affine(other, corners), axis=1).mean())


def refine(
    fixed: Volume, moving: Volume, start: np.ndarray, effort: Effort, within: np.ndarray | None = None
) -> np.ndarray:
    """Return the rigid matrix ``(4, 4)`` that elastix finds from a start, using only the voxels of ``within``.

    The start is applied to the moving image's origin and directions, so that elastix starts from the identity.
    """
    import itk

    back = np.linalg.inv(start)
    still, moved = to_itk(fixed, np.eye(AXES + 1)), to_itk(moving, back)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(
        {
            **SETTINGS,
            "NumberOfResolutions": [str(len(effort.edges))],
            "ImagePyramidSchedule": [str(edge) for edge in effort.edges for _ in range(AXES)],
            "NumberOfSpatialSamples": [str(effort.samples)],
            "MaximumNumberOfIterations": [str(effort.iterations)],
        }
    )
    method = itk.ElastixRegistrationMethod.New(still, moved)
    method.SetParameterObject(parameters)
    method.SetLogToConsole(False)
    if within is not None:
        method.SetFixedMask(to_itk(Volume(within, fixed.affine), np.eye(AXES + 1), np.uint8))
    method.UpdateLargestPossibleRegion()
    found = method.GetTransformParameterObject().GetParameterMap(0)
    return start @ euler_matrix(found)


def euler_matrix(found: Any) -> np.ndarray:
    """Return the matrix ``(4, 4)`` of the Euler transform in elastix' parameter map."""
    numbers = np.array([float(value) for value in found["TransformParameters"]])
    centre = np.array([float(value) for value in found["CenterOfRotationPoint"]])
    x, y, z = (Rotation.from_euler(axis, angle).as_matrix() for axis, angle in zip("xyz", numbers[:AXES], strict=True))
    turn = z @ y @ x if found.get("ComputeZYX", ("false",))[0] == "true" else z @ x @ y
    matrix = np.eye(AXES + 1)
    matrix[:AXES, :AXES] = turn
    matrix[:AXES, AXES] = centre - turn @ centre + numbers[AXES:]
    return matrix


def to_itk(volume: Volume, motion: np.ndarray, dtype: Any = np.float32) -> Any:
    """Return a volume along the world's axes as an image of ITK, moved by a rigid matrix ``(4, 4)``."""
    import itk

    image = itk.image_from_array(np.ascontiguousarray(volume.voxels.T, dtype=dtype))
    image.SetSpacing([float(edge) for edge in volume.edges])
    image.SetOrigin([float(x) for x in apply_affine(motion, volume.affine[:AXES, AXES])])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(motion[:AXES, :AXES])))
    return image


def similarity(fixed: Volume, moving: Volume, matrix: np.ndarray, within: np.ndarray | None = None) -> float:
    """Return the normalised mutual information in the overlap of both images and ``within``; 1 if it is tiny."""
    moved = resample(moving, fixed.voxels.shape, fixed.affine, matrix, outside=np.nan)
    both = np.isfinite(moved) if within is None else np.isfinite(moved) & within
    if both.sum() < FEWEST_SHARED:
        return 1.0
    pairs = BINS * bins_of(fixed.voxels[both]) + bins_of(moved[both])
    share = np.bincount(pairs, minlength=BINS**2).reshape(BINS, BINS) / pairs.size
    return float((entropy(share.sum(axis=0)) + entropy(share.sum(axis=1))) / max(entropy(share.ravel()), 1e-9))


def bins_of(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value ``(V,)``; bins are of equal width between the 0.5th and the 99.5th percentile."""
    low, high = np.quantile(values[:: max(1, values.size // 100_000)], (0.005, 0.995))
    scaled = (np.clip(values, low, high) - low) * (BINS / max(high - low, 1e-9))
    return np.minimum(scaled.astype(np.intp), BINS - 1)


def entropy(share: np.ndarray) -> float:
    """Return the entropy in nats of probabilities ``(V,)``."""
    present = share[share > 0]
    return float(-(present * np.log(present)).sum())

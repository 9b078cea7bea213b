"""Rigid registration by mutual information: several starts, the best of which wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from metakd_monai.apps.raw.volumes import Volume, resample
from metakd_monai.data.nifti import AXES

BINS = 48  # of the joint histogram
FEWEST_SHARED = 1000  # voxels that two images must share to be compared
ITERATIONS = "300"  # of each resolution
SETTINGS = {
    "Registration": ["MultiResolutionRegistration"],
    "Metric": ["AdvancedMattesMutualInformation"],
    "Optimizer": ["AdaptiveStochasticGradientDescent"],
    "Transform": ["EulerTransform"],
    "Interpolator": ["LinearInterpolator"],
    "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
    "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
    "ImageSampler": ["RandomCoordinate"],
    "NumberOfSpatialSamples": ["4000"],
    "NewSamplesEveryIteration": ["true"],
    "NumberOfHistogramBins": ["32"],
    "AutomaticScalesEstimation": ["true"],
    "AutomaticParameterEstimation": ["true"],
    "AutomaticTransformInitialization": ["false"],
    "WriteResultImage": ["false"],
    "ResampleInterpolator": ["FinalLinearInterpolator"],
    "RequiredRatioOfValidSamples": ["0.05"],
}


@dataclass(frozen=True)
class Fit:
    """How one image lies in another's world.

    Attributes:
        matrix: ``(4, 4)``, from the fixed image's world to the moving one's, rigid.
        nmi: normalised mutual information there, from 1 (none) to 2.
        start_nmi: the same where the headers put the images.
    """

    matrix: np.ndarray
    nmi: float
    start_nmi: float

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
    """Return the matrix ``(4, 4)`` that turns about a point, by degrees around x, y and z, and then shifts by mm."""
    matrix = np.eye(AXES + 1)
    matrix[:AXES, :AXES] = Rotation.from_euler("xyz", list(degrees), degrees=True).as_matrix()
    matrix[:AXES, AXES] = np.asarray(about) - matrix[:AXES, :AXES] @ np.asarray(about) + np.array(list(shift))
    return matrix


def centre_of_mass(volume: Volume) -> np.ndarray:
    """Return the centre of gravity of what is brighter than the mean, in mm, ``(3,)``."""
    inside = np.argwhere(volume.voxels > volume.voxels.mean())
    return apply_affine(volume.affine, inside.mean(axis=0))


def register(fixed: Volume, moving: Volume, starts: Iterable[np.ndarray], good: float, resolutions: int = 3) -> Fit:
    """Find the rigid motion that lays a moving image on a fixed one.

    Args:
        fixed: along the world's axes, in cubes.
        moving: the same.
        starts: matrices ``(4, 4)`` from the fixed image's world to the moving one's.
        good: normalised mutual information from which on no more starts are tried.
        resolutions: from coarse to fine.

    Returns:
        The best fit of all starts, the headers' own place among them.
    """
    header = np.eye(AXES + 1)
    start_nmi = similarity(fixed, moving, header)
    best = Fit(header, start_nmi, start_nmi)
    for start in starts:
        matrix = refine(fixed, moving, start, resolutions)
        nmi = similarity(fixed, moving, matrix)
        if nmi > best.nmi:
            best = Fit(matrix, nmi, start_nmi)
        if best.nmi >= good:
            break
    return best


def refine(fixed: Volume, moving: Volume, start: np.ndarray, resolutions: int) -> np.ndarray:
    """Return the rigid matrix ``(4, 4)`` that elastix finds from a start; the start itself where it finds no way.

    The start is put into the moving image's origin and directions, so that elastix begins with no motion.
    """
    import itk

    back = np.linalg.inv(start)
    still, moved = to_itk(fixed, np.eye(AXES + 1)), to_itk(moving, back)
    parameters = itk.ParameterObject.New()
    schedule = [str(2**level) for level in reversed(range(resolutions)) for _ in range(AXES)]
    parameters.AddParameterMap(
        {
            **SETTINGS,
            "NumberOfResolutions": [str(resolutions)],
            "MaximumNumberOfIterations": [ITERATIONS],
            "ImagePyramidSchedule": schedule,
        }
    )
    method = itk.ElastixRegistrationMethod.New(still, moved)
    method.SetParameterObject(parameters)
    method.SetLogToConsole(False)
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


def to_itk(volume: Volume, motion: np.ndarray) -> Any:
    """Return a volume along the world's axes as an image of ITK, moved by a rigid matrix ``(4, 4)``."""
    import itk

    image = itk.image_from_array(np.ascontiguousarray(volume.voxels.T, dtype=np.float32))
    image.SetSpacing([float(edge) for edge in volume.edges])
    image.SetOrigin([float(x) for x in apply_affine(motion, volume.affine[:AXES, AXES])])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(motion[:AXES, :AXES])))
    return image


def similarity(fixed: Volume, moving: Volume, matrix: np.ndarray) -> float:
    """Return the normalised mutual information of two images, where both have voxels; 1 where hardly any meet."""
    moved = resample(moving, fixed.voxels.shape, fixed.affine, matrix, outside=np.nan)
    both = np.isfinite(moved)
    if both.sum() < FEWEST_SHARED:
        return 1.0
    joint, _, _ = np.histogram2d(squeeze(fixed.voxels[both]), squeeze(moved[both]), bins=BINS)
    share = joint / joint.sum()
    return float((entropy(share.sum(axis=0)) + entropy(share.sum(axis=1))) / max(entropy(share.ravel()), 1e-9))


def squeeze(values: np.ndarray) -> np.ndarray:
    """Return values ``(V,)`` with the outermost hundredth at either end set to what begins there."""
    low, high = np.quantile(values[:: max(1, values.size // 100_000)], (0.005, 0.995))
    return np.clip(values, low, high)


def entropy(share: np.ndarray) -> float:
    """Return the entropy in nats of probabilities ``(V,)``."""
    present = share[share > 0]
    return float(-(present * np.log(present)).sum())

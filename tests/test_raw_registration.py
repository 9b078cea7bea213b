"""Series are laid on each other by the brain, wherever skull and neck have gone."""

from importlib.util import find_spec

import numpy as np
import pytest
from raw_heads import image_of, tissues, with_skull

from metakd_monai.apps.raw.registration import distance, register, rigid
from metakd_monai.apps.raw.volumes import Volume, coarse
from metakd_monai.vocabulary import Modality

FLAIR, _, T1CE, _ = Modality
EDGE, MOVED = 2.0, 6  # mm of a voxel; voxels by which scalp and bone are higher in one image


def upright(voxels: np.ndarray) -> Volume:
    return Volume(np.ascontiguousarray(voxels, dtype=np.float32), np.diag([EDGE, EDGE, EDGE, 1.0]))


def test_two_places_are_as_far_apart_as_the_motion_between_them():
    volume = upright(np.zeros((80, 90, 70)))
    assert distance(volume, np.eye(4), rigid(shift=(3, 4, 0))) == pytest.approx(5)
    assert distance(volume, np.eye(4), rigid((10, 0, 0), about=volume.middle)) > 5


@pytest.mark.skipif(find_spec("itk.ElastixPython") is None, reason="needs metakd-monai[raw]: itk-elastix")
def test_the_brain_decides_where_the_skull_has_moved():
    tissue = tissues()
    small = tissue[::2, ::2, ::2]
    brain = small > 0
    fixed, moving = (with_skull(image_of(tissue, m), tissue)[::2, ::2, ::2] for m in (T1CE, FLAIR))
    moving = np.where(brain, moving, np.roll(np.where(brain, 0, moving), MOVED, axis=2))
    still, motion = upright(fixed), rigid((4, -3, 5), (5, -4, 7), about=upright(fixed).middle)
    moved = coarse(Volume(upright(moving).voxels, motion @ upright(moving).affine))
    starts = [np.eye(4), rigid(shift=(0, 3, 6))]
    by_brain, by_all = (register(still, moved, starts, within) for within in (brain, None))
    assert distance(still, by_brain.matrix, motion) < 1
    assert distance(still, by_all.matrix, motion) > 2

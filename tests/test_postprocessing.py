"""Each post-processing rule on label maps that can be counted by eye."""

import numpy as np
import pytest

from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.errors import UserError


def tumour(enhancing: int, et_label: int = 4) -> np.ndarray:
    """A block of 10x10x10 oedema whose first voxels are enhancing tumour, in a volume 20x20x40."""
    block = np.full(1000, 2, np.uint8)
    block[:enhancing] = et_label
    labels = np.zeros((20, 20, 40), np.uint8)
    labels[5:15, 5:15, 25:35] = block.reshape(10, 10, 10)
    return labels


def test_none_changes_nothing():
    labels = tumour(3)
    assert PostProcessing()(labels, 4) is labels


@pytest.mark.parametrize("et_label", [3, 4])
@pytest.mark.parametrize("target", [0, 1])
def test_small_et_takes_strictly_fewer_voxels(et_label, target):
    rule = PostProcessing("small_et", threshold=200, target=target)
    fewer, exact = tumour(199, et_label), tumour(200, et_label)
    assert np.array_equal(rule(exact, et_label), exact)
    changed = rule(fewer, et_label)
    assert np.count_nonzero(changed == et_label) == 0
    assert (changed[fewer == et_label] == target).all()
    assert np.array_equal(changed[fewer != et_label], fewer[fewer != et_label])
    assert changed.dtype == np.uint8
    assert np.count_nonzero(fewer == et_label) == 199  # the given map is not changed


def test_components_drops_by_size_and_by_share_of_the_largest():
    labels = tumour(0)
    labels[0, 0, :9] = 2  # 9 voxels
    labels[0, 10, :10] = 1  # 10 voxels
    assert np.count_nonzero(PostProcessing("components", voxels=10)(labels, 4)) == 1010
    assert np.count_nonzero(PostProcessing("components", voxels=0, share=0.01)(labels, 4)) == 1010
    assert np.count_nonzero(PostProcessing("components", voxels=11)(labels, 4)) == 1000


def test_components_touch_by_corners():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 2
    assert np.count_nonzero(PostProcessing("components", voxels=2)(labels, 4)) == 2


def test_metakd_drops_tumours_below_a_tenth_of_the_largest_and_low_ones():
    labels = tumour(0)
    labels[0, 0, 30] = 1  # 1 voxel
    labels[16:18, 0:10, 28:33] = 2  # 100 voxels: a tenth
    labels[18:20, 10:20, 16:26] = 2  # 200 voxels, top slice 25
    kept = PostProcessing("metakd")(labels, 4)
    assert kept[0, 0, 30] == 0
    assert np.count_nonzero(kept[16:18, 0:10]) == 100
    assert np.count_nonzero(kept[18:20, 10:20]) == 0
    labels[18, 10, 26] = 2  # now it reaches above
    assert np.count_nonzero(PostProcessing("metakd")(labels, 4)[18:20, 10:20]) == 201


def test_metakd_tumours_touch_by_faces_only_and_small_et_becomes_necrosis():
    labels = tumour(499)
    labels[15, 15, 35] = 2  # touches the block by a corner
    kept = PostProcessing("metakd")(labels, 4)
    assert kept[15, 15, 35] == 0
    assert (np.count_nonzero(kept == 4), np.count_nonzero(kept == 1)) == (0, 499)
    assert np.count_nonzero(PostProcessing("metakd")(tumour(500), 4) == 4) == 500


@pytest.mark.parametrize("name", ["none", "small_et", "components", "metakd"])
def test_an_empty_map_stays_empty(name):
    assert not PostProcessing(name)(np.zeros((4, 4, 4), np.uint8), 4).any()


@pytest.mark.parametrize(
    "text", ["none", "metakd", "small_et:threshold=1234567,target=0", "components:voxels=10,share=0.05"]
)
def test_rules_are_spelled_as_they_are_read(text):
    assert str(PostProcessing.parse(text)) == text


def test_what_is_not_said_has_its_default():
    assert PostProcessing.parse(" small_et : threshold = 7 ") == PostProcessing("small_et", threshold=7, target=1)
    assert PostProcessing.parse("small_et").as_dict() == {"name": "small_et", "threshold": 500, "target": 1}
    assert PostProcessing().as_dict() == {"name": "none"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smal_et", "did you mean small_et"),
        ("small_et:voxels=3", "'voxels' found for small_et; expected threshold, target"),
        ("none:threshold=3", "expected no parameters"),
        ("small_et:threshold=few", "threshold=few found; expected a number"),
        ("small_et:threshold=-1", "expected 0 or more"),
        ("small_et:target=2", r"expected 1 \(necrosis\) or 0"),
        ("components:share=2", "expected 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        PostProcessing.parse(text)

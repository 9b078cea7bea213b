"""What the shipped weights give on one simulated case; other masks need another version."""

import copy
import json

import pytest
from conftest import BUNDLE, REPOSITORY
from golden import FILE, SUBSETS, agrees, golden_masks, least_dice, pack, unpack

from metakd_monai import __version__


@pytest.fixture(scope="module")
def entries():
    return json.loads(FILE.read_text())


def test_a_mask_is_what_this_version_says_it_is(entries):
    """Where this fails, a mask is another one: move the version and record it (CONTRIBUTING.md)."""
    assert list(entries)[-1] == __version__
    found = golden_masks()
    assert {name: least_dice(found[name], entries[__version__][name]) for name in SUBSETS} == pytest.approx(
        dict.fromkeys(SUBSETS, 1.0), abs=1e-3
    )
    assert agrees(found, entries[__version__])


def test_a_few_voxels_more_or_fewer_do_not_agree(entries):
    known = entries[__version__]
    labels = unpack(known["flair"]).copy()
    assert (labels == 4).sum() == known["flair"]["voxels"][4] > 1000
    x, y, z = (axis[:20] for axis in (labels == 4).nonzero())
    labels[x, y, z] = 0
    changed = {**copy.deepcopy(known), "flair": pack(labels)}
    assert not agrees(changed, known)


def test_every_place_says_the_same_version():
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert metadata["version"] == next(iter(metadata["changelog"])) == __version__
    assert metadata["required_packages_version"]["metakd-monai"] == __version__
    assert f"\nversion: {__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()
    assert f"\n## [{__version__}] - " in (REPOSITORY / "CHANGELOG.md").read_text()

"""Find the weights."""

from __future__ import annotations

from pathlib import Path

from metakd_monai.bundle.root import SEGMENTATION_BUNDLE, bundle_root, shipped_bundles
from metakd_monai.errors import UserError

IN_BUNDLE = Path("models", "model.pt")


def find_weights(given: str | Path | None) -> Path:
    """Return the given weights, or those installed with this package.

    Args:
        given: a file, a bundle's folder, or the folder above a single bundle, as in a container; None if not given.

    Raises:
        UserError: if there are none; it says how to get some.
    """
    if given is not None:
        path = Path(given)
        if path.is_dir():
            return find_in_folder(path)
        if not path.is_file():
            raise UserError(f"weights: {path} not found; expected a file such as model.pt")
        return path
    # A bundle for the zoo contains this package without its bundles: the weights are then in the running bundle.
    path = Path(shipped_bundles().get(SEGMENTATION_BUNDLE) or bundle_root()) / IN_BUNDLE
    if not path.is_file():
        raise UserError(
            f"weights: none found at {path}; give some with --weights FILE, install the project again, which brings"
            " its own (pip install), or train yours (README, 'Train')"
        )
    return path


def find_in_folder(folder: Path) -> Path:
    """Return the weights of a bundle's folder, or of the only bundle in a folder; raises UserError otherwise."""
    places = [folder, *sorted(place for place in folder.iterdir() if place.is_dir())]
    found = [place / IN_BUNDLE for place in places if (place / IN_BUNDLE).is_file()]
    if not found or (len(found) > 1 and found[0].parents[1] != folder):
        raise UserError(f"weights: {folder}: {len(found)} bundles with {IN_BUNDLE} found; expected a bundle's folder")
    return found[0]

"""Where the weights are."""

from __future__ import annotations

from pathlib import Path

from metakd_monai.bundle.root import SEGMENTATION_BUNDLE, bundle_root, shipped_bundles
from metakd_monai.errors import UserError


def find_weights(given: str | Path | None) -> Path:
    """Return the given weights, or those installed with this package.

    Raises:
        UserError: when there are none, saying where to get or make some.
    """
    if given is not None:
        path = Path(given)
        if not path.is_file():
            raise UserError(f"weights: {path} not found; expected a file such as model.pt")
        return path
    # A zoo bundle carries this package inside, and no bundles in it: then it is the folder that is being run.
    path = Path(shipped_bundles().get(SEGMENTATION_BUNDLE) or bundle_root()) / "models" / "model.pt"
    if not path.is_file():
        raise UserError(
            f"weights: none found at {path}; give some with --weights FILE, install the project again, which brings"
            " its own (pip install), or train yours (README, 'Train')"
        )
    return path

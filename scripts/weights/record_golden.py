"""Record what the shipped weights give on the golden case, in tests/golden.json: one entry for each version.

Usage: record_golden.py

An entry is written once. Where what a mask is has changed, move the version first (CONTRIBUTING.md): the entry of a
version that is there already is never replaced by another mask.
"""

import sys
from pathlib import Path

from metakd_monai import __version__
from metakd_monai.data.files import read_json, write_json
from metakd_monai.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "tests"))

from golden import FILE, agrees, golden_masks  # noqa: E402


def main() -> int:
    """Record, or say why not."""
    entries, found = read_json(FILE, "the entries of versions"), golden_masks()
    known = entries.get(__version__)
    if known is not None:
        if agrees(found, known):
            print(f"{FILE}: {__version__} is there, and its masks are these")
            return 0
        raise UserError(f"{FILE}: {__version__} has other masks; expected a new version, as what a mask is has changed")
    write_json(FILE, {**entries, __version__: found})
    print(f"{FILE}: {__version__} recorded")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"record_golden: {error}")

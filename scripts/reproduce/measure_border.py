"""Where reference labels of the whole tumour end: how bright FLAIR is across their border.

0 is the brain far from the tumour, 1 the plateau of the oedema within it, 0 mm the outermost labelled voxels. Near the
tumour core, whose border is another, and near the surface of the brain nothing counts. Simulated labels should end
where those of the cases that are trained on do: docs/results/model_card.md.

Usage: measure_border.py DIR ...     folders of labelled cases of 1 mm, the mean of each folder
"""

import argparse
import sys
from pathlib import Path

from metakd_monai.apps.simulation.training.border import border_head, border_row
from metakd_monai.errors import UserError


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    print(border_head())
    for folder in folders:
        try:
            print(border_row(folder))
        except UserError as error:
            print(f"measure_border: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

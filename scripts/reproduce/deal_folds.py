"""Deal labelled cases out to folds by the size of their enhancing tumour: folders of links, to train on and to test on.

Usage: deal_folds.py CASES OUTPUT [--folds 4] [--seed 28]

OUTPUT/foldK/test has the cases of fold K, OUTPUT/foldK/train all others. Cases are taken from the largest enhancing
tumour to the smallest (the whole tumour where these are equal), as many at a time as there are folds, and each fold
gets one of them by chance.
"""

import argparse
import sys
from pathlib import Path

from metakd_monai.apps.arena.folds import deal, measure_tumour
from metakd_monai.data.cases import Case, find_labelled
from metakd_monai.errors import UserError


def link(case: Case, folder: Path) -> None:
    """Link a case's folder from another one."""
    assert case.label is not None
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / case.case_id
    if not place.is_symlink():
        place.symlink_to(Path(case.label).resolve().parent)


def main() -> int:
    """Deal; 2 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=28)
    options = parser.parse_args()
    try:
        cases = {case.case_id: case for case in find_labelled(options.cases)}
        sizes = {name: measure_tumour(case.label) for name, case in cases.items() if case.label is not None}
        dealt = [[cases[name] for name in names] for names in deal(sizes, options.folds, options.seed)]
    except UserError as error:
        print(f"deal_folds: {error}", file=sys.stderr)
        return 2
    for number, mine in enumerate(dealt):
        for other, theirs in enumerate(dealt):
            for case in theirs:
                link(case, options.output / f"fold{number}" / ("test" if other == number else "train"))
        print(f"fold {number}: {', '.join(sorted(case.case_id for case in mine))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

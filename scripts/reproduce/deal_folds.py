"""Deal labelled cases out to folds by the size of their enhancing tumour: folders of links, to train on and to test on.

Usage: deal_folds.py CASES OUTPUT [--folds 4] [--seed 28]

OUTPUT/foldK/test has the cases of fold K, OUTPUT/foldK/train all others. Cases are taken from the largest enhancing
tumour to the smallest (the whole tumour where these are equal), as many at a time as there are folds, and each fold
gets one of them by chance.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from metakd_monai.data.cases import Case, find_labelled
from metakd_monai.data.nifti import read_labels
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS


def deal(cases: Sequence[Case], folds: int, seed: int) -> list[list[Case]]:
    """Return the cases of each fold; raises UserError for fewer than two cases for each."""
    if folds < 2 or len(cases) < 2 * folds:
        raise UserError(f"{folds} folds of {len(cases)} labelled cases found; expected 2 folds or more, of 2 or more")
    sizes = {case.case_id: tumour_voxels(case) for case in tqdm(cases, unit="case", disable=None)}
    ranked = sorted(cases, key=lambda case: sizes[case.case_id], reverse=True)
    rng = np.random.default_rng(seed)
    dealt: list[list[Case]] = [[] for _ in range(folds)]
    for start in range(0, len(ranked), folds):
        for fold, case in zip(rng.permutation(folds), ranked[start : start + folds], strict=False):
            dealt[fold].append(case)
    return dealt


def tumour_voxels(case: Case) -> tuple[int, int]:
    """Return how many voxels of a case are labelled as enhancing tumour, and as any."""
    assert case.label is not None
    labels = read_labels(case.label)
    return int(np.isin(labels, ET_LABELS).sum()), int((labels > 0).sum())


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
        dealt = deal(find_labelled(options.cases), options.folds, options.seed)
    except UserError as error:
        print(f"deal_folds: {error}", file=sys.stderr)
        return 2
    for number, mine in enumerate(dealt):
        for other, cases in enumerate(dealt):
            for case in cases:
                link(case, options.output / f"fold{number}" / ("test" if other == number else "train"))
        print(f"fold {number}: {', '.join(sorted(case.case_id for case in mine))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

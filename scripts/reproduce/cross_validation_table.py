"""One table over the folds of a cross-validation: Dice of each subset, over all cases.

Usage: cross_validation_table.py BENCHMARK... --output TABLE.md

BENCHMARK are folders of metakd benchmark, one for each fold. ET is over the references that have at least 1 mL of it
(--least-et mL): below that its Dice is that of a few voxels, or undefined.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from metakd_monai.apps.arena.folds import measure_tumour
from metakd_monai.apps.benchmark import read_scores
from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES, Score
from metakd_monai.apps.study.aims import WORSE, nested
from metakd_monai.data.files import write_text
from metakd_monai.errors import UserError
from metakd_monai.metrics.means import mean, show
from metakd_monai.vocabulary import REGION_NAMES

PLAIN = "none"


def read_folds(folders: Iterable[Path]) -> list[Score]:
    """Return the Dice of all folds, without post-processing; raises UserError for folds that share a case."""
    found: list[Score] = []
    for folder in folders:
        scores = read_scores(folder / "scores.csv").scores
        shared = {score.case for score in scores} & {score.case for score in found}
        if shared:
            raise UserError(f"{folder}: {min(shared)} is in another fold too; expected each case once")
        found += [score for score in scores if score.metric == "Dice" and score.postprocessing == PLAIN]
    return found


def enhancing_ml(folders: Iterable[Path]) -> dict[str, float]:
    """Return the mL of enhancing tumour in the reference of each case that a benchmark was made on."""
    sizes = {}
    for folder in folders:
        source = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["source"]
        for path in sorted(Path(source["cases"]).glob("*/*seg.nii.gz")):
            sizes[path.parent.name] = measure_tumour(path).enhancing_ml
    return sizes


def tabulate(scores: Sequence[Score], sizes: dict[str, float], least: float) -> list[str]:
    """Return the lines of the table, and below it the worst case and the nested pairs that differ the wrong way."""
    kept = [s for s in scores if s.region != "ET" or sizes[s.case] >= least]
    means = {
        (name, region): mean([s.value for s in kept if (s.subset, s.region) == (name, region)])
        for name in SUBSET_NAMES
        for region in REGION_NAMES
    }
    lines = [f"{len({s.case for s in scores})} cases, ET over {len({s.case for s in kept if s.region == 'ET'})}", ""]
    lines += ["| given | " + " | ".join(REGION_NAMES) + " |", "|---|" + "--:|" * len(REGION_NAMES)]
    for name in SUBSET_NAMES:
        lines.append(f"| {name} | " + " | ".join(show(means[name, region], 3) for region in REGION_NAMES) + " |")
    rows = [mean([means[name, region] for name in SUBSET_NAMES]) for region in REGION_NAMES]
    lines.append("| **mean of 15** | " + " | ".join(show(row, 3) for row in rows) + " |")
    whole = [s for s in scores if (s.subset, s.region) == (SUBSET_NAMES[-1], "WT")]
    worst = min(whole, key=lambda score: score.value)
    lines += [
        "",
        f"Mean of subsets and regions {mean(rows):.4f}. Worst WT of all four {worst.value:.3f} ({worst.case}).",
    ]
    lines.append(f"Nested pairs more than {WORSE} the wrong way: {count_violations(means)}.")
    return lines


def count_violations(means: dict[tuple[str, str], float]) -> str:
    """Count for each region the pairs of subsets of which the larger has the lower mean by more than WORSE."""
    counts = {r: sum(means[few, r] - means[many, r] > WORSE for many, few in nested()) for r in REGION_NAMES}
    return ", ".join(f"{region} {count}" for region, count in counts.items())


def main() -> int:
    """Write the table; 2 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="BENCHMARK")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--least-et", type=float, default=1.0)
    options = parser.parse_args()
    try:
        lines = tabulate(read_folds(options.folders), enhancing_ml(options.folders), options.least_et)
    except UserError as error:
        print(f"cross_validation_table: {error}", file=sys.stderr)
        return 2
    write_text(options.output, "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

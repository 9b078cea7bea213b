"""Write the numbers that scripts measured into the pages that quote them.

Usage: fill_numbers.py [--check]        --check changes nothing and ends with 1 where a page is out of date

A page has a comment ``<!-- numbers: NAME -->``, then the table, then ``<!-- end -->``. The tables are made of
expected.json and metadata.json of the segmentation bundle, and of docs/results/data.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

from metakd_monai.apps.report.case_facts import NAMES

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "brats_mri_metakd_segmentation"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), BUNDLE / "docs" / "README.md")
BLOCK = re.compile(r"(?<=<!-- numbers: )([\w ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
REGIONS = ("ET", "TC", "WT")
FEW = ("flair+t1+t1ce+t2", "flair+t1ce", "flair+t2", "t1ce", "flair", "t2", "t1")


def spell(subset: str) -> str:
    """Return how a reader writes a subset of the sequences."""
    return "all four" if subset == FEW[0] else " + ".join(NAMES.get(name, name) for name in subset.split("+"))


def table(head: str, rows: list[tuple[str, ...]]) -> str:
    """Return a table of Markdown: the first column is text, the others are numbers."""
    columns = [f"| {' | '.join(row)} |" for row in ((head, *REGIONS), ("---", "--:", "--:", "--:"), *rows)]
    return "\n".join(columns) + "\n"


def expected(subsets: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return median Dice and range of 80 % of subsets, as expected.json has them."""
    found = [
        (spell(name), *(f"{s['median']:.2f} ({s['low']:.2f}-{s['high']:.2f})" for s in map(subsets[name].get, REGIONS)))
        for name in names
    ]
    return table("given", found)


def means(names: tuple[str, ...] | None) -> str:
    """Return the mean Dice of the cross-validation, of some subsets and of all of them."""
    with (ROOT / "docs/results/data/cross-validation.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["given"]: [row[region] for region in REGIONS] for row in csv.DictReader(file)}
    chosen = (*names, "mean of 15") if names else rows
    return table("given", [(spell(name), *rows[name]) for name in chosen])


def make_tables() -> dict[str, str]:
    """Return every table by its name."""
    subsets = json.loads((BUNDLE / "models/expected.json").read_text(encoding="utf-8"))["subsets"]
    return {
        "expected few": expected(subsets, FEW),
        "expected all": expected(subsets, tuple(subsets)),
        "means few": means(FEW),
        "means all": means(None),
    }


def main() -> int:
    """Fill the pages; 1 where --check finds one that is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check, tables, stale = parser.parse_args().check, make_tables(), []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        filled = BLOCK.sub(lambda found: f"{found[1]}{found[2]}{tables[found[1]]}", text)
        if filled != text:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(filled, encoding="utf-8")
    print(f"{', '.join(stale) or 'no page'}: {'out of date; run scripts/docs/fill_numbers.py' if check else 'filled'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

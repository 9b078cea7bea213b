"""The page of a benchmark, a study or a training: pictures, tables, and the worst cases."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from metakd_monai.apps.report.case_page import INDEX
from metakd_monai.apps.report.page_parts import picture_file, render_page
from metakd_monai.apps.report.training_curves import ITERATION, draw_training
from metakd_monai.data.files import write_text
from metakd_monai.data.spreadsheets import read_csv, spell
from metakd_monai.errors import UserError
from metakd_monai.metrics.means import mean, show
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES, Region

WORST = 20  # cases
NEEDED = {"case", "subset", "region"}  # columns of scores, beside the value
TRAINING = ("training.csv", "meta.csv", "validation.csv")
PICTURES = {
    "heatmap.png": "Mean Dice of each subset",
    "curves.png": "Mean Dice over the subsets",
    "failures.png": "The worst masks",
}


@dataclass(frozen=True)
class Section:
    """A part of a page: a picture, a table, or both."""

    title: str
    text: str = ""
    command: str = ""
    picture: str | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def find_scores(folder: Path) -> Path | None:
    """Return the file of scores that ``metakd benchmark`` or ``metakd study`` wrote; None if there is none."""
    return next((path for path in (folder / "scores.csv", folder / "rows.csv") if path.is_file()), None)


def has_results(folder: Path) -> bool:
    """Tell whether a folder is one of ``metakd benchmark``, ``metakd study`` or ``metakd train``."""
    return find_scores(folder) is not None or (folder / TRAINING[0]).is_file()


def write_results_page(folder: Path) -> Path:
    """Write ``index.html`` of such a folder; raises UserError for tables that cannot be read."""
    scores = find_scores(folder)
    sections = training_sections(folder) if scores is None else [*picture_sections(folder), *score_sections(scores)]
    cases = {row[0] for section in sections for row in section.rows}
    title = f"{folder.resolve().name}: {'training' if scores is None else 'scores on labelled cases'}"
    page = render_page("results.html", "table.js", title=title, sections=sections, links=link_cases(folder, cases))
    write_text(folder / INDEX, page)
    return folder / INDEX


def picture_sections(folder: Path) -> list[Section]:
    """Return a section for each existing picture."""
    found = {title: picture_file(folder / name) for name, title in PICTURES.items()}
    return [Section(title, picture=picture) for title, picture in found.items() if picture]


def training_sections(folder: Path) -> list[Section]:
    """Return a picture of each table of a training."""
    sections = []
    for path in (folder / name for name in TRAINING):
        if path.is_file():
            columns, rows = read_csv(path)
            if ITERATION not in columns:
                raise UserError(f"{path}: columns {', '.join(columns)} found; expected {ITERATION} among them")
            curves = {name: [read_number(path, name, row[name]) for row in rows] for name in rows[0]} if rows else {}
            sections.append(Section(path.name, picture=draw_training(curves)))
    return sections


def read_number(path: Path, name: str, text: str) -> float:
    """Return a cell as a number, ``nan`` where it is empty; raises UserError for anything else."""
    try:
        return float(text or "nan")
    except ValueError:
        raise UserError(f"{path}: {text!r:.50} found ({name}); expected numbers") from None


def score_sections(path: Path) -> list[Section]:
    """Return the worst cases, and the mean Dice of each subset."""
    columns, lines = read_csv(path)
    if not NEEDED.issubset(columns) or not {"value", "dice"}.intersection(columns):
        raise UserError(f"{path}: columns {', '.join(columns)} found; expected those of metakd benchmark or study")
    by_case = collect_dice(path, lines, "case")
    by_subset = collect_dice(path, lines, "subset")
    scored = {case: dice for case, dice in by_case.items() if Region.WT.value in dice}
    worst = sorted(scored.items(), key=lambda item: mean(item[1][Region.WT.value]))[:WORST]
    subsets = sorted(by_subset.items(), key=lambda item: order_of(item[0]))
    text = "Over cases, before post-processing."
    return [
        worst_section(path.parent, worst),
        Section("Mean Dice", text, columns=("Subset", *REGION_NAMES), rows=show_rows(subsets)),
    ]


def worst_section(folder: Path, worst: Sequence[tuple[str, Mapping[str, Sequence[float]]]]) -> Section:
    """Return the table of the worst cases, and how to make their pages if some are missing."""
    text = "The mean Dice of each case over its subsets, before post-processing, sorted by the whole tumour."
    command = ""
    if not all((folder / f"{case}.html").is_file() for case, _ in worst):
        text += (
            " A name links to the page of the case, with its viewer, where this folder has one. This command, run"
            " beside the folder, adds the page and the link. Give it the --weights that were scored, unless they are"
            " the bundle's, and --modalities for a subset."
        )
        command = f"metakd predict CASE_DIR --output {shlex.quote(folder.resolve().name)} --report"
    return Section("The worst cases", text, command, None, ("Case", *REGION_NAMES), show_rows(worst))


def collect_dice(path: Path, lines: Iterable[Mapping[str, str]], key: str) -> dict[str, dict[str, list[float]]]:
    """Return the Dice by a column's value and by region; for a benchmark, before post-processing."""
    found: dict[str, dict[str, list[float]]] = {}
    rule = None
    for line in lines:
        if line.get("metric", "Dice") != "Dice":
            continue
        rule = line.get("postprocessing") if rule is None else rule
        name = "value" if "value" in line else "dice"
        dice = read_number(path, name, line[name])
        if line.get("postprocessing") == rule and not math.isnan(dice):
            found.setdefault(line[key], {}).setdefault(line["region"], []).append(dice)
    return found


def order_of(subset: str) -> tuple[int, list[int]]:
    """Return the sort key of a subset: by size, then in the order of the sequences."""
    names = subset.split("+")
    return len(names), [MODALITY_NAMES.index(name) if name in MODALITY_NAMES else -1 for name in names]


def show_rows(found: Iterable[tuple[str, Mapping[str, Sequence[float]]]]) -> list[list[str]]:
    """Return the rows of a table."""
    return [[spell(name), *(show(mean(dice.get(r, [])), 3) for r in REGION_NAMES)] for name, dice in found]


def link_cases(folder: Path, cases: Iterable[str]) -> dict[str, str]:
    """Return the page of each case in the folder, else its picture."""
    there = {path.name for path in folder.iterdir()}
    found = {case: [name for name in (f"{case}.html", f"{case}.png") if name in there] for case in cases}
    return {case: quote(names[0]) for case, names in found.items() if names}

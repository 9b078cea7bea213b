"""``index.html``: all cases of an output folder in a table that can be sorted, those with warnings first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metakd_monai.apps.predict.preview import printable
from metakd_monai.apps.report.case_facts import list_names
from metakd_monai.apps.report.case_page import INDEX, read_head
from metakd_monai.apps.report.case_result import CaseResult
from metakd_monai.apps.report.page_parts import render_page
from metakd_monai.data.files import write_text
from metakd_monai.data.spreadsheets import spell
from metakd_monai.vocabulary import REGION_NAMES, Region

THUMBNAIL = re.compile(r'<link rel="icon" href="(data:image/jpeg;base64,[\w+/=]+)">')
COLUMNS = ("Case", "Given", *REGION_NAMES, "Predicted Dice WT", "Warnings")


def write_cohort_page(directory: Path, results: Sequence[CaseResult]) -> Path:
    """Write the page of all cases of a folder. Thumbnails are taken from the cases' pages, which must exist.

    Returns:
        The page.

    Raises:
        UserError: when it cannot be written.
    """
    rows = [describe_row(result) for result in results]
    rows.sort(key=lambda row: -len(row["warnings"]))
    warned = sum(bool(row["warnings"]) for row in rows)
    page = render_page("cohort.html", "table.js", columns=COLUMNS, rows=rows, warned=warned)
    write_text(directory / INDEX, page)
    return directory / INDEX


def describe_row(result: CaseResult) -> dict[str, Any]:
    """Return a case's row. Its name is quoted if a spreadsheet would take it for a formula."""
    report = result.report
    thumbnail = THUMBNAIL.search(read_head(result.page))
    predicted = ((report.get("expected") or {}).get("predicted") or {}).get(Region.WT.value)
    volumes = [report["volumes_ml"].get(region) for region in REGION_NAMES]
    return {
        "thumbnail": thumbnail[1] if thumbnail else None,
        "case": spell(result.case_id),
        "link": quote(result.page.name),
        "given": list_names(report["modalities"].get("used", [])),
        "numbers": [*(show_number(volume, 1) for volume in volumes), show_number((predicted or {}).get("dice"), 2)],
        "warnings": [printable(str(text)) for text in report["warnings"]],
    }


def show_number(value: float | None, digits: int) -> dict[str, Any]:
    """Return a number with its text; a missing one has no text and sorts below all others."""
    return {"value": -1, "text": ""} if value is None else {"value": value, "text": f"{value:.{digits}f}"}

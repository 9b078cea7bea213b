"""CSV files that are safe in spreadsheet programs: no cell is run as a formula."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from metakd_monai.data.files import read_text, write_safely
from metakd_monai.errors import UserError, in_one_line

EXPECTED = "a table (CSV)"
FORMULA = re.compile(r"'*[=+\-@\t\n]")  # start of a cell that a spreadsheet would run, or that was quoted
QUOTED = re.compile(r"'+[=+\-@\t\n]")


def write_csv(path: Path, lines: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in UTF-8, numbers with at most ten digits and ``nan`` as an empty cell.

    Text that a spreadsheet would take for a formula gets a single quote before it (OWASP, CSV injection), which
    :func:`read_csv` removes again. Undecodable bytes of file names are escaped.

    Raises:
        UserError: if it cannot be written.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([spell(cell) for cell in line] for line in lines)

    write_safely(path, write)


def spell(cell: object) -> str:
    """Return the text of a cell."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:.10g}"
    if isinstance(cell, int):
        return str(cell)
    text = str(cell).replace("\r", "\\r")  # Python before 3.13 writes it without quotes, like a line end
    return f"'{text}" if FORMULA.match(text) else text


def read_csv(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Read a CSV file, from :func:`write_csv` or another program: the headings, and each row by heading.

    Raises:
        UserError: if it cannot be read, is not a CSV file, or lacks a line end after its last line: it may be truncated
            within a number, which nothing else reveals.
    """
    text = read_text(path, EXPECTED)
    if text and not text.endswith(("\n", "\r")):
        raise UserError(f"{path}: cut short? its last line has no line end; expected {EXPECTED}")
    try:
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows = [{name: unquote(cell) for name, cell in row.items()} for row in table]
        return tuple(table.fieldnames or ()), rows
    except csv.Error as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {EXPECTED}") from None


def unquote(cell: object) -> str:
    """Remove the quote of :func:`spell`; a missing cell is an empty one."""
    text = "" if cell is None else str(cell)
    return text[1:] if QUOTED.match(text) else text

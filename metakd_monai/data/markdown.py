"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "c": ":-:", "r": "--:"}


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], columns: str = "lr") -> list[str]:
    """Return the lines of a table.

    Args:
        heads: of the columns.
        rows: their cells.
        columns: where each column's text stands: ``l`` left, ``c`` centred, ``r`` right; the last letter goes on.
    """
    rules = [RULES[letter] for letter in columns.ljust(len(heads), columns[-1])]
    head, *body = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    return [head, "|" + "|".join(rules) + "|", *body]

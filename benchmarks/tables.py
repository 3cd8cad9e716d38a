"""Tables in Markdown."""

from collections.abc import Sequence

Text = str
"""Markdown: a table, a list or a paragraph."""

NOTHING = "-"


def grid(rows: Sequence[Sequence[str]]) -> Text:
    """Return a Markdown table of *rows*; the first row is the head, the first column has words."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{cell:{'>' if number else '<'}{widths[number]}}" for number, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if number else "-") for number, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])

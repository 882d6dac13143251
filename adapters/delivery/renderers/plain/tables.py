"""Tables for platforms that have none: lines of equal columns, where those fit the width of a telephone."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.delivery.markdown.tree import Alignment

WIDEST = 60
"""Columns of a monospaced font; a wider table is shown as a list of records. Where a platform does not say another."""


def columns(text: str) -> int:
    """The width in columns of a monospaced font, over characters as a reader sees them."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    width: int = wcswidth(text)
    return width if width >= 0 else len(text)


def table_lines(
    rows: Sequence[Sequence[str]], alignments: Sequence[Alignment], widest: int = WIDEST
) -> list[str] | None:
    """The rows as lines of equal columns, with a rule under the header; None where they have more than `widest`."""
    measured = [[columns(cell) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*measured, strict=True)]
    if sum(widths) + 3 * (len(widths) - 1) > widest:
        return None
    lines = [
        " | ".join(
            _aligned(cell, room - width, alignment)
            for cell, width, room, alignment in zip(row, has, widths, alignments, strict=True)
        ).rstrip()
        for row, has in zip(rows, measured, strict=True)
    ]
    return [lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]


def _aligned(cell: str, free: int, alignment: Alignment) -> str:
    left = free if alignment == "right" else free // 2 if alignment == "center" else 0
    return " " * left + cell + " " * (free - left)

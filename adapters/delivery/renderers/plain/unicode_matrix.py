"""Matrices and cases as lines of equal columns, where every entry has characters of Unicode."""

from __future__ import annotations

import re
from itertools import zip_longest

from adapters.delivery.renderers.plain.tables import columns
from adapters.delivery.renderers.plain.unicode_math import ROW_END, unicode_math

_ENVIRONMENT = re.compile(r"\\begin\{([pbBvV]?matrix|cases)\}(.*?)\\end\{\1\}", re.DOTALL)
_CELL_END = re.compile(r"(?<!\\)&")
_BRACKETS = {
    "pmatrix": ("()", "⎛⎜⎜⎝", "⎞⎟⎟⎠"),
    "bmatrix": ("[]", "⎡⎢⎢⎣", "⎤⎥⎥⎦"),
    "Bmatrix": ("{}", "⎧⎪⎨⎩", "⎫⎪⎬⎭"),
    "vmatrix": ("││", "││││", "││││"),
    "Vmatrix": ("‖‖", "‖‖‖‖", "‖‖‖‖"),
    "matrix": ("  ", "    ", "    "),
    "cases": ("{ ", "⎧⎪⎨⎩", "    "),
}
"""Around one row, and left and right of several: the first, others, the middle one, the last."""
_LONGEST = 2_000
"""Code points. Openings without an end are searched for theirs each."""
_STANDS_IN = range(0x10280, 0x10290)
"""Letters that no formula has: each stands for a matrix while what is around it is read."""


def matrix_lines(source: str, widest: int) -> list[str] | None:
    """The formula with its matrices drawn, in at most `widest` columns; None without any, or where it is not exact."""
    found = list(_ENVIRONMENT.finditer(source)) if len(source) <= _LONGEST else []
    if not found or len(found) > len(_STANDS_IN):
        return None
    drawn: dict[str, list[str]] = {}
    parts, position = list[str](), 0
    for letter, each in zip(map(chr, _STANDS_IN), found, strict=False):
        lines = _drawn(each[1], each[2])
        if lines is None:
            return None
        drawn[letter] = lines
        parts += [source[position : each.start()], letter]
        position = each.end()
    readable = unicode_math("".join([*parts, source[position:]]))
    if readable is None:
        return None
    pieces = [part for part in re.split(f"([{chr(_STANDS_IN[0])}-{chr(_STANDS_IN[-1])}])", readable) if part.strip()]
    lines = _beside([drawn.get(piece, [piece.strip()]) for piece in pieces])
    return lines if max(map(columns, lines)) <= widest else None


def _drawn(name: str, body: str) -> list[str] | None:
    rows = [[cell.strip() for cell in _CELL_END.split(row)] for row in ROW_END.split(body) if row.strip()]
    cells = [[unicode_math(cell) if cell else "" for cell in row] for row in rows]
    if not rows or any(cell is None for row in cells for cell in row):
        return None
    table = list(zip_longest(*([cell or "" for cell in row] for row in cells), fillvalue=""))
    widths = [max(map(columns, column)) for column in table]
    lines = []
    for number, row in enumerate(zip(*table, strict=True)):
        padded = (_padded(cell, width, name) for cell, width in zip(row, widths, strict=True))
        left, right = _around(name, number, len(rows))
        lines.append(f"{left} {'  '.join(padded)} {right}")
    return lines


def _padded(cell: str, width: int, name: str) -> str:
    free = width - columns(cell)
    before = 0 if name == "cases" else free // 2
    return " " * before + cell + " " * (free - before)


def _around(name: str, number: int, height: int) -> tuple[str, str]:
    alone, left, right = _BRACKETS[name]
    if height == 1:
        return alone[0], alone[1]
    middle = 2 if height % 2 and number == height // 2 else 1
    index = 0 if number == 0 else 3 if number == height - 1 else middle
    return left[index], right[index]


def _beside(pieces: list[list[str]]) -> list[str]:
    """The pieces side by side. What has one line stands beside the middle row, or the upper one of two."""
    height = max(map(len, pieces))
    lines = [""] * height
    for index, piece in enumerate(pieces):
        gap = " " if index and piece[0][:1] not in ",.;:)" else ""
        above = (height - 1) // 2 - (len(piece) - 1) // 2
        width = max(map(columns, piece))
        for number in range(height):
            line = piece[number - above] if 0 <= number - above < len(piece) else ""
            lines[number] += f"{gap}{line}{' ' * (width - columns(line))}"
    return [line.rstrip() for line in lines]

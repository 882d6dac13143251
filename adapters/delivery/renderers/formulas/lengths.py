"""How far the lengths that a formula names may reach: what somebody writes stays within its own post."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

_HIGHEST, _WIDEST = 20.0, 100.0
"""In em, of all lengths of a formula together: no taller than a screen, and nothing that a page needs is as wide."""
_LARGEST = 3.0
"""Times the size of the text around it, of all sizes within each other: one `\\Huge`."""
_EMS = {
    "": 1.0, "em": 1.0, "ex": 0.5, "mu": 1 / 18, "px": 1 / 16, "pt": 1 / 12, "pc": 1.0, "mm": 0.24, "cm": 2.4,
    "in": 6.0, "%": 0.01, "width": 0.0, "height": 0.0, "depth": 0.0,
}  # fmt: skip
"""Rounded up, for a text of 16 px; browsers do not know the last three."""
_LENGTH = re.compile(rf"[+-]?([0-9]*\.?[0-9]+)({'|'.join(sorted(_EMS, reverse=True))})")
_NAMED = re.compile(r"[a-z]+")
_UP, _ASIDE = ("height", "depth", "voffset", "linethickness"), ("width", "lspace", "rspace")
_ALONE = ("minsize", "maxsize", "rowspacing", "columnspacing")
"""They reach as far as one of them does, however many there are."""


class TooFar(Exception):
    """Lengths reach further than a formula needs, or are written in a way that is not known here."""


def check_lengths(element: Element) -> None:
    """Raises TooFar."""
    up, aside = _reach(element, 1.0)
    if up > _HIGHEST or aside > _WIDEST:
        raise TooFar


def _reach(element: Element, size: float) -> tuple[float, float]:
    """How far all lengths within it reach up or down and to the sides, in em of the text around the formula."""
    size *= _longest(element, ("mathsize",), default=1.0)
    scale = max(1.0, size)  # some units do not shrink with the letters
    if size > _LARGEST or scale * _longest(element, _ALONE) > _HIGHEST:
        raise TooFar
    up, aside = scale * _longest(element, _UP), scale * _longest(element, _ASIDE)
    for child in element:
        more_up, more_aside = _reach(child, size)
        up, aside = up + more_up, aside + more_aside
    return up, aside


def _longest(element: Element, names: tuple[str, ...], default: float = 0.0) -> float:
    written = [length for name in names for length in element.attrib.get(name, "").split()]
    return max(map(_ems, written), default=default)


def _ems(length: str) -> float:
    if _NAMED.fullmatch(length):
        return 0.0
    found = _LENGTH.fullmatch(length)
    if found is None:
        raise TooFar(length)
    return float(found[1]) * _EMS[found[2]]

"""Names that others chose, of people and of files, as one line of a prompt, a log or a page. Pure."""

from __future__ import annotations

import unicodedata

_LONGEST = 128


def one_line(name: str, longest: int = _LONGEST) -> str:
    """The name without what could begin another line or hide in it.

    Line breaks, control and formatting characters (Unicode's category C, and the line and paragraph separators) become
    one space each, runs of spaces become one.

    Args:
        longest: in code points; what goes beyond is cut, the end of a file's name kept.
    """
    if not name.isprintable():
        name = "".join(" " if _breaks(char) else char for char in name)
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    stem, dot, ending = name.rpartition(".")
    ending = dot + ending if stem and len(ending) < 12 else ""
    return name[: longest - len(ending) - 1].rstrip() + "…" + ending


def _breaks(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp")

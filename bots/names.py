"""Names that others chose, of people and of files: as one line, and as what they look like. Pure.

Two names look alike if their keys are equal: those of the skeletons of Unicode's UTS #39, section 4.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import regex

_LONGEST = 128
# Section 4 ignores these; in names they are good for nothing but to hide (variation selectors, fillers, joiners).
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
# Blank, although they are symbols: the Braille pattern without dots, a note without a head, a replaced object.
_BLANK = str.maketrans(dict.fromkeys("\u2800\U0001d159\ufffc", " "))
_STACKED = regex.compile(r"(\p{M}\p{M})\p{M}+")
_VISIBLE = regex.compile(r"[\p{L}\p{N}\p{So}]")
_NO_WORD = regex.compile(r"[^\p{L}\p{N}]")
# Case and likeness together: I is i's capital and l's twin, O is o's capital and 0's twin.
_TWINS = str.maketrans({"i": "1", "l": "1", "|": "1", "0": "o"})


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


def shown(name: str, longest: int) -> str:
    """The name as people may show themselves: one line of visible characters, at most so many code points.

    "" if nothing visible is left.
    """
    name = _IGNORABLE.sub("", unicodedata.normalize("NFKC", name)).translate(_BLANK)
    name = "".join(" " if _breaks(char) else char for char in name)
    name = _STACKED.sub(r"\1", " ".join(name.split()))[:longest].strip()
    return name if _VISIBLE.search(name) else ""


def keys(name: str) -> tuple[str, str]:
    """Two keys; names of which either is equal look alike, whatever their case.

    The first folds case before it takes the skeleton, the second afterwards: Cyrillic В looks like B, and its small
    letter like nothing Latin.
    """
    name = _IGNORABLE.sub("", unicodedata.normalize("NFKC", name)).translate(_BLANK)
    return _joined(skeleton(name.casefold())), _joined(skeleton(name))


def look_alike(one: str, other: str) -> bool:
    """Whether people may take one for the other, also without marks, spaces and punctuation."""
    pairs = zip(keys(_bare(one)), keys(_bare(other)), strict=True)
    return any(first == second for first, second in pairs)


def skeleton(text: str) -> str:
    """The text with each character replaced by the one that stands for all that look like it (UTS #39, section 4)."""
    prototypes = _prototypes()
    text = _IGNORABLE.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFD", "".join(prototypes.get(char, char) for char in text))


def _joined(skeleton: str) -> str:
    return "".join(skeleton.casefold().split()).translate(_TWINS)


def _bare(name: str) -> str:
    return str(_NO_WORD.sub("", unicodedata.normalize("NFKD", name)))


@cache
def _prototypes() -> dict[str, str]:
    """By character: what stands for its class. Reads Unicode's table of confusables, which takes 50 ms."""
    from confusable_homoglyphs.confusables import confusables_data

    parents: dict[str, str] = {}

    def root(char: str) -> str:
        while (above := parents.setdefault(char, char)) != char:
            parents[char] = parents[above] = parents.setdefault(above, above)
            char = above
        return char

    for char, others in confusables_data.items():
        for other in others:
            # The table has marks of direction around what is written from right to left.
            parents[root(char.strip(_MARK))] = root(other["c"].strip(_MARK))
    classes: dict[str, list[str]] = {}
    for char in list(parents):
        classes.setdefault(root(char), []).append(char)
    # At most one in a class is more than one character, as "rn" for "m": then it stands for them.
    chosen = {name: max(chars, key=lambda char: (len(char), -ord(char[0]))) for name, chars in classes.items()}
    return {char: chosen[root(char)] for char in parents if len(char) == 1}


_MARK = "\N{LEFT-TO-RIGHT MARK}"

"""Texts that are made to cost much, of about as many characters as asked for; and how work and memory grow with them.

Work is the ratio of this thread's processor times for two sizes, so neither the machine nor what runs beside it
matters: ten times the text may take ten times the work, and quadratic work is a hundred times as much.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

SMALL, LARGE = 3_000, 30_000
MOST_GROWTH = 30.0
"""Of the work, from SMALL to LARGE: between 10 (linear) and 100 (quadratic)."""
_LEAST_S = 0.005
"""Work below this is too little to be compared."""


def _of(piece: str) -> Callable[[int], str]:
    return lambda size: piece * (size // len(piece))


def _inside(before: str, piece: str, after: str = "") -> Callable[[int], str]:
    return lambda size: before + piece * (size // len(piece)) + after


def _nested(opening: str, closing: str) -> Callable[[int], str]:
    return lambda size: opening * (size // 2 // len(opening)) + "inmost" + closing * (size // 2 // len(opening))


def _table(columns: int, size: int) -> str:
    row = "|b" * columns + "|\n"
    return "|a" * columns + "|\n" + "|-" * columns + "|\n" + row * (size // len(row) - 2)


HOSTILE: dict[str, Callable[[int], str]] = {
    "control characters": _of("\x00\x1b[2J\u202e\x9b a"),
    "NUL": _of("\x00"),
    "surrogates": _of("\ud800"),
    "quotes": _of(">"),
    "spaced quotes": _of("> "),
    "lists": _of("- "),
    "numbered": _of("1. "),
    "tabs": _of("-\t"),
    "asterisks": _of("*"),
    "emphasis": _of("*a "),
    "bold": _of("**a "),
    "underscores": _of("_a "),
    "struck": _of("~~a "),
    "nested marks": _nested("*a **b ", "** *"),
    "marks": _nested("*", "*"),
    "brackets": _of("["),
    "nested brackets": _nested("[", "]"),
    "images": _of("![[]()"),
    "links": _of("[a]("),
    "angles": _of("[a](<b"),
    "ticks": lambda size: "".join("`" * n + " " for n in range(int((2 * size) ** 0.5))),
    "odd ticks": _of("a`"),
    "fences": _of("```\n"),
    "tildes": _of("~~~ a\n"),
    "long fence": _of("`"),
    "backslashes": _of("\\"),
    "entities": _of("&#1"),
    "ampersands": _of("&amp"),
    "autolinks": _of("<http://a"),
    "html": _of("<br>"),
    "formula never closed": _inside("\\(", "x^2 + "),
    "display never closed": _inside("\\[\n", "x^2 +\n"),
    "dollars never closed": _inside("$$\n", "a b "),
    "environment never closed": _inside("\\begin{align}\n", "x &= y \\\\\n"),
    "formulas": _of("\\(a"),
    "dollars": _of("$a "),
    "displays": _of("\\[\n"),
    "environments": _of("\\begin{align}\n"),
    "braces": _inside("$$", "{", "$$"),
    "boxes": _of("\\boxed{"),
    "short formulas": _of("\\(x\\) "),
    "fractions": _of("$\\frac{1}{2}$ "),
    "table of 1,000 columns": lambda size: _table(1_000, 3 * size),
    "columns": lambda size: _table(size // 20, size),
    "short rows": lambda size: _table(size // 20, size // 2) + "|\n" * (size // 4),
    "delimiters": lambda size: "a|b\n" + "-" * (size // 2) + " " * (size // 2) + "x",
    "cells": _inside("|a|b|\n|-|-|\n|", "`a|"),
    "headers": _of("a|b\n"),
    "breaks": _inside("|a|\n|-|\n|", "<br>"),
    "address": _inside("https://e.org/", "a_b/"),
    "address of brackets": _inside("https://e.org/", "("),
    "address of groups": _inside("https://e.org/", "(a[b{c", ""),
    "address of dots": _inside("https://e.org/", "."),
    "address of marks": _inside("**https://e.org/", "**~~_`$"),
    "address of escapes": _inside("https://e.org/", "\\(a\\)"),
    "address of placeholders": _inside("https://e.org/", "<id>/"),
    "address of entities": _inside("https://e.org/", "&amp;"),
    "host": _inside("https://", "a."),
    "authority": _inside("https://", "a:b@"),
    "addresses": _of("https://e.org/a "),
    "addresses in a row": _of("https://e.org/("),
    "bracketed addresses": _of("[https://e.org/a]("),
    "quoted addresses": _of("\"https://e.org/'"),
    "ticked addresses": _of("https://e.org/`"),
    "schemes": _of("a://"),
    "files": _of("file:///[a"),
    "www": _of("www.a<"),
    "emails": _inside("", "a.b", "@"),
    "ats": _of("a@b."),
    "remotes": _of("a@b.org:c/"),
    "mailto": _inside("mailto:a@b.org?", "a=&"),
    "link to an address": lambda size: "[a](https://e.org/" + "a_b/" * (size // 4) + ")",
    "footnotes": _of("[^1]"),
    "definitions": _of("[^a]: b\n"),
    "names": _of("@aa /bb "),
    "numbers": _of("+1 234 "),
    "dotted names": _of("a.b-c."),
    "dotted": _of("a."),
    "numbers apart": _of("1 "),
    "plus numbers": _of("+1 "),
    "dashes": _of("a-"),
    "ats and dots": _of("a.b@"),
    "dotted numbers": _of("1."),
    "schemes of one letter": _of("x://"),
    "pairs of ticks": _of("`a``b"),
    "headings": _of("# a\n"),
    "rules": _of("---\n\n"),
    "tasks": _of("- [ ] a\n"),
    "wide letters": _of("字"),
    "combined letters": _of("e\u0301\u0300"),
    "families": _of("👩\u200d👩\u200d👧"),
    "returns": _of("\r"),
    "blanks": _of(" "),
    "blank lines": _of("\n"),
    "one word": _of("x"),
    "words": _of("some **bold** words, `code`.\n"),
}


def growth_of_work(work: Callable[[str], object], text: Callable[[int], str]) -> float:
    """How many times the work of SMALL the work of LARGE is; the least of three, as soon as it is within the bound."""
    small, large = text(SMALL), text(LARGE)
    least = _processor_s(work, small)
    growth = float("inf")
    for _ in range(3):
        least = max(min(least, _processor_s(work, small)), _LEAST_S)
        growth = min(growth, _processor_s(work, large) / least)
        if growth <= MOST_GROWTH:
            break
    return growth


def growth_of_memory(work: Callable[[str], object], text: Callable[[int], str]) -> float:
    """How many times the peak of SMALL the peak of LARGE is."""
    work(text(100))  # what is imported and made once
    return _peak(work, text(LARGE)) / max(_peak(work, text(SMALL)), 100_000)


def _processor_s(work: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    work(text)
    return time.thread_time() - began


def _peak(work: Callable[[str], object], text: str) -> int:
    tracemalloc.start()
    try:
        work(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

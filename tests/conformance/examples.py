"""The examples of the CommonMark and GFM specifications, which `make test` puts into the virtual environment."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import commonmark

_GFM = Path(sys.prefix) / "gfm.txt"
_EXAMPLE = re.compile(r"^`{32} example([^\n]*)\n(.*?)^\.\n.*?^`{32}$", re.MULTILINE | re.DOTALL)
_RELATIVE = re.compile(r"(?<![\w:/.<])/(?=[a-z])")
"""The specifications link to `/url`; here links without a scheme stay text, so each gets a host."""


@dataclass(frozen=True)
class Example:
    """`name` says where it comes from ("gfm-198"), `markdown` is its source with absolute addresses."""

    name: str
    markdown: str


@cache
def examples() -> list[Example]:
    """All examples of both specifications; none of one that could not be downloaded.

    Raises:
        FileNotFoundError: with CI=true, where nothing may be left out.
    """
    found = [Example(f"commonmark-{n}", _absolute(text)) for n, text in enumerate(commonmark.examples(), 1)]
    if not _GFM.exists() and os.environ.get("CI") != "true":
        return found
    gfm = _EXAMPLE.findall(_GFM.read_text("utf-8"))
    return found + [Example(f"gfm-{n}", _absolute(text.replace("→", "\t"))) for n, (_, text) in enumerate(gfm, 1)]


def _absolute(markdown: str) -> str:
    return _RELATIVE.sub("https://example.org/", markdown)

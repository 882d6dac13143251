"""The one parser that all renderers share: GitHub's Markdown with mathematics, safe for text from a model.

What an answer says stays readable as written: HTML is text, a link that is not http, https or mailto is text, and
`[label]: address` definitions, which CommonMark hides, are text too (a later chunk could not see them anyway).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from adapters.delivery.markdown.autolinks import MAY_HAVE_ADDRESS, TEXT_END, address
from adapters.delivery.markdown.syntax import (
    block_math,
    footnote,
    inline_math,
    table,
)

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

DEPTH = 14
"""Levels of quotes and lists (a list counts two); what is nested deeper is shown as a paragraph, markers included."""
_BRACKETS = 1000
"""With more opening brackets than this links stay text: the search for their ends takes time quadratic in them."""
_ALLOWED = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_SPACE = re.compile(r"\s")
_DEFINITION = re.compile(r"^[ >\t]*(\[\^[^\]\s\[^]{1,64}\]:)(?=[ \t])", re.MULTILINE)
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def parse(markdown: str) -> Sequence[Token]:
    """The block tokens of `markdown`; control characters and lone surrogates become U+FFFD (`replace_unsafe`)."""
    env = {"footnotes": frozenset(_DEFINITION.findall(markdown)) if "[^" in markdown else frozenset()}
    return _parser_for(markdown).parse(replace_unsafe(markdown), env)


def replace_unsafe(text: str) -> str:
    """`text` with U+FFFD in place of what no platform can show: control characters and lone surrogates."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def is_allowed_link(address: str) -> bool:
    return _ALLOWED.match(address) is not None


def reveal_bidi(text: str) -> str:
    """`text` with its direction controls spelled out, so that they cannot reverse an address: `[U+202E]`."""
    return BIDI_CONTROLS.sub(lambda control: f"[U+{ord(control[0]):04X}]", text)


def _parser_for(markdown: str) -> MarkdownIt:
    return _parser(markdown.count("[") <= _BRACKETS, MAY_HAVE_ADDRESS.search(markdown) is not None)


@cache
def _parser(links: bool, addresses: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt

    from adapters.delivery.markdown.emphasis import EastAsianInline

    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True, "xhtmlOut": False})
    parser.inline = EastAsianInline()
    parser.enable(["table", "strikethrough"]).disable(["reference", "html_block", "html_inline"])
    parser.validateLink = is_allowed_link  # type: ignore[assignment, method-assign]
    parser.normalizeLink = _kept  # type: ignore[assignment, method-assign]
    parser.normalizeLinkText = str  # type: ignore[assignment, method-assign]
    if not links:
        parser.disable(["link", "image"])
    parser.block.ruler.before("table", "depth", _too_deep)
    parser.block.ruler.before("fence", "math", block_math, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    # As GitHub reads it: a fence, quote, list or heading with bars in its line is not a table's header.
    parser.block.ruler.at("table", lambda *_: False)
    parser.block.ruler.before("lheading", "table_last", table, {"alt": ["paragraph", "reference"]})
    parser.inline.terminator_re = TEXT_END[addresses]
    if addresses:
        parser.inline.ruler.after("text", "address", address)
    parser.inline.ruler.before("escape", "math", inline_math)
    parser.inline.ruler.before("link" if links else "autolink", "footnote", footnote)
    return parser


def _kept(address: str) -> str:
    """The address to the character, but for white space, which no platform takes in one."""
    return _SPACE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), address)


def _too_deep(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Takes the rest of a container that is nested too deep as one paragraph; the parser itself would drop it."""
    if silent or state.level < DEPTH:
        return False
    state.line = end_line
    state.push("paragraph_open", "p", 1).map = [start_line, end_line]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start_line, end_line, state.blkIndent, False).strip()
    inline.map = [start_line, end_line]
    inline.children = []
    state.push("paragraph_close", "p", -1)
    return True

"""Rules for markdown-it beyond CommonMark: bare addresses, mathematics, footnotes and tables that lose no cell.

Addresses and mathematics are read before escapes and emphasis, which would take letters out of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

MARKER = re.compile(r"(?:[-+*]|(\d{1,9})[.)])(?=[ \t]|$)")
"""Of a list's item. A line that begins with one is never the header of a table."""
DISPLAY = {"\\[": "\\]", "$$": "$$"}
"""What opens mathematics on lines of its own, and what closes it."""
_ENVIRONMENT = re.compile(
    r"\\begin(\{(?:align|aligned|alignat|equation|gather|gathered|multline|eqnarray|split|cases|[pbBvV]?matrix)\*?\})"
)
"""What is mathematics without delimiters, too."""
_AFTER_DISPLAY = re.compile(r"[ \t]*[.,;:!?]?[ \t]*$")
_MARKUP = r"[\n!$&*<\[\\\]_`~]"
_ADDRESS = r"(?<![a-z0-9])(?:https?://|www\.)(?=[^\s.])|(?<![\w.+@/-])[a-z0-9][\w.+-]{0,63}@(?=[a-z0-9])|(?<=[a-z0-9+.-])://(?=[^\s/])"
TEXT_END = {False: re.compile(_MARKUP), True: re.compile(f"{_MARKUP}|{_ADDRESS}", re.IGNORECASE)}
"""Where plain text may end: at markup, or, where there may be one, at the beginning of an address."""
MAY_HAVE_ADDRESS = re.compile(r"://|@|www\.", re.IGNORECASE)
_SCHEME_END = re.compile(r"[a-z][a-z0-9+.-]{0,20}$", re.IGNORECASE)
_EMAIL = re.compile(r"[a-z0-9][\w.+-]{0,63}@(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}[a-z]{1,63}(?![\w@-])", re.IGNORECASE)
_AMOUNT = re.compile(r"\d[^=^_+*<>\\]*\s[A-Za-z]{2,}(?:\s|$)|\d[\d.,]*[,;]\s")
"""Begins with a number and has words: dollars, not mathematics."""
_SUFFIX = re.compile(r"(?:th|st|nd|rd|s)\b")
_FOOTNOTE = re.compile(r"\[\^([^\]\s\[^]{1,64})\](:(?=[ \t]))?")
_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_FILLED = 1_000


_BOXED = re.compile(r"\\boxed\{(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*+\})*+\})*+\})*+\}")
_MARKS_AT_END = re.compile(r"(?<![:*\\])[:*]+$")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,31});")
_ENTITY_END = re.compile(r"&\w+$")
_FULL_WIDTH = re.compile("[\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]")
"""Punctuation that ends an address in texts without spaces."""
_PROTECTED = re.compile(r"(?<!`)(`{1,3})(?!`)[^`]+(?<!`)\1(?!`)|\\\(.{1,500}?\\\)|(?<![\w$])\$[^\s$][^$]*\$")
"""Code and mathematics within a table's row."""


@cache
def _host_and_path() -> re.Pattern[str]:
    """What may follow `https://`."""
    from linkify_it import LinkifyIt

    parts = LinkifyIt().re
    return re.compile(parts["src_auth"] + parts["src_host_port_strict"] + parts["src_path"], re.IGNORECASE)


@cache
def _any_host_and_path() -> re.Pattern[str]:
    """What may follow `://` where no link is made: any authority, `[::1]` too."""
    from linkify_it import LinkifyIt

    return re.compile(r"(?:[^\s<>()\[\]`\"'|/?#]|\[[0-9a-f:.]{2,45}\])*" + LinkifyIt().re["src_path"], re.IGNORECASE)


def address(state: StateInline, silent: bool) -> bool:
    """A bare `https://…`, `www.…` or e-mail address, to the character."""
    start, text = state.pos, state.src
    found = TEXT_END[True].match(text, start)
    if not found or len(found[0]) == 1:
        return False
    if found[0] == "://":
        return _unlinked(state, silent)
    if found[0].endswith("@"):
        email = _EMAIL.match(text, start)
        return email is not None and _link(state, silent, email[0], email[0], f"mailto:{email[0]}")
    has_scheme = "/" in found[0]
    whole = _host_and_path().match(text, found.end() if has_scheme else start)
    if not whole:
        return False
    written = _without_marks(text[max(0, start - 3) : start], text[start : whole.end()])
    if text.startswith(";", start + len(written)):
        written = _ENTITY_END.sub("", written)
    if len(written) <= len(found[0]) or not (has_scheme or "." in written[4:]):
        return False
    shown = _unescaped(written)
    return _link(state, silent, written, shown, shown if has_scheme else f"http://{shown}")


def _unlinked(state: StateInline, silent: bool) -> bool:
    """`ftp://…`, `s3://…`, `https://[::1]/…`: from `://` on text to the character, but no link."""
    text, start = state.src, state.pos
    scheme = _SCHEME_END.search(text, max(0, start - 21), start)
    whole = _any_host_and_path().match(text, start + 3)
    if not scheme or not whole:
        return False
    written = _without_marks(text[max(0, scheme.start() - 3) : scheme.start()], text[start : whole.end()])
    if len(written) <= 3:
        return False
    if not silent:
        state.push("text", "", 0).content = _unescaped(written)
    state.pos += len(written)
    return True


def _unescaped(address: str) -> str:
    return _ENTITY.sub(lambda entity: unescape(entity[0]), _ESCAPE.sub(r"\1", address))


def _without_marks(before: str, address: str) -> str:
    """Without what at its end belongs to the text: a colon, the marks that were opened right before it."""
    for mark in ("**", "~~"):
        if before.endswith(mark) and mark in address:
            address = address[: address.index(mark)]
    if punctuation := _FULL_WIDTH.search(address):
        address = address[: punctuation.start()]
    for closing in ("\\)", "\\]", "$", "`"):
        if address.endswith(closing):
            address = address.removesuffix(closing)
    address = _MARKS_AT_END.sub("", address)
    for mark in reversed(before):
        if mark not in "*_~" or not address.endswith(mark):
            break
        address = _MARKS_AT_END.sub("", address[:-1])
    return address


def _link(state: StateInline, silent: bool, written: str, shown: str, target: str) -> bool:
    if not silent:
        if state.linkLevel == 0:
            state.push("link_open", "a", 1).attrs = {"href": target}
            state.tokens[-1].markup = "linkify"
        state.push("text", "", 0).content = shown
        if state.linkLevel == 0:
            state.push("link_close", "a", -1).markup = "linkify"
    state.pos += len(written)
    return True


Places = dict[str, list[int]]
"""Where a text has each closing: found once, or a text of nothing but openings would take time quadratic in it."""


def math_at(text: str, start: int, places: Places) -> tuple[str, str] | None:
    r"""The source and the opening of the mathematics at `start`: `\(…\)`, `\[…\]`, `$$…$$`, `$…$` unless it is money.

    `\boxed{…}` needs no delimiters, so its opening is "".
    """
    if text[start] == "\\" and (boxed := _BOXED.match(text, start)):
        return boxed[0], ""
    opening = text[start : start + 2]
    if opening in ("\\(", "\\[", "$$"):
        end = _closing(text, start, opening, places)
        if opening == "\\[" and text.startswith("(", end + 2):  # a link that is escaped
            return None
        source = text[start + 2 : end]
        return (source, opening) if source.strip("\\ \t\n") and not text.startswith("$$$", start) else None
    if opening[0] == "$" and (source := _between_dollars(text, start)):
        return source, "$"
    return None


def inline_math(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    places: dict[str, Places] = state.env.setdefault("places", {})
    found = math_at(state.src, state.pos, places.setdefault(state.src, {}))
    if found is None:
        return False
    source, opening = found
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.markup = source, opening
    state.pos += len(source) + 2 * len(opening)
    return True


def _closing(text: str, start: int, opening: str, places: Places) -> int:
    """Where the closing is, or right after the opening."""
    closing = {"\\(": "\\)", **DISPLAY}[opening]
    if closing not in places:
        found = re.finditer(r"(\\*)" + re.escape(closing), text)
        places[closing] = [each.end() - 2 for each in found if len(each[1]) % 2 == 0]
    index = bisect_left(places[closing], start + 2)
    return places[closing][index] if index < len(places[closing]) else start + 2


def _between_dollars(text: str, start: int) -> str:
    if start and (text[start - 1].isalnum() or text[start - 1] in "$\\"):
        return ""
    end = text.find("$", start + 1)
    while end > 0 and _is_escaped(text, end):
        end = text.find("$", end + 1)
    source = text[start + 1 : max(end, 0)]
    if not source or source != source.strip() or "`" in source or text.startswith("$", end + 1):
        return ""
    after = text[end + 1 : end + 4]
    is_word = after[:1].isalnum() and after[0].isascii() and not _SUFFIX.match(after)
    return "" if is_word or _AMOUNT.match(source) else source


def _is_escaped(text: str, place: int) -> bool:
    start = place
    while start and text[start - 1] == "\\":
        start -= 1
    return (place - start) % 2 == 1


def opens_display(line: str) -> str:
    r"""The closing of the mathematics that `line`, without its indentation, begins: `\]`, `$$`, or "" for none.

    That of `\begin{align}` is `\end{align}`. What follows a closing on the same line is punctuation at most.
    """
    if line[:1] not in ("\\", "$"):
        return ""
    environment = _ENVIRONMENT.match(line)
    closing = f"\\end{environment[1]}" if environment else DISPLAY.get(line[:2], "")
    place = line.find(closing, 2) if closing else -1
    if place < 0 and closing == "\\]" and line.count("]") > line.count("[") - 1:
        return ""  # a bracket that is none of a link's: \[text](…)
    if place < 0 or (_AFTER_DISPLAY.match(line, place + len(closing)) and line[2:place].strip()):
        return closing
    return ""


def opening_of(closing: str) -> str:
    r"""What `closing` closes: `\[`, `$$`, `\begin{align}`."""
    return {"\\]": "\\["}.get(closing, closing.replace("\\end", "\\begin"))


def closes_display(line: str, closing: str) -> bool:
    """Whether a further line ends the mathematics."""
    return closing in line


def block_math(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """Mathematics on lines of its own.

    It ends with its closing, before a blank line or a fence, or with its container. Where words follow the closing, the
    lines are a paragraph.
    """
    if state.is_code_block(start_line):
        return False
    first = _line(state, start_line)
    closing = opens_display(first)
    if not closing:
        return False
    if silent:
        return True
    number, place = start_line, first.find(closing, 2)
    while place < 0 and number + 1 < end_line and state.sCount[number + 1] >= state.blkIndent:
        line = _line(state, number + 1)
        if not line or line.startswith(("```", "~~~")):
            break
        number += 1
        place = line.find(closing)
    source = state.getLines(start_line, number + 1, state.blkIndent, False).strip(" \t\n")
    state.line = number + 1
    end = source.rfind(closing) if place >= 0 else len(source)
    if place < 0 or (_AFTER_DISPLAY.match(source, end + len(closing)) and source[2:end].strip()):
        token = state.push("math_block" if place >= 0 else "math_open", "math", 0)
        token.markup, token.info = (
            first[:2] if closing in DISPLAY.values() else "",
            source[end + len(closing) :].strip(),
        )
        token.content = source[2:end] if token.markup else source[: end + len(closing)]
        token.map = [start_line, number + 1]
        return True
    opening_token = state.push("paragraph_open", "p", 1)
    opening_token.map, opening_token.meta = [start_line, number + 1], {"display": True}
    inline = state.push("inline", "", 0)
    inline.content, inline.map, inline.children = source, [start_line, number + 1], []
    state.push("paragraph_close", "p", -1)
    return True


def footnote(state: StateInline, silent: bool) -> bool:
    """`[^1]`, and `[^name]` where this text defines it: `[^name]: …` at the beginning of a line."""
    found = _FOOTNOTE.match(state.src, state.pos)
    if not found or not (found[1].isdigit() or f"[^{found[1]}]:" in state.env.get("footnotes", ())):
        return False
    defines = found[2] is not None and (state.pos == 0 or state.src[state.pos - 1] == "\n")
    if not silent:
        token = state.push("footnote", "", 0)
        token.content, token.info = found[1], ":" if defines else ""
    state.pos = found.end() if defines else found.end(1) + 1
    return True


def table(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A table as GitHub reads it, but for what GitHub hides: cells beyond the header's belong to the last one."""
    from markdown_it.rules_block import table as github_table

    if start_line + 1 >= end_line or MARKER.match(_line(state, start_line)):
        return False
    is_underline = not _line(state, start_line + 1).strip("-")
    begin = len(state.tokens)
    if is_underline or not github_table(state, start_line, end_line, silent=True):
        return False
    if not silent:
        missing = _missing_cells(state, start_line + 1, end_line)
        github_table(state, start_line, start_line + 2 + len(missing), silent=False)
        state.env["filled"] = state.env.get("filled", 0) + sum(missing[: state.line - start_line - 2])
        _fill_rows(state, begin)
    return True


def _most_filled(source: str) -> int:
    """How many cells the rows of a document may lack, in all: 2 kB could ask for 65,000. What lacks more is text."""
    return max(_FILLED, len(source) // 4)


def _missing_cells(state: StateBlock, delimiters: int, end_line: int) -> list[int]:
    """Of each row, how many cells are to be added; up to where they would be too many."""
    columns, left = len(_split(_line(state, delimiters), ())), _most_filled(state.src) - state.env.get("filled", 0)
    missing: list[int] = []
    for number in range(delimiters + 1, end_line):
        line = _line(state, number)
        lacking = max(0, columns - len(_split(line, ()))) if line else 0
        left -= lacking
        if not line or left < 0:
            break
        missing.append(lacking)
    return missing


def _fill_rows(state: StateBlock, begin: int) -> None:
    row: list[Token] = []
    columns = 0
    for token in state.tokens[begin:]:
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token)
        elif token.type == "tr_close" and row:
            columns = columns or len(row)
            line = _line(state, row[0].map[0] if row[0].map else 0)
            for cell, content in zip(row, cells(line, columns), strict=False):
                cell.content = _lines_of(content)


def cells(line: str, columns: int) -> list[str]:
    """The cells of one row, at most so many.

    Where there are more, bars within code or mathematics do not divide, and what is left over belongs to the last one.
    """
    found = _split(line, ())
    if len(found) > columns:
        again = _split(line, _protected(line))
        found = again if len(again) >= columns else found
    if len(found) > columns:
        found[columns - 1 :] = ["|".join(found[columns - 1 :])]
    return [cell.strip() for cell in found]


def _split(line: str, protected: Sequence[tuple[int, int]]) -> list[str]:
    start, result, spans = 0, list[str](), iter(protected)
    span = next(spans, None)
    for bar in re.finditer(r"(?<!\\)\|", line):
        while span and span[1] <= bar.start():
            span = next(spans, None)
        if not (span and span[0] < bar.start()):
            result.append(line[start : bar.start()])
            start = bar.end()
    result.append(line[start:])
    if not result[0]:
        del result[0]
    if result and not result[-1]:
        del result[-1]
    return [cell.replace("\\|", "|") for cell in result]


def _protected(line: str) -> list[tuple[int, int]]:
    return [span.span() for span in _PROTECTED.finditer(line)]


def _lines_of(cell: str) -> str:
    """The cell with line ends for `<br>` outside of code."""
    if "<" not in cell:
        return cell
    result, protected = "", iter(_protected(cell))
    position = 0
    for start, end in protected:
        result += _BREAK.sub("\n", cell[position:start]) + cell[start:end]
        position = end
    return result + _BREAK.sub("\n", cell[position:])


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip(" \t")

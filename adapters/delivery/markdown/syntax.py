"""Rules for markdown-it beyond CommonMark: mathematics, footnotes and tables that lose no cell.

Mathematics is read before escapes and emphasis, which would take letters out of it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
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
_AMOUNT = re.compile(r"\d[^=^_+*<>\\]*\s[A-Za-z]{2,}(?:\s|$)|\d[\d.,]*[,;]\s(?![\d\s.,;+-]*$)")
"""Begins with a number and has words: dollars, not mathematics. `1, 2, 3` are numbers alone."""
_OPENS_NEXT = re.compile(r"(?:^|[\s(\[])[*_~]+$|\*\*$|~~$|[(\[{]$")
"""Ends with what opens something around the next amount: `$5/**$6**`."""
_MARKS = 8
_SUFFIX = re.compile(r"(?:th|st|nd|rd|s)\b")
_FOOTNOTE = re.compile(r"\[\^([^\]\s\[^]{1,64})\](:(?=[ \t]))?")
_DELIMITERS = re.compile(r"[ \t|:-]+")
_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_FILLED = 1_000


_BOXED = re.compile(r"\\boxed\{(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*+\})*+\})*+\})*+\}")
_PROTECTED = re.compile(r"(?<!`)(`{1,3})(?!`)[^`]+(?<!`)\1(?!`)|\\\(.{1,500}?\\\)|(?<![\w$])\$[^\s$][^$]*\$")
"""Code and mathematics within a table's row."""


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
        is_math = source.strip("\\ \t\n") and not text.startswith("$$$", start) and not _is_address(source)
        return (source, opening) if is_math else None
    if opening[0] == "$" and (source := _between_dollars(text, start)) and not _is_address(source):
        return source, "$"
    return None


def _is_address(source: str) -> bool:
    """Whether brackets that were escaped for no reason hold an address, or words with one."""
    return "://" in source and "\\" not in source


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
    return "" if is_word or _AMOUNT.match(source) or _OPENS_NEXT.search(source[-_MARKS:]) else source


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
    begin, source = len(state.tokens), state.src
    _hide_bars(state, start_line)
    is_table = not is_underline and github_table(state, start_line, end_line, silent=True)
    if is_table and not silent:
        missing = _missing_cells(state, start_line + 1, end_line)
        github_table(state, start_line, start_line + 2 + len(missing), silent=False)
    state.src = source
    if not is_table:
        return False
    if not silent:
        state.env["filled"] = state.env.get("filled", 0) + sum(missing[: state.line - start_line - 2])
        _fill_rows(state, begin)
    return True


def _hide_bars(state: StateBlock, line: int) -> None:
    """Let the parser not see the bars within the header's code and mathematics, where they would be too many cells."""
    start, end = state.bMarks[line] + state.tShift[line], state.eMarks[line]
    header = state.src[start:end]
    if (hidden := header_with_fitting_bars(header, _line(state, line + 1))) != header:
        state.src = state.src[:start] + hidden + state.src[end:]


def header_with_fitting_bars(header: str, delimiters: str) -> str:
    """The header of a table, with other signs in place of bars within code and mathematics if only so it has as many
    cells as the line below it, which GitHub wants."""
    if "|" not in header or not _DELIMITERS.fullmatch(delimiters):
        return header
    if len(_split(header.strip(), ())) == (columns := len(_split(delimiters.strip(), ()))):
        return header
    hidden = header
    for start, end in _protected(header):
        hidden = hidden[:start] + hidden[start:end].replace("|", "\N{BROKEN BAR}") + hidden[end:]
    return hidden if len(_split(hidden.strip(), ())) == columns else header


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

"""What must survive on every platform, asked of what cmark-gfm reads in the same Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.conformance.chats import Shown
from tests.conformance.reading import Run, letters, read_html, reference_html

_JOINT = re.compile(r"^[ \t]*(?:\n[ \t]*(?=\n))*\n?")
_BLANK_LINES = re.compile(r"^(?:[ \t]*\n)+")
_FOLLOWED = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


def broken(markdown: str, shown: Shown) -> Iterator[str]:
    """Each law that the reading breaks, in words; nothing where all hold."""
    runs = read_html(reference_html(markdown))
    if lost := missing("".join(letters(text) for _, text in runs), letters(shown.text + "".join(shown.addresses))):
        yield f"lost from {lost!r}"
    for address in followed(runs):
        if f"://{address.removeprefix('mailto:')}" in markdown:
            continue  # cmark-gfm finds e-mail addresses within other addresses
        if not any(same_address(address, each) for each in [*shown.addresses, *shown.text.split()]):
            yield f"no longer leads to {address!r}"


def lost_blocks(markdown: str, shown: Shown) -> Iterator[str]:
    """Code blocks that cannot be copied to the byte, but for blanks at their end, which clients cut."""
    for marks, text in read_html(reference_html(markdown)):
        if "pre" in marks and text.strip() and not any(text.rstrip() == block.rstrip() for block in shown.blocks):
            yield f"not to be copied: {text!r}"


def torn_blocks(markdown: str, shown: list[Shown]) -> Iterator[str]:
    """Code blocks that are not the code blocks of the messages put together, to the byte.

    Where one is cut, only blanks at a line's end and blank lines may be lost, which clients do not show:
    the next line begins with all of its indentation.
    """
    parts = [block for message in shown for block in message.blocks]
    for code in _code(markdown):
        if not any(begins_with(code, parts[first:]) for first in range(len(parts))):
            yield f"not to be put together: {code!r}"


def unprinted_code(markdown: str, printed: str) -> Iterator[str]:
    """Lines of code that a terminal does not show as they were written."""
    lines = {line.rstrip() for line in printed.split("\n")}
    for code in _code(markdown):
        for line in code.split("\n"):
            if not any(each.endswith(line.rstrip()) for each in lines):
                yield f"not printed: {line!r}"


def _code(markdown: str) -> Iterator[str]:
    for marks, text in read_html(reference_html(markdown)):
        if "pre" in marks and text.strip():
            yield text.strip("\n").rstrip()


def begins_with(code: str, parts: list[str]) -> bool:
    """Whether `code` is the first of the parts one after the other."""
    left = code
    for part in parts:
        part = _BLANK_LINES.sub("", part).rstrip()
        if not part:
            continue
        left = next((rest for rest in (left, _JOINT.sub("", left, count=1)) if rest.startswith(part)), "")
        if not left:
            return False
        left = left[len(part) :]
        if not left.strip():
            return True
    return False


def missing(wanted: str, shown: str) -> str:
    """What is left of `wanted` at the place from which on it is no longer found in `shown`, in order; "" if all is."""
    position = 0
    for index, char in enumerate(wanted):
        position = shown.find(char, position) + 1
        if not position:
            return wanted[index : index + 20]
    return ""


def followed(runs: list[Run]) -> Iterator[str]:
    """The addresses that may be followed: http, https and mailto, of a picture within a link the link's alone."""
    for marks, _ in runs:
        address = next((mark[2:] for mark in marks if mark.startswith("a ")), "")
        if _FOLLOWED.match(address):
            yield address


def same_address(one: str, other: str) -> bool:
    return _bare(one) == _bare(other)


def _bare(address: str) -> str:
    """An address as it may also be written: its scheme left out, characters as percents or not.

    The full stop of a Chinese or Arabic sentence is none of the address's, though cmark-gfm takes it in.
    """
    from urllib.parse import unquote

    return unquote(re.sub(r"^(?:https?://|mailto:)", "", address, flags=re.IGNORECASE)).strip("/。，、،؛؟.,:;()<>")

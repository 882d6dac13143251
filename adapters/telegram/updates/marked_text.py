"""What somebody wrote, as Markdown where their app shows it marked. Pure.

Apps send code, blocks of code and links with words of their own as plain text and entities: the marks and the address
are not in the text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from telegram import MessageEntity

_TICKS = re.compile(r"`+")


def marked_text(
    text: str, entities: Mapping[MessageEntity, str], is_left_out: Callable[[MessageEntity, str], bool]
) -> str:
    """The text with code between backticks, links with their addresses, and without the entities that are left out.

    Args:
        entities: each with the text that it covers; they count in UTF-16 units.
    """
    encoded = text.encode("utf-16-le", "surrogatepass")
    units = [encoded[at : at + 2] for at in range(0, len(encoded), 2)]
    opening, closing = defaultdict[int, str](str), defaultdict[int, str](str)
    for entity, covered in sorted(entities.items(), key=lambda found: (found[0].offset, -found[0].length)):
        start, end = (_whole(units, at) for at in (entity.offset, entity.offset + entity.length))
        if is_left_out(entity, covered):
            units[start:end] = [b""] * (end - start)
        elif (marks := _marks(entity, covered, _ends_line(units[:start]), _begins_line(units[end:]))) is not None:
            opening[start] += marks[0]
            closing[end] = marks[1] + closing[end]
    pieces = [
        closing[at].encode("utf-16-le") + opening[at].encode("utf-16-le") + unit
        for at, unit in enumerate([*units, b""])
    ]
    return b"".join(pieces).decode("utf-16-le", "surrogatepass")


def _whole(units: list[bytes], at: int) -> int:
    """The place, behind the character that it would cut in two."""
    at = max(0, min(at, len(units)))
    is_second_half = at < len(units) and units[at] and 0xDC <= units[at][1] <= 0xDF
    return at + 1 if is_second_half else at


def _ends_line(units: list[bytes]) -> bool:
    return not any(units) or units[-1] == b"\n\0"


def _begins_line(units: list[bytes]) -> bool:
    return not any(units) or units[0] == b"\n\0"


def _marks(entity: MessageEntity, covered: str, begins_line: bool, ends_line: bool) -> tuple[str, str] | None:
    """What Markdown has before and behind the text; None where nothing of it is lost."""
    if entity.type == MessageEntity.TEXT_LINK and entity.url:
        return "[", f"]({entity.url})"
    longest = max(map(len, _TICKS.findall(covered)), default=0)
    if entity.type == MessageEntity.CODE:
        ticks, gap = "`" * (longest + 1), " " if longest else ""
        return f"{ticks}{gap}", f"{gap}{ticks}"
    if entity.type == MessageEntity.PRE:
        fence = "`" * max(3, longest + 1)
        before, after = "" if begins_line else "\n", "" if ends_line else "\n"
        return f"{before}{fence}{entity.language or ''}\n", f"\n{fence}{after}"
    return None

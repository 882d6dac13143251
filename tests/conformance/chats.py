"""What a person sees on Discord, on Telegram and in a terminal, read from what is sent: the oracle of the chats.

Written from how the clients read; no code is shared with the renderers. Each reading has the text in order, the
addresses that can be followed, and the code blocks as they are copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from adapters.delivery.renderers.telegram import TelegramText

_PUNCTUATION = re.compile(r"\\([^A-Za-z0-9\s])")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_FENCED = re.compile(r"```(?:([\w+#.-]{1,32})?\n)?(.*?)```", re.DOTALL)
_QUOTED = re.compile(r" *> [^\n]*(?:\n *> [^\n]*)*\n?")
_TICKED = re.compile(r"(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_MASKED = re.compile(r"\[((?:\\.|[^\[\]\\])*)\]\((?:<([^\s<>]*)>|([^\s<>()]*))\)")
_ANGLED = re.compile(r"<(https?://[^\s>]+|mailto:[^\s>]+)>", re.IGNORECASE)
_BARE = re.compile(r"https?://[^\s<>]+")
_STYLE = re.compile(r"\*{1,3}|__|~~|\|\|")
_LINE = re.compile(r"^(?:-# |#{1,3} |> |>>> )", re.MULTILINE)


@dataclass
class Shown:
    """`text` holds code too; `addresses` are where links lead; `blocks` are the code blocks without their last \\n."""

    text: str = ""
    addresses: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)


def on_discord(sent: str) -> Shown:
    """As Discord's client reads the message: quotes and code first, then links, then escapes and styles."""
    shown = Shown()
    plain = position = 0

    def say(end: int) -> None:
        shown.text += _discord_inline(sent[plain:end], shown)

    while position < len(sent):
        starts_line = position == 0 or sent[position - 1] == "\n"
        if starts_line and (quote := _QUOTED.match(sent, position)):
            say(position)
            inside = on_discord(re.sub(r"^ *> ?", "", quote[0], flags=re.MULTILINE))
            shown.text += inside.text
            shown.addresses += inside.addresses
            shown.blocks += inside.blocks
            plain = position = quote.end()
        elif (fence := _FENCED.match(sent, position)) and not _is_escaped(sent, position):
            say(position)
            shown.blocks.append(fence[2].removesuffix("\n"))
            shown.text += f"\n{fence[2]}\n"
            plain = position = fence.end()
        elif (code := _TICKED.match(sent, position)) and not _is_escaped(sent, position):
            if "\n" in code[2]:  # code of several lines: what has three backticks in it can be no fence there
                say(position)
                shown.blocks.append(code[2].removeprefix("\n").removesuffix("\n"))
                shown.text += f"\n{code[2]}\n"
                plain = code.end()
            position = code.end()
        else:
            position += 1
    say(position)
    return shown


def _discord_inline(sent: str, shown: Shown) -> str:
    text, position = [], 0
    while position < len(sent):
        if escaped := _PUNCTUATION.match(sent, position):
            text.append(escaped[1])
            position = escaped.end()
        elif code := _TICKED.match(sent, position):
            text.append(code[2])
            position = code.end()
        elif masked := _MASKED.match(sent, position):
            shown.addresses.append(masked[2] or masked[3] or "")
            text.append(_discord_inline(masked[1], shown))
            position = masked.end()
        elif found := (_ANGLED.match(sent, position) or _BARE.match(sent, position)):
            address = found[1] if found.re is _ANGLED else found[0]
            shown.addresses.append(address)
            text.append(address)
            position = found.end()
        elif found := _STYLE.match(sent, position) or _line_mark(sent, position):
            position = found.end()
        else:
            text.append(sent[position])
            position += 1
    return "".join(text)


def _line_mark(sent: str, position: int) -> re.Match[str] | None:
    starts_line = position == 0 or sent[position - 1] == "\n"
    return _LINE.match(sent, position) if starts_line else None


def _is_escaped(sent: str, position: int) -> bool:
    count = 0
    while position and sent[position - 1] == "\\":
        count, position = count + 1, position - 1
    return count % 2 == 1


def on_telegram(sent: TelegramText) -> Shown:
    """The text as it is, with the addresses and the code of its entities, cut as Telegram counts."""
    units = sent.text.encode("utf-16-le", "surrogatepass")

    def part(offset: int, length: int) -> str:
        return units[2 * offset : 2 * (offset + length)].decode("utf-16-le", "surrogatepass")

    shown = Shown(sent.text)
    for entity in sent.entities:
        inside = part(entity.offset, entity.length)
        if entity.type == "pre":
            shown.blocks.append(inside)
        elif entity.type == "text_link":
            shown.addresses.append(entity.url)
    shown.addresses += _BARE.findall(sent.text)
    return shown


def in_terminal(printed: str) -> Shown:
    """What stands on the screen: a line that was erased to be styled again counts once."""
    lines = list[str]()
    for line in printed.split("\n"):
        before, up, _ = line.rpartition("A\r\x1b[J")
        rows = len(_ANSI.sub("", re.split(r"\x1b\[2K", before)[0]).rpartition("\x1b[")[0]) - 1
        if up and (above := int(before.rpartition("\x1b[")[2]) - max(0, rows) // 80) > 0:
            del lines[-above:]
        lines.append(re.split(r"\x1b\[(?:2K|J)", line)[-1])
    text = _ANSI.sub("", "\n".join(lines))
    return Shown(text, _BARE.findall(text))

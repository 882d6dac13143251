"""Markdown as Discord reads it. What Discord cannot show becomes something that it can; nothing can mention anyone."""

from __future__ import annotations

import re
from itertools import groupby

from adapters.delivery.markdown.tree import CodeBlock, Item, Link, List, plain
from adapters.delivery.renderers.plain.walker import Walker

_SPECIAL = re.compile(r"[\\*_~`|<>@\[\]]|(?<!\w)#|:(?=\w+:|//)")
_LINE_START = re.compile(r"(?=[-+#>])|(?<=\d)(?=[.)])")
_LISTED = re.compile(r"[-+]|\d{1,9}[.)]")
_MARKS = {"bold": "**", "italic": "*", "strike": "~~"}
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}$", re.ASCII)
_TICKS = re.compile(r"`+")
_ANGLES = re.compile("[<>]")
_INVITATION = re.compile(
    r"(?:https?://)?(?<![\w.-])(?:\w+\.)?(?:discord\.(?:gg|gift|new)|discord(?:app)?\.com/(?:invite|oauth2|template|gifts|events"
    r"|application-directory|activities|shop|quests))/[\w/?=&%+.-]*[\w/]",
    re.IGNORECASE,
)
"""What Discord unfolds into a card with a button wherever it stands, in angle brackets and masked links too, but not in
code: invitations to servers, apps, templates, gifts. A model must not hand those out."""


def render_discord(markdown: str) -> str:
    """The chunk as Discord Markdown.

    Characters that Discord would read as its own markup have a backslash, which it does not show; inside code nothing
    is changed, so it stays copyable.
    """
    walker = _Discord()
    walker.walk(markdown)
    return "".join(walker.rendered)


class _Discord(Walker):
    quote_prefix = "> "

    def __init__(self) -> None:
        super().__init__()
        self._open = {"bold": 0, "italic": 0, "strike": 0}

    @property
    def rendered(self) -> list[str]:
        return self._pieces

    def open(self, kind: str, detail: str = "") -> None:
        if kind == "heading" and int(detail) <= 3:
            self.emit("#" * int(detail) + " ")
        elif kind == "heading":
            self.open("bold")
        elif kind in _MARKS:
            if not self._open[kind]:
                self.emit(_MARKS[kind])
            self._open[kind] += 1

    def close(self, kind: str, detail: str = "") -> None:
        if kind == "heading" and int(detail) > 3:
            self.close("bold")
        elif kind in _MARKS:
            self._open[kind] -= 1
            if not self._open[kind]:
                self.emit(_MARKS[kind])

    def text(self, text: str) -> None:
        end = 0
        for invitation in _INVITATION.finditer(text):
            if end < invitation.start():
                self._words(text[end : invitation.start()])
            self.code(invitation[0])
            end = invitation.end()
        if end < len(text) or not end:
            self._words(text[end:])

    def _words(self, text: str) -> None:
        escaped = _escaped(text)
        if self.at_line_start() and _LISTED.match(escaped):
            escaped = _LINE_START.sub(r"\\", escaped, count=1)
        self.emit(escaped)

    def link(self, link: Link) -> None:
        label, address = plain(link.children), link.address
        if address.lower().startswith("mailto:"):
            self.label(link.children)
            self.text("" if link.bare else f" ({address[len('mailto:') :]})")
        elif _INVITATION.search(address):
            if label != address:
                self.label(link.children)
                self.emit(" ")
            self.code(address)
        elif label == address and not _ANGLES.search(address):
            self.emit(f"<{address}>")
        elif "://" in label:  # Discord makes no link of a label that looks like an address
            self.label(link.children)
            self.emit(f" (<{_bracketed(address)}>)")
        else:
            self.emit("[")
            self.label(link.children)
            self.emit(f"](<{_bracketed(address)}>)")

    def code(self, code: str) -> None:
        ticked = _ticked(code)
        if ticked is None:
            self.text(code)
        else:
            self.emit(ticked)

    def caption(self, block: CodeBlock) -> str:
        """With the language, where no fence can have it."""
        has_fence = "```" not in block.code or _block_in_ticks(block.code) is None
        return block.caption if has_fence and _LANGUAGE.match(block.language) else block.info.removeprefix(":")

    def code_block(self, code: str, language: str) -> None:
        """Discord ends a block at the first three backticks, whatever opened it. Code with three is in one or two."""
        if not _LANGUAGE.match(language):
            language = ""
        if "```" not in code:
            end = "" if code.endswith("\n") else "\n"
            block: str | None = f"```{language}\n{code}{end}```"
        else:
            block = _block_in_ticks(code)
        if self._marker:
            self.emit("\n")
        # A list's indentation would become a part of the code.
        prefixes, self._prefixes = self._prefixes, [prefix for prefix in self._prefixes if prefix == self.quote_prefix]
        if block is None:
            self._in_parts(code, language)
        else:
            self.emit(block)
        self._prefixes = prefixes

    def _in_parts(self, code: str, language: str) -> None:
        """Nothing holds all of it: what is without three backticks is in blocks, and each line with them by itself."""
        parts = groupby(code.removesuffix("\n").split("\n"), key=lambda line: "```" in line)
        for number, (is_alone, lines) in enumerate(parts):
            if number:
                self.emit("\n")
            if not is_alone:
                self.emit("```" + language + "\n" + "\n".join(lines) + "\n```")
                continue
            for index, line in enumerate(lines):
                if index:
                    self.emit("\n")
                self.code(line)

    def marker(self, list_: List, item: Item) -> str:
        """Discord counts on from the first number by itself; one that it would change is no list's for it."""
        if not list_.ordered or _is_counted(list_):
            return super().marker(list_, item)
        return f"{item.marker[:-1]}\\{item.marker[-1]} "


def _is_counted(list_: List) -> bool:
    first = list_.items[0].marker[:-1]
    return (
        first.isdigit()
        and all(item.marker == f"{number}." for number, item in enumerate(list_.items, int(first)))
        and first != "0"
    )


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _bracketed(address: str) -> str:
    """The address with percents for what would end it there: brackets without a partner, backslashes."""
    if address.count("(") != address.count(")"):
        address = address.replace("(", "%28").replace(")", "%29")
    return address.replace("<", "%3C").replace(">", "%3E").replace("\\", "%5C")


def _block_in_ticks(code: str) -> str | None:
    return _ticked("\n" + code, (2, 1))


def _ticked(code: str, counts: tuple[int, int] = (1, 2)) -> str | None:
    """`code` between as many backticks as it has nowhere in a row; three would begin a block."""
    runs = {len(run) for run in _TICKS.findall(code)}
    ticks = next(("`" * count for count in counts if count not in runs), None)
    if ticks is None or not code:
        return None
    before, after = " " if code.startswith("`") else "", " " if code.endswith("`") else ""
    return f"{ticks}{before}{code}{after}{ticks}"

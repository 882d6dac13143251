"""Markdown as Discord reads it. What Discord cannot show becomes something that it can; nothing can mention anyone."""

from __future__ import annotations

import re

from adapters.delivery.renderers.walk import Walker

_SPECIAL = re.compile(r"[\\*_~`|<>@\[\]]|(?<!\w)#|:(?=\w+:)")
_LINE_START = re.compile(r"(?=[-+#>])|(?<=\d)(?=[.)])")
_ADDRESS = re.compile(r"https?://[^\s<>]*[^\s<>.,:;!?)'\"\]]")
_MARKS = {"bold": "**", "italic": "*", "strike": "~~"}
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}$")


def render_discord(markdown: str) -> str:
    """The chunk as Discord Markdown.

    Characters that Discord would read as its own markup have a backslash, which it does not show; inside code nothing
    is changed, so it stays copyable. A block that holds three backticks cannot be a code block there and is plain text.
    """
    walker = _Discord()
    walker.walk(markdown)
    return "".join(walker.rendered)


class _Discord(Walker):
    quote_prefix = "> "

    def __init__(self) -> None:
        super().__init__()
        self._address = ""

    @property
    def rendered(self) -> list[str]:
        return self._pieces

    def open(self, kind: str, detail: str = "") -> None:
        if kind == "heading":
            self.emit("#" * int(detail) + " " if int(detail) <= 3 else "**")
        elif kind == "link":
            self._address = detail
            self.emit("[")
        elif kind in _MARKS:
            self.emit(_MARKS[kind])

    def close(self, kind: str, detail: str = "") -> None:
        if kind == "heading" and int(detail) > 3:
            self.emit("**")
        elif kind == "link":
            self.emit(f"](<{self._address.replace('>', '%3E')}>)")
        elif kind in _MARKS:
            self.emit(_MARKS[kind])

    def text(self, text: str) -> None:
        if self._links:
            self.emit(_escaped(text))
            return
        start = 0
        for address in _ADDRESS.finditer(text):
            self.emit(self._line_escaped(text[start : address.start()]))
            self.emit(f"<{address[0]}>")
            start = address.end()
        self.emit(self._line_escaped(text[start:]))

    def code(self, code: str) -> None:
        if "``" in code or code.strip("`") != code:
            self.emit(_escaped(code))
        else:
            ticks = "``" if "`" in code else "`"
            self.emit(f"{ticks}{code}{ticks}")

    def code_block(self, code: str, language: str) -> None:
        if "```" in code or code.endswith("`"):
            self.emit("\n".join(_LINE_START.sub(r"\\", _escaped(line), count=1) for line in code.splitlines()))
            return
        named = language if _LANGUAGE.match(language) else ""
        end = "" if code.endswith("\n") else "\n"
        if self._marker:
            self.emit("\n")
        # A list's indentation would become a part of the code.
        prefixes, self._prefixes = self._prefixes, [prefix for prefix in self._prefixes if prefix == self.quote_prefix]
        self.emit(f"```{named}\n{code}{end}```")
        self._prefixes = prefixes

    def _line_escaped(self, text: str) -> str:
        escaped = _escaped(text)
        if self.at_line_start() and re.match(r"[-+]|\d{1,9}[.)]", escaped):
            return _LINE_START.sub(r"\\", escaped, count=1)
        return escaped


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)

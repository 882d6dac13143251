"""Markdown as Telegram's plain text and entities, which cannot fail to parse."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from adapters.delivery.renderers.walk import Walker

_KINDS = {"bold": "bold", "italic": "italic", "strike": "strikethrough", "heading": "bold", "quote": "blockquote"}


@dataclass(frozen=True, slots=True)
class Entity:
    """A Bot API `MessageEntity`: `offset` and `length` in UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class TelegramText:
    text: str
    entities: tuple[Entity, ...]

    @property
    def units(self) -> int:
        """The length as Telegram counts it, in UTF-16 units."""
        return utf16_units(self.text)


def utf16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def render_telegram(markdown: str) -> TelegramText:
    """The chunk as text and entities: nested ones in the order of their beginning, none empty."""
    walker = _Telegram()
    walker.walk(markdown)
    text = "".join(walker.rendered).rstrip()
    return TelegramText(text, tuple(_in_units(walker.spans, text)))


def _in_units(spans: list[Entity], text: str) -> list[Entity]:
    offsets = [0, *accumulate(1 if ord(char) < 0x10000 else 2 for char in text)]
    entities = []
    for span in sorted(spans, key=lambda span: (span.offset, -span.length)):
        end = min(span.offset + span.length, len(text))
        while end > span.offset and text[end - 1].isspace():  # Telegram trims them, and counts again
            end -= 1
        if end > span.offset:
            start = offsets[span.offset]
            entities.append(Entity(span.type, start, offsets[end] - start, span.url, span.language))
    return entities


class _Telegram(Walker):
    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Entity] = []
        self._length = 0
        self._counted = 0
        self._opened: list[tuple[str, int, str]] = []

    @property
    def rendered(self) -> list[str]:
        return self._pieces

    def _here(self) -> int:
        self._length += sum(map(len, self._pieces[self._counted :]))
        self._counted = len(self._pieces)
        return self._length

    def open(self, kind: str, detail: str = "") -> None:
        self.emit("")
        self._opened.append((kind, self._here(), detail))

    def close(self, kind: str, detail: str = "") -> None:
        for index in range(len(self._opened) - 1, -1, -1):
            name, start, address = self._opened[index]
            if name == kind:
                del self._opened[index]
                type_ = "text_link" if kind == "link" else _KINDS[kind]
                self.spans.append(Entity(type_, start, self._here() - start, url=address if kind == "link" else ""))
                return

    def text(self, text: str) -> None:
        self.emit(text)

    def code(self, code: str) -> None:
        self._spanned(code, "code", "")

    def code_block(self, code: str, language: str) -> None:
        self._spanned(code.removesuffix("\n"), "pre", language)

    def _spanned(self, code: str, kind: str, language: str) -> None:
        self.emit("")
        start = self._here()
        prefixes, self._prefixes = self._prefixes, []
        self.emit(code)
        self._prefixes = prefixes
        self.spans.append(Entity(kind, start, self._here() - start, language=language))

"""One frame as Telegram shows it: text with entities, and the buttons under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity

from adapters.delivery.channel import Frame, ThinkingView
from adapters.delivery.markdown.commonmark import replace_unsafe
from adapters.delivery.renderers.telegram import Entity, TelegramText, quieted, render_telegram, utf16_units
from adapters.telegram.outbound.callback_data import action_data
from bots import wording

MESSAGE_UNITS = 4096
MOST_ENTITIES = 100
"""Telegram ignores further ones."""
_KEPT_FIRST = ("code", "pre", "text_link", "expandable_blockquote")
"""In this order: a name that lost its `code` would notify somebody."""
_REMEMBERED = 2
"""A message that is full, and the one that grows behind it."""
_NOTHING = "…"
"""Telegram takes no message without a visible character."""


class Renderer:
    """Renders the frames of one reply. A text is measured and then sent with other words around it: it is read once."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, bool], TelegramText] = {}

    def __call__(self, frame: Frame) -> TelegramText:
        """Reasoning in an expandable quote, then the text, then the bot's own words around it."""
        page = _Page()
        if frame.thinking:
            page.add_thinking(frame.thinking)
        page.add_plain(frame.status, "italic")
        if frame.markdown:
            page.add(self._text(frame.markdown, frame.notice))
        page.add_plain(frame.failure, commands=True)
        page.add_plain(frame.footer, "italic")
        return page.finished()

    def _text(self, markdown: str, live: bool) -> TelegramText:
        key = markdown, live
        if (text := self._newest.get(key)) is None:
            text = self._newest[key] = render_telegram(markdown, live=live)
            if len(self._newest) > _REMEMBERED:
                del self._newest[next(iter(self._newest))]
        return text


def render(frame: Frame) -> TelegramText:
    """A single frame."""
    return Renderer()(frame)


def length(text: TelegramText) -> int:
    """UTF-16 units, or more where the entities are more than those leave room for."""
    return max(text.units, -(-len(text.entities) * MESSAGE_UNITS // MOST_ENTITIES))


def entities(text: TelegramText) -> list[MessageEntity]:
    return [
        MessageEntity(each.type, each.offset, each.length, url=each.url or None, language=each.language or None)
        for each in _as_many_as_count(text.entities)
    ]


def keyboard(frame: Frame) -> InlineKeyboardMarkup | None:
    if not frame.actions:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(wording.button(action), callback_data=action_data(action)) for action in frame.actions]]
    )


def _as_many_as_count(entities: Sequence[Entity]) -> Sequence[Entity]:
    """All but in the odd message that cannot be divided: there, code and links go before emphasis."""
    if len(entities) <= MOST_ENTITIES:
        return entities
    ranks = {kind: rank for rank, kind in enumerate(_KEPT_FIRST)}
    urgent = sorted(entities, key=lambda each: ranks.get(each.type, len(ranks)))[:MOST_ENTITIES]
    return sorted(urgent, key=lambda each: (each.offset, -each.length))


class _Page:
    """Blocks of text with an empty line between them."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._units = 0
        self._entities: list[Entity] = []

    def add(self, block: TelegramText) -> None:
        if not block.text.strip():
            return
        gap = "\n\n" if self._pieces else ""
        offset = self._units + len(gap)
        self._pieces += [gap, block.text]
        self._units = offset + block.units
        self._entities += [replace(each, offset=each.offset + offset) for each in block.entities]

    def add_plain(self, text: str, style: str = "", *, commands: bool = False) -> None:
        """The bot's own words. Names in them, such as a stop word of somebody's, are not live."""
        text = replace_unsafe(text).strip()
        styles = (Entity(style, 0, utf16_units(text)),) if style and text else ()
        self.add(TelegramText(text, (*styles, *quieted(text, commands=commands))))

    def add_thinking(self, view: ThinkingView) -> None:
        label, text = replace_unsafe(view.label).strip(), replace_unsafe(view.text).strip()
        if not text:
            self.add_plain(label, "italic")
            return
        whole = f"{label}\n{text}" if label else text
        quote = Entity("expandable_blockquote", 0, utf16_units(whole))
        styles = (quote, Entity("bold", 0, utf16_units(label))) if label else (quote,)
        names = quieted(whole)  # what the model thought notifies nobody either
        self.add(TelegramText(whole, (*styles, *names)))

    def finished(self) -> TelegramText:
        return TelegramText("".join(self._pieces) or _NOTHING, tuple(self._entities))

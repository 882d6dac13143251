"""What an update asks of the bot: somebody's message to it, a pressed button, or nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import overload

from telegram import CallbackQuery, Chat, Message, MessageEntity, MessageOriginUser, Update, User

from adapters.delivery.renderers.telegram import utf16_units
from adapters.telegram.client.addresses import Destination, person_id
from adapters.telegram.updates.files import FileRef, files_of
from adapters.telegram.updates.marked_text import marked_text
from bots.commands.registry import NAMES, read
from bots.messages import Person

GROUPS = (Chat.GROUP, Chat.SUPERGROUP)
_ANONYMOUS = "somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """Somebody's message to the bot.

    Args:
        message_id: the message's name, like `reply_to`.
        text: what was written, without the bot's name.
        quote: what the words are about, to stand after them.
        reply_to: the bot's own message that this replies to.
        meant: the message is for the bot; of several that are one request it is enough that one is.
        also: the further messages of the same request.
        units: the length of a message of nothing but text, as Telegram counts; 0 for any other.
        written_at: Telegram's date of the message, whole seconds since the epoch.
        album: what the pictures of one album share; "" for a single message.
        forwarded: somebody else's message, or an older one of the author's, handed on; no command.
        completes: the message that was asked about already and is asked again here, with what was forwarded behind it.
        edited: the message was sent earlier and is new only in its words.
        new: it was recorded just now, and by this process.
    """

    destination: Destination
    author: Person
    message_id: str
    text: str
    quote: str = ""
    files: tuple[FileRef, ...] = ()
    reply_to: str | None = None
    meant: bool = True
    also: tuple[str, ...] = ()
    units: int = 0
    written_at: int = 0
    album: str = ""
    forwarded: bool = False
    completes: str | None = None
    edited: bool = False
    new: bool = False

    def renamed(self, here: Destination) -> IncomingMessage:
        """The same, with the names that messages have there."""
        message_id, reply_to = _renamed(here, self.message_id), _renamed(here, self.reply_to)
        also = tuple(_renamed(here, each) for each in self.also)
        completes = _renamed(here, self.completes)
        return replace(self, destination=here, message_id=message_id, reply_to=reply_to, also=also, completes=completes)

    def with_quote(self) -> IncomingMessage:
        """The same, the quote being part of the words."""
        return replace(self, text=f"{self.text}\n\n{self.quote}", quote="") if self.quote else self


@dataclass(frozen=True, slots=True, kw_only=True)
class ButtonPress:
    """A button under one of the bot's messages; `asked_by` is what that one answers; `new` as of a message.

    `carried`: the message shows a button with that data. A modified client can send any data with any message.
    """

    destination: Destination
    author: Person
    query_id: str
    data: str
    message_id: str
    asked_by: str | None = None
    carried: bool = False
    new: bool = False

    def renamed(self, here: Destination) -> ButtonPress:
        """The same, with the names that messages have there."""
        message_id, asked_by = _renamed(here, self.message_id), _renamed(here, self.asked_by)
        return replace(self, destination=here, message_id=message_id, asked_by=asked_by)


@overload
def _renamed(here: Destination, number: str) -> str: ...
@overload
def _renamed(here: Destination, number: None) -> None: ...
def _renamed(here: Destination, number: str | None) -> str | None:
    return None if number is None else here.name_of(int(number))


def read_update(update: Update, me: User) -> IncomingMessage | ButtonPress | None:
    """What the update asks, or may be a part of; None where it is none of the bot's business."""
    if update.callback_query is not None:
        return _pressed(update.callback_query, me)
    edited = update.edited_message or update.edited_channel_post
    message = update.message or update.channel_post or edited
    if message is None or not is_from_somebody(message, me):
        return None
    asked = _asked(message, me, edited=edited is not None)
    return asked if asked.meant or asked.album or asked.units or asked.forwarded else None


def read_edit(update: Update, me: User) -> IncomingMessage | None:
    """What somebody's older message says now, whether it is for the bot or not; None for anything but an edit."""
    message = update.edited_message or update.edited_channel_post
    if message is None or not is_from_somebody(message, me):
        return None
    return _asked(message, me, edited=True).with_quote()


def destination_of(message: Message, me: User) -> Destination:
    """Replies in an ordinary group carry a thread id too, but only a topic's can be answered in."""
    return Destination(me.id, message.chat.id, message.message_thread_id if message.is_topic_message else None)


def is_from_somebody(message: Message, me: User) -> bool:
    """Not from another bot, and not a post that Telegram copied into a channel's discussion by itself."""
    if message.is_automatic_forward:
        return False
    sender = message.from_user
    return message.sender_chat is not None or sender is None or not sender.is_bot


def author_of(message: Message) -> Person:
    """A person; for an anonymous admin or a channel, the chat in whose name the message stands."""
    behind = message.sender_chat or (message.chat if message.from_user is None else None)
    if behind is not None:
        return Person(person_id(behind.id), message.author_signature or behind.title or behind.username or _ANONYMOUS)
    return _person(message.from_user) if message.from_user else Person(person_id(0), _ANONYMOUS)


def _person(user: User) -> Person:
    return Person(person_id(user.id), (user.full_name or "").strip() or user.username or _ANONYMOUS)


def _pressed(query: CallbackQuery, me: User) -> ButtonPress | None:
    message = query.message
    if message is None or query.data is None:
        return None
    asked_by, destination, carried = None, Destination(me.id, message.chat.id), False
    if isinstance(message, Message):  # otherwise it was deleted meanwhile, or is too old to be read
        destination, carried = destination_of(message, me), query.data in _carried_by(message)
        asked_by = str(message.reply_to_message.message_id) if message.reply_to_message else None
    return ButtonPress(
        destination=destination,
        author=_person(query.from_user),
        query_id=query.id,
        data=query.data,
        message_id=str(message.message_id),
        asked_by=asked_by,
        carried=carried,
    )


def _carried_by(message: Message) -> set[object]:
    """What the buttons under the message carry."""
    rows = message.reply_markup.inline_keyboard if message.reply_markup else ()
    return {button.callback_data for row in rows for button in row if button.callback_data}


def _asked(message: Message, me: User, *, edited: bool) -> IncomingMessage:
    replied = _replied_to(message)
    reply_to = str(replied.message_id) if replied is not None and _is_from(replied, me) else None
    text = _own_words(message, _words(message, me).strip())
    asked = IncomingMessage(
        destination=destination_of(message, me),
        author=author_of(message),
        message_id=str(message.message_id),
        text=text,
        files=files_of(message),
        reply_to=reply_to,
        meant=_is_meant(message, reply_to is not None, me),
        album=str(message.media_group_id or ""),
        units=utf16_units(message.text or ""),
        written_at=int(message.date.timestamp()),
        forwarded=message.forward_origin is not None and read(text) is None,
        edited=edited,
    )
    return _with_quoted(asked, message, replied)


def _with_quoted(asked: IncomingMessage, message: Message, replied: Message | None) -> IncomingMessage:
    """A reply to somebody's message is about that message: its pictures and words belong to the question.

    Of the bot's own answers, which the conversation holds, only what the person marked in them is repeated.
    """
    called = read(asked.text)
    if called is not None and called.name not in ("ask", "code", "caption"):
        return asked
    others = replied if asked.reply_to is None else None
    # Of a message in another chat or topic, Telegram tells the files, and quotes the words.
    about = others or message.external_reply
    files = asked.files or (files_of(about) if about is not None else ())
    quoted = (
        message.quote.text
        if message.quote is not None
        else (_words(others) if others is not None and others.text else None)
    )
    if not quoted or files or not asked.text:
        return replace(asked, files=files)
    return replace(asked, files=files, quote=quotation(quoted))


def quotation(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _replied_to(message: Message) -> Message | None:
    """In a topic, every message that replies to nothing counts as a reply to the topic's beginning."""
    replied = message.reply_to_message
    return None if replied is None or replied.forum_topic_created is not None else replied


def _is_from(message: Message, user: User) -> bool:
    return message.from_user is not None and message.from_user.id == user.id


def _is_meant(message: Message, is_reply: bool, me: User) -> bool:
    """Everything in a private chat; elsewhere a command, a mention, or a reply to the bot."""
    if message.chat.type == Chat.PRIVATE:
        return _says_something(message)
    if (command := _command(message)) is not None and not _is_of_somebody_else(message):
        name, _, bot = command.removeprefix("/").partition("@")
        if bot:
            return bot.lower() == (me.username or "").lower()
        return name.lower() in (*NAMES, "start") or is_reply
    return _says_something(message) and (is_reply or _mentions(message, me))


def _is_of_somebody_else(message: Message) -> bool:
    """It was handed on, or chosen from what another bot offered: who sent it may not have read it."""
    origin = message.forward_origin
    if isinstance(origin, MessageOriginUser) and origin.sender_user == message.from_user:
        origin = None
    return origin is not None or message.via_bot is not None


def _own_words(message: Message, text: str) -> str:
    """A command is one's own; somebody else's is a quotation."""
    if read(text) is None or not _is_of_somebody_else(message):
        return text
    return quotation(text)


def _says_something(message: Message) -> bool:
    """Not one of Telegram's own notes (somebody has joined, a message was pinned)."""
    return message.effective_attachment is not None or bool(message.text)


def _command(message: Message) -> str | None:
    """The command that the message begins with, as it was written."""
    for entity, text in _entities(message).items():
        if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0:
            return text
    return None


def _mentions(message: Message, me: User) -> bool:
    return any(_is_mention(entity, text, me) for entity, text in _entities(message).items())


def _is_mention(entity: MessageEntity, text: str, me: User) -> bool:
    if entity.type == MessageEntity.TEXT_MENTION:
        return entity.user is not None and entity.user.id == me.id
    name = me.username or ""
    return entity.type == MessageEntity.MENTION and bool(name) and text.lower() == f"@{name}".lower()


def _entities(message: Message) -> dict[MessageEntity, str]:
    """Each with the text that it covers. The library's own function fails where one cuts a character in two."""
    text = message.text or message.caption or ""
    encoded = text.encode("utf-16-le", "surrogatepass")
    covered: dict[MessageEntity, str] = {}
    for entity in message.entities if message.text else message.caption_entities:
        start, end = (2 * max(0, at) for at in (entity.offset, entity.offset + entity.length))
        covered[entity] = encoded[start:end].decode("utf-16-le", "replace")
    return covered


def _words(message: Message, me: User | None = None) -> str:
    """What the message says, with Markdown for what its author marked, and without the mentions of the bot."""
    text = message.text or message.caption or ""
    return marked_text(
        text, _entities(message), lambda entity, covered: me is not None and _is_mention(entity, covered, me)
    )

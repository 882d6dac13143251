"""One chat of one bot as the delivery sees it, over python-telegram-bot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from telegram import Bot, InlineKeyboardMarkup, LinkPreviewOptions, Message, ReplyParameters
from telegram.constants import ChatAction
from telegram.error import ChatMigrated, TelegramError

from adapters.delivery.channel import SENDING, Forbidden, Frame, Limits, MessageGone, Rejected, RetryAfter, Unsent
from adapters.delivery.pacing.rate_budget import Rate
from adapters.telegram.client.addresses import Destination
from adapters.telegram.client.errors import channel_error, has_no_text, is_not_modified
from adapters.telegram.outbound.rendering import MESSAGE_UNITS, Renderer, entities, keyboard, length

UPLOAD_BYTES = 50_000_000
ACCOUNT_RATE = Rate(29, 1.0)
"""Telegram's FAQ: not more than about 30 messages a second, over all chats; one is left for what is no message."""
_PRIVATE_BURST = 4
"""A few calls at once are taken in a private chat where the average of one a second is kept."""
_GROUP_CALLS = 20
"""In a minute, over all topics and all bots' messages and edits alike."""
_TYPING_S = 5.0
_PROBES = 3
_MOST_PROBES = 25
_PROBES_AFTER_START = 12
"""What other chats, or in a supergroup other people, were given meanwhile is not known then; more would meet the limits
of a chat."""
_REMEMBERED = 5_000
_SUPERGROUPS_BELOW = -1_000_000_000_000
"""Supergroups and channels number their messages; all other chats of a bot share one numbering."""
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


def limits(destination: Destination, private_interval_s: float, group_interval_s: float) -> Limits:
    if destination.is_private:
        rate = Rate(1, private_interval_s, burst=_PRIVATE_BURST)
    else:
        rate = Rate(_GROUP_CALLS, _GROUP_CALLS * group_interval_s)
    return Limits(
        message_units=MESSAGE_UNITS,
        upload_bytes=UPLOAD_BYTES,
        private_files=destination.is_private,
        rate=rate,
        typing_s=_TYPING_S,
        account=destination.account,
        account_rate=ACCOUNT_RATE,
    )


class Sightings:
    """Which messages there are, as far as the bot has seen: the newest of each chat, and its own newest ones."""

    def __init__(self) -> None:
        self._newest: OrderedDict[int, int] = OrderedDict()
        self._own: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._chat_of: OrderedDict[int, int] = OrderedDict()
        """By a number that chats share."""
        self._newest_shared = 0

    def saw(self, chat_id: int, message_id: int) -> None:
        self._newest[chat_id] = max(message_id, self._newest.pop(chat_id, 0))
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)
        if chat_id > _SUPERGROUPS_BELOW:
            self._newest_shared = max(message_id, self._newest_shared)
            self._chat_of[message_id] = chat_id
            if len(self._chat_of) > _REMEMBERED:
                self._chat_of.popitem(last=False)

    def candidates(self, chat_id: int, after: int, *, since_start: bool) -> Iterator[int]:
        """The numbers that an unanswered send to this chat may have got; those of other messages are left out.

        `since_start`: this process made the send, so it has seen what else was sent since.
        """
        last = after + (_PROBES if since_start else _PROBES_AFTER_START)
        if chat_id > _SUPERGROUPS_BELOW:
            last = min(after + 40 * _MOST_PROBES, max(last, self._newest_shared + _PROBES))
        free = (number for number in range(after + 1, last + 1) if self._is_free(chat_id, number))
        return islice(free, _MOST_PROBES)

    def _is_free(self, chat_id: int, message_id: int) -> bool:
        elsewhere = chat_id > _SUPERGROUPS_BELOW and self._chat_of.get(message_id, chat_id) != chat_id
        return not elsewhere and not self.is_known_own(chat_id, message_id)

    def sent(self, chat_id: int, message_id: int) -> None:
        self.saw(chat_id, message_id)
        self._own[chat_id, message_id] = None
        if len(self._own) > _REMEMBERED:
            self._own.popitem(last=False)

    def newest_before_send(self, chat_id: int, asked: int | None) -> int | None:
        """A number that the next message of this chat is certainly above; the closer, the fewer have to be tried."""
        seen = self._newest.get(chat_id, 0)
        if chat_id > _SUPERGROUPS_BELOW:
            seen = max(seen, self._newest_shared)
        return max(seen, asked or 0) or None

    def newest(self, chat_id: int) -> int | None:
        return self._newest.get(chat_id)

    def is_known_own(self, chat_id: int, message_id: int) -> bool:
        return (chat_id, message_id) in self._own


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A send that has not been answered: its message, if there is one, came after message `after`.

    `replies_to`: the message that it must reply to; None where there is no need to look. `is_left`: an earlier process
    made it, so what else was sent since is not known.
    """

    after: int | None
    replies_to: int | None = None
    is_left: bool = False


def _announced(name: str) -> _Attempt:
    after, _, _ = name.removeprefix(SENDING).split(":")
    return _Attempt(int(after), is_left=True)


class TelegramChannel:
    """Implements `adapters.delivery.channel.Channel`; one for each reply.

    Args:
        sightings: shared by all channels of the bot.
        asked: the message that is answered; after a restart, what was sent must be after it.
        is_recorded: whether a message is known to be part of an answer.
        has_moved: called with the id of the supergroup that the chat turns out to be.
    """

    def __init__(
        self,
        bot: Bot,
        destination: Destination,
        limits: Limits,
        sightings: Sightings,
        asked: str | None = None,
        is_recorded: Callable[[str], Awaitable[bool]] | None = None,
        has_moved: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._bot = bot
        self._here = destination
        self._limits = limits
        self._sightings = sightings
        self._attempts: dict[str, _Attempt] = {}
        self._refuted: dict[str, set[int]] = {}
        """Of a search that a penalty has interrupted: the numbers that were tried."""
        self._render = Renderer()
        question = None if asked is None else destination.number_of(asked)
        self._question = question
        self._left = _Attempt(question, question)
        """What an earlier process may have sent and not lived to record, without having announced it."""
        self._is_recorded = is_recorded
        self._has_moved = has_moved

    @property
    def limits(self) -> Limits:
        return self._limits

    def measure(self, frame: Frame) -> int:
        """UTF-16 units of the text after rendering; more where it holds more entities than Telegram shows."""
        return length(self._render(frame))

    def keyboard(self, frame: Frame) -> InlineKeyboardMarkup | None:
        return keyboard(frame)

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        """Only the first message of a reply rings, the one that answers something."""
        text = self._render(frame)
        return await self._posted(
            nonce,
            self._bot.send_message,
            reply_to,
            text=text.text,
            entities=entities(text),
            reply_markup=self.keyboard(frame),
            link_preview_options=_NO_PREVIEW,
            disable_notification=reply_to is None,
        )

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        after = self._sightings.newest_before_send(self._here.chat_id, self._question)
        return None if after is None else f"{SENDING}{after}:{nonce}:{reply_to or ''}"

    async def find(self, nonce: str) -> str | None:
        """Telegram cannot be asked for a nonce, but a bot can edit its own messages alone.

        So the ids after the newest known message are tried, as far as no other message is known to have them: the few
        next ones, and where chats share their numbers, those given out since. What can be edited is the message whose
        send was not answered, for only one call is in flight in a chat. After a restart more may have happened, so
        only a message counts then that replies to the one that is answered. Of one without buttons nothing is told but
        that it is the bot's; in a private chat that will do, since all else of the bot's there is recorded.
        """
        attempt = _announced(nonce) if nonce.startswith(SENDING) else self._attempts.get(nonce, self._left)
        if attempt.after is None:
            return None
        since_start = attempt is not self._left and not attempt.is_left
        refuted = self._refuted.setdefault(nonce, set())
        for message_id in self._sightings.candidates(self._here.chat_id, attempt.after, since_start=since_start):
            name = self._here.name_of(message_id)
            if message_id in refuted or (self._is_recorded is not None and await self._is_recorded(name)):
                continue
            if await self._is_ours(message_id, attempt.replies_to):
                self._settle(nonce, message_id)
                return name
            refuted.add(message_id)
        self._refuted.pop(nonce, None)
        return None

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        if message_id.startswith(SENDING):
            return await self._sent_after_all(message_id, frame)
        number = self._here.number_of(message_id)
        if number is None:
            return await self._sent_instead_of(message_id, frame)
        text = self._render(frame)
        try:
            await self._bot.edit_message_text(
                chat_id=self._here.chat_id,
                message_id=number,
                text=text.text,
                entities=entities(text),
                reply_markup=self.keyboard(frame),
                link_preview_options=_NO_PREVIEW,
            )
        except ChatMigrated as moved:
            await self._move(moved.new_chat_id)
            return await self._sent_instead_of(message_id, frame)
        except TelegramError as error:
            if has_no_text(error):  # a file of an earlier answer was taken for it
                return await self._sent_instead_of(message_id, frame)
            if not is_not_modified(error):
                raise channel_error(error) from error
        return None

    async def _sent_instead_of(self, message_id: str, frame: Frame, reply_to: str | None = None) -> str:
        """Posts, once, a message in place of one that cannot be edited, such as one of the group that this chat was."""
        nonce = self._instead_of(message_id)
        if nonce in self._attempts and (found := await TelegramChannel.find(self, nonce)) is not None:
            return await TelegramChannel.edit(self, found, frame) or found
        return await TelegramChannel.send(self, frame, reply_to=reply_to, nonce=nonce)

    async def _sent_after_all(self, name: str, frame: Frame) -> str:
        """Shows it in the message that an earlier process announced by that name, or posts it."""
        _, _, reply_to = name.removeprefix(SENDING).split(":")
        self._attempts.setdefault(self._instead_of(name), _announced(name))
        return await self._sent_instead_of(name, frame, reply_to or None)

    @staticmethod
    def _instead_of(message_id: str) -> str:
        return f"instead of {message_id}"

    async def delete(self, message_id: str) -> None:
        if (number := self._here.number_of(message_id)) is not None:
            await self._call(self._bot.delete_message, message_id=number)

    async def typing(self) -> None:
        await self._call(self._bot.send_chat_action, action=ChatAction.TYPING, message_thread_id=self._here.thread_id)

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        return await self._posted(
            nonce,
            self._bot.send_document,
            reply_to,
            document=data,
            filename=name,
            disable_content_type_detection=True,
            disable_notification=True,
        )

    async def _posted(
        self, nonce: str, method: Callable[..., Awaitable[Message]], reply_to: str | None, **arguments: Any
    ) -> str:
        self._attempts[nonce] = _Attempt(self._sightings.newest_before_send(self._here.chat_id, None))

        async def post(**where: Any) -> Message:
            return await method(
                message_thread_id=self._here.thread_id, reply_parameters=self._reply(reply_to), **where, **arguments
            )

        try:
            message = await self._call(post)
        except (RetryAfter, Unsent, Forbidden, Rejected):
            del self._attempts[nonce]
            raise
        self._settle(nonce, message.message_id)
        self._left = _Attempt(None)  # messages are sent one after the other: what comes later was not sent before
        return self._here.name_of(message.message_id)

    def _reply(self, name: str | None) -> ReplyParameters | None:
        number = None if name is None else self._here.number_of(name)
        return None if number is None else ReplyParameters(number, allow_sending_without_reply=True)

    def _settle(self, nonce: str, message_id: int) -> None:
        self._sightings.sent(self._here.chat_id, message_id)
        self._attempts.pop(nonce, None)
        self._refuted.pop(nonce, None)

    async def _is_ours(self, message_id: int, replies_to: int | None) -> bool:
        """Whether the bot may edit this message of this chat; raises what does not tell."""
        try:
            message = await self._call(self._bot.edit_message_reply_markup, message_id=message_id)
        except (MessageGone, Rejected) as error:
            is_alone = replies_to is None or self._here.is_private
            return is_alone and is_not_modified(error.__cause__)
        if not isinstance(message, Message) or message.chat.id != self._here.chat_id:
            return False
        question = message.reply_to_message
        return replies_to is None or (question is not None and question.message_id == replies_to)

    async def _call(self, method: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        try:
            try:
                return await method(chat_id=self._here.chat_id, **arguments)
            except ChatMigrated as moved:
                await self._move(moved.new_chat_id)
                return await method(chat_id=self._here.chat_id, **arguments)
        except TelegramError as error:
            raise channel_error(error) from error

    async def _move(self, now: int) -> None:
        """The group is a supergroup now, where nothing is known yet of what was sent."""
        if self._has_moved is not None:
            await self._has_moved(now)
        self._here = Destination(self._here.bot_id, now, None, self._here.chat_id)
        self._refuted.clear()
        self._attempts = dict.fromkeys(self._attempts, _Attempt(self._sightings.newest(now)))
        self._left = _Attempt(None)

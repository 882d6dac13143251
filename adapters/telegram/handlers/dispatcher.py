"""What becomes of a recorded update: one function of its payload, so that the next start can do it again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from telegram import Update, User

from adapters.delivery.outcome import NOTHING, Ending, Outcome
from adapters.telegram.handlers.callback_handler import CallbackHandler
from adapters.telegram.handlers.message_handler import MessageHandler
from adapters.telegram.inbound.aggregation import UpdateAggregator
from adapters.telegram.inbound.intake import event_id
from adapters.telegram.outbound.callback_data import read_action
from adapters.telegram.outbound.reply_sender import ReplySender
from adapters.telegram.updates.chat_migration import ChatMigrations, move_told_by
from adapters.telegram.updates.parsing import ButtonPress, IncomingMessage, read_edit, read_update
from bots import wording
from bots.commands.registry import asks
from bots.conversation.ledger import answer_id
from bots.messages import Action, Notice
from bots.ports import Inbox, Received
from inference.api import Interrupted

log = logging.getLogger(__name__)


class Dispatcher:
    """Handles recorded updates, each until it is answered."""

    def __init__(
        self,
        me: User,
        inbox: Inbox,
        post: ReplySender,
        answering: MessageHandler,
        presses: CallbackHandler,
        gathering: UpdateAggregator,
        moves: ChatMigrations,
    ) -> None:
        self._me = me
        self._inbox = inbox
        self._post = post
        self._answering = answering
        self._presses = presses
        self._gathering = gathering
        self._moves = moves

    async def handle(self, event: Received, *, new: bool) -> None:
        """Handles an update; `new`: recorded just now, and not left by a process that died.

        The edge: whatever fails below becomes one sentence and one log line here. The outcome alone decides whether the
        update is answered.
        """
        answered: Sequence[Received] = [event]
        asked: IncomingMessage | ButtonPress | None = None
        outcome = NOTHING
        is_read = False
        try:
            update = Update.de_json(json.loads(event.payload), self._post.api)
            asked = read_update(update, self._me)
            is_read = True
            self._see(update)
            if (move := move_told_by(update)) is not None:
                await self._moves.record(move)
            if asked is not None:
                asked = replace(asked, new=new)
            if isinstance(asked, IncomingMessage):
                if asked.edited:
                    await self._gathering.done_with(asked)
                else:
                    whole = await self._gathering.collect(event, asked)
                    if whole is None:
                        return
                    answered, asked = whole
                asked = asked.with_quote() if asked.meant else None
            if (edit := read_edit(update, self._me)) is not None:
                await self._answering.reworded(await self._moves.followed(edit))
            if asked is not None:
                asked = await self._moves.followed(asked)
                outcome = await self._do(event, asked)
        except Interrupted as error:
            outcome = Outcome(Ending.LEFT, error.why)
        except Exception as error:
            if is_read:
                log.exception("update %s failed", event.id)
            else:  # nobody waits for what makes no sense
                log.warning("update %s is left out, it cannot be read: %s", event.id, type(error).__name__)
                log.debug("update %s", event.id, exc_info=True)
            outcome = await self._apologise(event, asked)
        if self._gathering.is_completed(event):
            return  # what was forwarded behind it settles both
        self._gathering.over(answered)
        if not outcome.is_settled:
            log.info("update %s is left for the next start: %s", event.id, outcome.reason)
            return
        # The one that the answer is known by is the last: if it is left alone, it is found to be answered.
        for each in reversed(answered):
            await self._settle(each)

    def asks(self, event: Received) -> bool:
        """Whether the update asks for an answer: what does is taken back by a stop that is sent after it."""
        try:
            asked = read_update(Update.de_json(json.loads(event.payload), self._post.api), self._me)
        except Exception:  # it gets its sentence, or its log line, when it is handled
            return False
        if isinstance(asked, ButtonPress):
            return read_action(asked.data) in (Action.REGENERATE, Action.CONTINUE)
        return asked is not None and (asked.meant or bool(asked.album)) and asks(asked.text)

    async def _do(self, event: Received, asked: IncomingMessage | ButtonPress) -> Outcome:
        match asked:
            case IncomingMessage():
                return await self._answering.answer(event_id(event), asked)
            case ButtonPress():
                return await self._presses.press(event_id(event), asked)

    def _see(self, update: Update) -> None:
        message = update.effective_message
        if message is not None and update.callback_query is None:
            self._post.sightings.saw(message.chat.id, message.message_id)

    async def _apologise(self, event: Received, asked: IncomingMessage | ButtonPress | None) -> Outcome:
        """Nobody is waiting for an update that could not even be read."""
        if asked is None:
            return Outcome(Ending.LOST, "it cannot be read")
        try:
            if isinstance(asked, ButtonPress):
                return await self._presses.apologise(asked)
            name = answer_id(asked.destination.chat, f"{event.id}/broken")
            words = Notice(wording.broken(), private=True, id=name, again=not asked.new)
            return await self._post.say(asked.destination, words, asker=asked.author.id, reply_to=asked.message_id)
        except Exception:
            log.exception("nothing could be said about it in %s", asked.destination.chat)
            return Outcome(Ending.LEFT, "nothing could be said about its failure")

    async def _settle(self, event: Received) -> None:
        try:
            await self._inbox.answered(event.account, event.id)
        except Exception:
            # It is answered once more after the next start, which is better than a bot that has stopped.
            log.exception("update %s could not be marked as answered", event.id)

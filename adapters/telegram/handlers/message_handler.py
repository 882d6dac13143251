"""From somebody's message to the bot's answer under it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, nullcontext
from dataclasses import replace

from adapters.delivery.outcome import NOTHING, Outcome
from adapters.telegram.client.addresses import user_id
from adapters.telegram.handlers.edits import EditableQuestions
from adapters.telegram.handlers.keyed_lock import KeyedLock
from adapters.telegram.handlers.settings_panel import Panels
from adapters.telegram.outbound.reply_sender import ReplySender, beginning_with
from adapters.telegram.updates.files import PictureLost, text_of
from adapters.telegram.updates.parsing import IncomingMessage
from bots.bot import Bot
from bots.commands.registry import is_stop, read
from bots.conversation.ledger import answer_id
from bots.messages import Action, Incoming, Notice, Permit, ReplyEvent
from bots.ports import StorageError

log = logging.getLogger(__name__)

Stream = AsyncGenerator[ReplyEvent, None]
_STOPS_WITHIN_S = 10.0


class MessageHandler:
    """Asks the bot and delivers what it says."""

    def __init__(self, bot: Bot, post: ReplySender, questions: EditableQuestions, panels: Panels) -> None:
        self._bot = bot
        self._post = post
        self._questions = questions
        self._panels = panels
        self._turns = KeyedLock()

    async def answer(self, event_id: str, asked: IncomingMessage) -> Outcome:
        """Answers a message; an edited one only if it is the newest question, in the place of its old answer."""
        sent = self._bot.coming.find(event_id, asked.destination.chat)
        if asked.new and sent is not None and sent.is_taken_back:
            return NOTHING
        try:
            return await self._respond(event_id, asked)
        except PictureLost as error:
            log.warning("%s: a file is lost: %s", asked.destination.chat, error)
            lost = answer_id(asked.destination.chat, f"{event_id}/picture")
            words = Notice(error.sentence, private=True, id=lost, again=not asked.new)
            return await self._post.say(asked.destination, words, asker=asked.author.id, reply_to=asked.message_id)

    async def reworded(self, edit: IncomingMessage) -> None:
        """A message says something else now: others are not told what it said before."""
        try:
            await self._questions.reworded(edit)
        except StorageError as error:
            log.warning("%s: what was edited there is not hidden from others: %s", edit.destination.chat, error)

    async def _respond(self, event_id: str, asked: IncomingMessage) -> Outcome:
        async with AsyncExitStack() as stack:
            chat, author = asked.destination.chat, asked.author.id
            # A stop waits for no picture that is fetched for an earlier message.
            turn = nullcontext() if is_stop(asked.text) else self._turns.locked((chat, author))
            async with turn:
                put_again = asked.edited or asked.completes is not None
                events = await (self._changed(event_id, asked) if put_again else self._events(event_id, asked))
                if events is None:
                    return NOTHING
                await stack.enter_async_context(aclosing(events))
                # The bot has put the message in its person's line when the first event is there.
                first = await anext(events, None)
                await self._questions.keep(asked, first)
            if isinstance(first, Notice) and not first.refused and _opens_panel(asked.text):
                return await self._panels.show(
                    asked.destination, asked.author.id, words=first, reply_to=asked.message_id
                )
            return await self._deliver(asked, first, events)

    async def _changed(self, event_id: str, asked: IncomingMessage) -> Stream | None:
        """The answer to a question that was put differently; None where it was not, or is not the newest any more.

        A comment on what was forwarded behind it is asked with that in any case.
        """
        if asked.edited and asked.album:  # its other pictures are not in the edit
            return None
        if await self._questions.is_begun(asked, event_id):
            return await self._events(event_id, asked)
        old = await self._questions.answer_changed_by(asked)
        if old is None:
            return None if asked.edited else await self._events(event_id, asked)
        incoming = await self._bot.admit(self._incoming(event_id, asked), files=bool(asked.files))
        if not isinstance(incoming.decision, Permit):
            return self._bot.respond(incoming)
        shown = await self._withdraw(event_id, asked, old, incoming.decision)
        events = self._bot.respond(replace(await self._with_files(incoming, asked), instead_of=old))
        return self._questions.in_place(events, asked.destination.chat, shown) if shown else events

    async def _events(self, event_id: str, asked: IncomingMessage) -> Stream:
        """Raises PictureLost."""
        incoming = self._incoming(event_id, asked)
        if asked.files:
            incoming = await self._bot.admit(incoming, files=True)
        return self._bot.respond(await self._with_files(incoming, asked))

    async def _deliver(self, asked: IncomingMessage, first: ReplyEvent | None, events: Stream) -> Outcome:
        with self._questions.answering(asked, first):
            replying, asker = beginning_with(first, events), asked.author.id
            outcome = await self._post.deliver(asked.destination, replying, asker=asker, reply_to=asked.message_id)
        try:
            await self._questions.is_delivered(asked, first)
        except StorageError as error:
            log.warning("%s: what was edited there is not hidden from others: %s", asked.destination.chat, error)
        return outcome

    def _incoming(self, event_id: str, asked: IncomingMessage) -> Incoming:
        """The message without its files."""
        return Incoming(
            event_id=event_id,
            chat=asked.destination.chat,
            author=asked.author,
            places=asked.destination.places,
            direct=asked.destination.is_private,
            group=asked.destination.group,
            text=asked.text,
            shared=user_id(asked.author.id) < 0,
            reply_to=asked.reply_to,
            budget=self._post.budget(asked.destination),
            new=asked.new,
        )

    async def _with_files(self, incoming: Incoming, asked: IncomingMessage) -> Incoming:
        """With its pictures, and its words before the text files. Nothing is fetched for what the gate has refused.

        Raises:
            PictureLost.
        """
        if not asked.files or not isinstance(incoming.decision, Permit):
            return incoming
        readable = [file for file in asked.files if file.kind != "other"]  # of an album with a video, the pictures
        fetched = [(file, await self._post.fetched(file)) for file in readable or asked.files]
        pictures = tuple(picture for file, picture in fetched if file.kind == "picture")
        texts = [text_of(file, picture.data) for file, picture in fetched if file.kind == "text"]
        return replace(incoming, pictures=pictures, text="\n\n".join(filter(None, (incoming.text, *texts))))

    async def _withdraw(self, event_id: str, asked: IncomingMessage, old: str, permit: Permit) -> Sequence[str]:
        """Ends the old answer; returns the messages that show it."""
        stop = Incoming(
            event_id=f"{event_id}/stop",
            chat=asked.destination.chat,
            author=asked.author,
            text=Action.STOP.command,
            instead_of=old,
            places=asked.destination.places,
            decision=permit,
        )
        async with aclosing(self._bot.respond(stop)) as events:
            async for _ in events:
                pass
        await self._questions.over(asked, old, _STOPS_WITHIN_S)
        return await self._questions.shown(asked, old)


def _opens_panel(text: str) -> bool:
    called = read(text)
    return called is not None and called.name == "settings" and called.argument == ""

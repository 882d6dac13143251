"""Each person's newest question in each chat, so that an edit of it can be answered in the place of its answer.

The message of a question is kept as its answers' messages are; which one is newest follows from where the person stands
in the conversation, or from what is being answered just now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace

from adapters.telegram.updates.parsing import ButtonPress, IncomingMessage
from bots.commands.registry import read
from bots.conversation.prompt import for_code
from bots.messages import ReplyEvent, Started
from bots.ports import Storage, Turn

Key = tuple[str, str]
_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class Underway:
    """An answer on its way; `question_id` and `text` are empty where it answers no new question."""

    answer_id: str
    question_id: str = ""
    text: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Its last message is there."""


class EditableQuestions:
    """What people asked last, for the answers of one bot."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._underway: dict[Key, list[Underway]] = {}
        self._reworded: OrderedDict[tuple[str, str], str] = OrderedDict()
        """What messages that were edited lately say now, some before they were known to be questions."""

    @contextmanager
    def answering(self, asked: IncomingMessage | ButtonPress, started: ReplyEvent | None) -> Iterator[None]:
        """While an answer to it is being delivered."""
        if not isinstance(started, Started):
            yield
            return
        key = asked.destination.chat, asked.author.id
        one = Underway(started.answer_id, started.question_id, asked.text if isinstance(asked, IncomingMessage) else "")
        self._underway.setdefault(key, []).append(one)
        try:
            yield
        finally:
            one.over.set()
            self._underway[key].remove(one)
            if not self._underway[key]:
                del self._underway[key]

    async def keep(self, asked: IncomingMessage, started: ReplyEvent | None) -> None:
        """From now on the message is known to be this question, or each of several that it came in."""
        if isinstance(started, Started) and started.question_id:
            chat, messages = asked.destination.chat, (asked.message_id, *asked.also)
            for position, message_id in enumerate(messages):
                await self._storage.record_delivery(chat, started.question_id, position, message_id)

    async def is_delivered(self, asked: IncomingMessage, started: ReplyEvent | None) -> None:
        """The turn of the question is kept now; what was edited before that is hidden from others."""
        chat, messages = asked.destination.chat, (asked.message_id, *asked.also)
        if not isinstance(started, Started) or not started.question_id:
            return
        if all(self._reworded.get((chat, each), asked.text) == asked.text for each in messages):
            return
        if await self._storage.answer_at(chat, asked.message_id) == started.question_id:  # and it is not asked anew
            await self._storage.hide([chat], messages)

    async def reworded(self, edit: IncomingMessage) -> None:
        """Hide from others what was asked in the message until it was edited, if it says something else now."""
        chat = edit.destination.chat
        self._reworded[chat, edit.message_id] = edit.text if edit.meant else ""
        if len(self._reworded) > _REMEMBERED:
            self._reworded.popitem(last=False)
        question_id = await self._storage.answer_at(chat, edit.message_id)
        question = await self._storage.turn(question_id) if question_id is not None else None
        if question is not None and question.role == "user" and not (edit.meant and _says(question, edit.text)):
            await self._storage.hide([chat], [edit.message_id])

    async def answer_changed_by(self, edit: IncomingMessage) -> str | None:
        """The answer to the person's newest question, if this is an edit of it that says something else.

        Of a question that came in several messages the other ones are not in the edit: it is left as it was answered.
        """
        chat, person = edit.destination.chat, edit.author.id
        question_id = await self._storage.answer_at(chat, edit.message_id)
        if question_id is None or len((await self._storage.delivered(chat, question_id)).message_ids) > 1:
            return None
        for one in reversed(self._underway.get((chat, person), ())):
            if one.question_id:
                is_newest = one.question_id == question_id and one.text != edit.text
                return one.answer_id if is_newest else None
        head = await self._storage.head(chat, person)
        answer = await self._storage.turn(head) if head is not None else None
        if answer is None or answer.parent_id != question_id:
            return None
        question = await self._storage.turn(question_id)
        return answer.id if question is not None and not _says(question, edit.text) else None

    async def owner_of(self, pressed: ButtonPress) -> str | None:
        """For whom the answer was written, whose button was pressed."""
        chat = pressed.destination.chat
        answer_id = await self._storage.answer_at(chat, pressed.message_id)
        for (_, person), answers in self._underway.items():
            if any(one.answer_id == answer_id for one in answers):
                return person
        answer = await self._storage.turn(answer_id) if answer_id is not None else None
        return answer.person if answer is not None else None

    async def is_begun(self, edit: IncomingMessage, event_id: str) -> bool:
        """Whether an earlier process has begun to answer this edit: what changed then is not asked again."""
        reply = await self._storage.reply(edit.destination.chat, event_id)
        return reply is not None and (reply.question_id is not None or bool(reply.ending))

    async def shown(self, edit: IncomingMessage, answer_id: str) -> tuple[str, ...]:
        """The messages that show the answer."""
        return (await self._storage.delivered(edit.destination.chat, answer_id)).message_ids

    async def over(self, edit: IncomingMessage, answer_id: str, within_s: float) -> None:
        """Returns when that answer has been delivered, or after so long."""
        for one in self._underway.get((edit.destination.chat, edit.author.id), ()):
            if one.answer_id == answer_id:
                with suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        await one.over.wait()
                return

    async def in_place(
        self, events: AsyncGenerator[ReplyEvent, None], chat: str, shown: Sequence[str]
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of a new answer, which begins in the first of these messages.

        The others are recorded as superseded ones of the new answer: its delivery deletes them, also after a restart.
        """
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Started):
                    for number in reversed(range(len(shown))):  # by the first one the old answer is found after a crash
                        await self._storage.record_delivery(chat, event.answer_id, -number, shown[number])
                    event = replace(event, message_ids=tuple(shown[:1]))
                yield event


def _says(question: Turn, text: str) -> bool:
    """Whether the question was put in these words."""
    called = read(text)
    words = called.argument if called is not None and called.known else text.strip()
    is_code = called is not None and called.name == "code"
    return question.text == words and is_code == (for_code(question.text) in question.prompt)

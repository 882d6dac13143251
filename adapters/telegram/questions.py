"""Each person's newest question in each chat, so that an edit of it can be answered in the place of its answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from adapters.telegram.requests import Asked
from bots.messages import ReplyEvent, Started
from bots.ports import Storage

_REMEMBERED = 5_000


@dataclass(slots=True)
class Question:
    """A question that is being answered, or was; `over` is set when its answer is delivered."""

    message_id: int
    text: str
    answer_id: str
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Questions:
    """The newest question of each person in each chat, as long as the program runs."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._newest: OrderedDict[tuple[str, str], Question] = OrderedDict()

    def asked(self, asked: Asked, answer_id: str) -> Question:
        key = asked.destination.chat, asked.author.id
        question = self._newest[key] = Question(asked.message_id, asked.text, answer_id)
        self._newest.move_to_end(key)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)
        return question

    def changed_by(self, edit: Asked) -> Question | None:
        """The newest question, if this is an edit of it that says something else."""
        question = self._newest.get((edit.destination.chat, edit.author.id))
        if question is None or question.message_id != edit.message_id or question.text == edit.text:
            return None
        return question

    async def take_back(self, edit: Asked, question: Question) -> tuple[str, ...]:
        """The conversation is where it was before the question; returns the messages that show its answer."""
        chat, person = edit.destination.chat, edit.author.id
        answer = await self._storage.turn(question.answer_id)
        asked = await self._storage.turn(answer.parent_id) if answer is not None and answer.parent_id else None
        if asked is not None:
            await self._storage.set_head(chat, person, asked.parent_id)
        return (await self._storage.delivered(chat, question.answer_id)).message_ids

    async def in_place(
        self, events: AsyncGenerator[ReplyEvent, None], chat: str, message_id: str
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of a new answer, which begins in a message that is there already."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Started):
                    await self._storage.record_delivery(chat, event.answer_id, 0, message_id)
                    event = replace(event, message_ids=(message_id,))
                yield event

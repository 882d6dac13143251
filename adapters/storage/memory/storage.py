"""`bots.ports.Storage` in plain dictionaries: for one question in a terminal, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adapters.storage.memory.personal import MemoryPersonal
from bots.ports import Delivered, Known, Received, ReplyRecord, Storage, Turn
from bots.profile.personal import Spent


class MemoryStorage(MemoryPersonal, Storage):
    """Keeps everything until the process ends, and grows with every turn: not for a bot that runs for days."""

    def __init__(self) -> None:
        super().__init__()
        self._received: dict[tuple[str, str], Received] = {}
        self._answered: set[tuple[str, str]] = set()
        self._replies: dict[tuple[str, str], ReplyRecord] = {}
        self._preferences: dict[str, dict[str, str]] = {}
        self._heads: dict[tuple[str, str], str] = {}
        self._turns: dict[str, Turn] = {}
        self._messages: dict[tuple[str, str], dict[int, str]] = {}
        self._answers: dict[tuple[str, str], tuple[str, int]] = {}

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        new = []
        for event in events:
            if (event.account, event.id) not in self._received:
                self._received[event.account, event.id] = event
                new.append(event)
        return new

    async def unanswered(self, account: str) -> Sequence[Received]:
        return [e for key, e in self._received.items() if e.account == account and key not in self._answered]

    async def pending(self, account: str) -> Sequence[Received]:
        return [e for key, e in self._received.items() if e.account == account and key not in self._answered]

    async def answered(self, account: str, event_id: str) -> None:
        event = self._received.get((account, event_id))
        if event is not None:
            self._answered.add((account, event_id))
            self._received[account, event_id] = replace(event, payload="", chat="", person="")

    async def orphaned(self, account: str) -> Sequence[Received]:
        return []

    async def claim(self, reply: ReplyRecord) -> ReplyRecord | None:
        return self._replies.setdefault((reply.chat, reply.event_id), reply)

    async def reply(self, chat: str, event_id: str) -> ReplyRecord | None:
        return self._replies.get((chat, event_id))

    async def begin(self, reply: ReplyRecord, turns: Sequence[Turn], head: str, spent: Spent | None = None) -> None:
        await self._put_reply(reply, spent)
        for turn in turns:
            self._keep(turn)
        await self.set_head(reply.chat, reply.person, head)

    def keep_soon(self, answer: Turn) -> None:
        self._keep(answer)

    async def _put_reply(self, reply: ReplyRecord, spent: Spent | None) -> None:
        before = self._replies.get((reply.chat, reply.event_id))
        if spent is not None and not (before and before.ending):
            await self.count(spent.person, spent.day, spent.used, spent.marks)
        self._replies[reply.chat, reply.event_id] = reply

    async def end(self, reply: ReplyRecord, answer: Turn | None, spent: Spent | None = None) -> None:
        await self._put_reply(reply, spent)
        if answer is not None:
            self._keep(answer)

    async def preferences(self, person: str) -> Mapping[str, str]:
        return dict(self._preferences.get(self.profile_of(person), {}))

    async def known(self, person: str, places: Sequence[str] = ()) -> Known:
        bounds = [await self.preferences(place) for place in places]
        people = await self.people(person)
        since = min((day for each, day in self._usage if each in people), default="")
        return Known(people, await self.preferences(person), bounds, since)

    async def set_preferences(self, person: str, values: Mapping[str, str | None]) -> None:
        profile = self.profile_of(person)
        kept = {**self._preferences.get(profile, {}), **values}
        self._preferences[profile] = {name: value for name, value in kept.items() if value is not None}

    async def head(self, chat: str, person: str) -> str | None:
        return self._heads.get((chat, person))

    async def set_head(self, chat: str, person: str, turn_id: str | None) -> None:
        if turn_id is None:
            self._heads.pop((chat, person), None)
        else:
            self._heads[chat, person] = turn_id

    async def turn(self, turn_id: str) -> Turn | None:
        return self._turns.get(turn_id)

    async def branch(self, turn_id: str, limit: int) -> Sequence[Turn]:
        newest_first: list[Turn] = []
        turn = self._turns.get(turn_id)
        while turn is not None and len(newest_first) < limit:
            newest_first.append(turn)
            turn = self._turns.get(turn.parent_id) if turn.parent_id is not None else None
        return newest_first[::-1]

    async def hide(self, chats: Sequence[str], message_ids: Sequence[str]) -> None:
        for chat in chats:
            for message_id in message_ids:
                reply, shown = self._replies.get((chat, message_id)), self._answers.get((chat, message_id))
                found = [reply.question_id if reply else None, shown[0] if shown and shown[1] >= 0 else None]
                for turn in (self._turns.get(turn_id or "") for turn_id in found):
                    if turn is not None:
                        self._turns[turn.id] = replace(turn, hidden=True)

    def _keep(self, turn: Turn) -> None:
        before = self._turns.get(turn.id)
        self._turns[turn.id] = replace(turn, hidden=turn.hidden or (before is not None and before.hidden))

    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        return Delivered.read(answer_id, self._messages.get((chat, answer_id), {}))

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        shown = self._answers.get((chat, message_id))
        return shown[0] if shown else None

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        """A message shows one chunk and a chunk is in one message: the newest record holds."""
        if before := self._answers.pop((chat, message_id), None):
            del self._messages[chat, before[0]][before[1]]
        chunks = self._messages.setdefault((chat, answer_id), {})
        if position in chunks:
            del self._answers[chat, chunks[position]]
        chunks[position] = message_id
        self._answers[chat, message_id] = (answer_id, position)

    async def recorded(self) -> None:
        pass

    async def supersede(self, chat: str, answer_id: str) -> None:
        messages = self._messages.get((chat, answer_id), {})
        last = min(0, *messages) if messages else 0
        for position in [position for position in messages if position > 0]:
            await self.record_delivery(chat, answer_id, last - position, messages[position])

    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        messages = self._messages.get((chat, answer_id), {})
        return [messages[position] for position in sorted(messages) if position < 0]

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        if before := self._answers.pop((chat, message_id), None):
            del self._messages[chat, before[0]][before[1]]

    async def record_shown(self, chat: str, answer_id: str) -> None:
        for key, reply in self._replies.items():
            if (reply.chat, reply.answer_id) == (chat, answer_id) and reply.ending:
                self._replies[key] = replace(reply, shown=True, request="", ending="{}")

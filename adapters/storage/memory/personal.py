"""`bots.profile.personal.Personal` in plain dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bots.ports import Received, ReplyRecord, Turn
from bots.profile.personal import Histogram, News, Personal, Retention, Sample, SampleKind, Used


class MemoryPersonal(Personal):
    """A part of `adapters.storage.memory.storage.MemoryStorage`, which has these."""

    _received: dict[tuple[str, str], Received]
    _answered: set[tuple[str, str]]
    _replies: dict[tuple[str, str], ReplyRecord]
    _preferences: dict[str, dict[str, str]]
    _heads: dict[tuple[str, str], str]
    _turns: dict[str, Turn]
    _messages: dict[tuple[str, str], dict[int, str]]
    _answers: dict[tuple[str, str], tuple[str, int]]

    def __init__(self) -> None:
        self._usage: dict[tuple[str, str], Used] = {}
        self._erased: dict[tuple[str, str], Used] = {}
        self._marks: dict[tuple[str, str], Counter[Sample]] = {}
        self._profiles: dict[str, str] = {}
        self._codes: dict[str, tuple[str, float]] = {}
        self._requests: dict[str, tuple[str, float]] = {}
        self._shares_data: set[str] = set()
        self._news: dict[str, dict[str, News]] = {}

    def profile_of(self, person: str) -> str:
        return self._profiles.get(person, person)

    async def count(self, person: str, day: str, used: Used, marks: Sequence[Sample]) -> None:
        self._usage[person, day] = self._usage.get((person, day), Used()) + used
        self._marks.setdefault((person, day), Counter()).update(marks)

    async def usage(self, people: Sequence[str] | None, since: str) -> Mapping[str, Used]:
        found: defaultdict[str, Used] = defaultdict(Used)
        for (person, day), used in self._usage.items():
            if day >= since and (people is None or person in people):
                found[day] += used
        return found

    async def histograms(self, people: Sequence[str] | None, since: str) -> Mapping[tuple[str, SampleKind], Histogram]:
        found: defaultdict[tuple[str, SampleKind], Counter[int]] = defaultdict(Counter)
        for (person, day), marks in self._marks.items():
            if day >= since and (people is None or person in people):
                for mark, number in marks.items():
                    found[day, mark.kind][mark.bucket] += number
        return found

    async def people(self, person: str) -> Sequence[str]:
        profile = self.profile_of(person)
        linked = sorted(each for each, own in self._profiles.items() if own == profile)
        return sorted(linked, key=lambda each: each != profile) or [person]

    async def put_code(self, code: str, person: str, expires_at: float) -> None:
        self._codes = {each: owner for each, owner in self._codes.items() if owner[0] != person}
        self._codes[code] = (person, expires_at)

    async def giver(self, code: str, person: str, now: float) -> str | None:
        bound = f"{code}/{person}"
        giver, expires_at = self._codes.get(bound) or self._codes.get(code, ("", 0.0))
        if giver in ("", person) or expires_at <= now:
            return None
        self._codes.pop(code, None)
        self._codes[bound] = giver, expires_at
        return giver

    async def request(self, code: str, person: str, now: float, expires_at: float) -> str | None:
        giver = await self.giver(code, person, now)
        if giver is not None:
            del self._codes[f"{code}/{person}"]
            self._requests[giver] = (person, expires_at)
        return giver

    async def requested(self, person: str, now: float) -> str | None:
        other, expires_at = self._requests.get(person, ("", 0.0))
        return other if expires_at > now else None

    async def accept(self, person: str, now: float) -> str | None:
        other = await self.requested(person, now)
        if other is None:
            return None
        del self._requests[person]
        everybody = [*await self.people(person), *await self.people(other)]
        profile, joining = self.profile_of(person), self.profile_of(other)
        if joining != profile:
            self._profiles |= dict.fromkeys(everybody, profile)
            self._preferences[profile] = self._preferences.pop(joining, {}) | self._preferences.get(profile, {})
            self._shares_data -= set(everybody)
            self._tell([each for each in everybody if each != person], person, "linked")
        return other

    async def decline(self, person: str) -> bool:
        return self._requests.pop(person, None) is not None

    async def share_data(self, person: str, on: bool) -> bool:
        if person not in self._profiles:
            return False
        self._shares_data = self._shares_data | {person} if on else self._shares_data - {person}
        others = [each for each in await self.people(person) if each != person]
        self._tell(others, person, "shares" if on else "keeps")
        return True

    async def sharing(self, person: str) -> Sequence[str]:
        if person not in self._shares_data:
            return [person]
        return [person, *sorted(self._shares_data & set(await self.people(person)) - {person})]

    async def take_news(self, person: str) -> Sequence[tuple[str, News]]:
        return sorted(self._news.pop(person, {}).items())

    def _tell(self, people: Sequence[str], who: str, what: News) -> None:
        for each in people:
            self._news.setdefault(each, {})[who] = what

    async def unlink(self, person: str) -> bool:
        everybody = await self.people(person)
        rest = [each for each in everybody if each != person]
        if not rest:
            return False
        self._tell(rest, person, "unlinked")
        self._shares_data -= {person}
        own = dict(self._preferences.get(everybody[0], {}))
        self._preferences[person] = own
        self._preferences[rest[0]] = dict(own)
        del self._profiles[person]
        self._profiles |= dict.fromkeys(rest, rest[0])
        if len(rest) == 1:
            del self._profiles[rest[0]]
            self._shares_data -= set(rest)
        return True

    async def export(self, people: Sequence[str]) -> Mapping[str, Any]:
        conversations = defaultdict(list)
        for turn in self._turns.values():
            if turn.person in people:
                conversations[turn.chat].append(asdict(turn))
        return {
            "settings": dict(self._preferences.get(self.profile_of(people[0]), {})),
            "usage": [
                {"person": person, "day": day, **asdict(used)}
                for (person, day), used in self._usage.items()
                if person in people
            ],
            "conversations": conversations,
        }

    async def used_on(self, people: Sequence[str], day: str) -> Used:
        return sum((self._erased.get((person, day), Used()) for person in people), Used()) + (
            await self.usage(people, day)
        ).get(day, Used())

    async def erase(self, people: Sequence[str], today: str) -> None:
        self._erased = {key: used for key, used in self._erased.items() if key[1] >= today}
        for person in people:
            self._erased[person, today] = self._erased.get((person, today), Used()) + self._usage.get(
                (person, today), Used()
            )
        for key in [key for key, reply in self._replies.items() if reply.person in people]:
            self._forget_messages(key[0], self._replies.pop(key).answer_id)
        self._forget_turns([turn for turn in self._turns.values() if turn.person in people])
        self._heads = {key: turn for key, turn in self._heads.items() if key[1] not in people}
        self._usage = {key: used for key, used in self._usage.items() if key[0] not in people}
        self._marks = {key: marks for key, marks in self._marks.items() if key[0] not in people}
        self._codes = {code: owner for code, owner in self._codes.items() if owner[0] not in people}
        self._requests = {each: owner for each, owner in self._requests.items() if not {each, owner[0]} & set(people)}
        self._shares_data -= set(people)
        self._news = {
            each: {who: what for who, what in news.items() if who not in people}
            for each, news in self._news.items()
            if each not in people
        }
        for person in people:
            self._preferences.pop(person, None)
            self._profiles.pop(person, None)

    async def expire(self, retention: Retention, now: float, limit: int) -> int:
        def old(days: int) -> float:
            return now - days * 86_400 if days else float("-inf")

        turns = [turn for turn in self._turns.values() if turn.created_at < old(retention.days)]
        turns = sorted(turns, key=lambda turn: turn.created_at)[:limit]
        self._forget_turns(turns)
        events = [key for key, each in self._received.items() if each.received_at < old(retention.event_days)][:limit]
        for key in events:
            self._answered.discard(key)
            del self._received[key]
        days = min(retention.days or retention.event_days, retention.event_days)
        replies = [key for key, reply in self._replies.items() if reply.created_at < old(days)]
        count = len(turns) + len(events) + _drop(self._replies, replies[:limit])
        if retention.usage_days:
            day = datetime.fromtimestamp(old(retention.usage_days), UTC).date().isoformat()
            for kept in (self._usage, self._marks):
                count += _drop(kept, [key for key in kept if key[1] < day][:limit])
        return count + _drop(self._codes, [code for code, owner in self._codes.items() if owner[1] < now][:limit])

    def _forget_turns(self, turns: Sequence[Turn]) -> None:
        ids = {turn.id for turn in turns}
        for turn in turns:
            del self._turns[turn.id]
            self._forget_messages(turn.chat, turn.id)
        self._heads = {key: turn_id for key, turn_id in self._heads.items() if turn_id not in ids}

    def _forget_messages(self, chat: str, answer_id: str) -> None:
        for message in self._messages.pop((chat, answer_id), {}).values():
            del self._answers[chat, message]


def _drop(kept: dict[Any, Any], keys: Sequence[Any]) -> int:
    for key in keys:
        del kept[key]
    return len(keys)

"""The table of rights, tried out: every line of it by everybody who can try, on a program that serves one platform."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.storage.memory.storage import MemoryStorage
from bots.access.allow_list import Access
from bots.access.rights import Actor, Decision, Platform, Rule, Thing, Verb, cases
from bots.bot import Bot
from bots.people.account import Account
from bots.profile.personal import Quotas, Used
from bots.profile.preferences import SettingBounds
from bots.profile.tally import day_of
from inference.serving.service import LocalInference
from tests.fakes import script, scripted_inference

RATE = 40
_QUOTA = 100_000
_WITHIN_S = 40.0
_AT_ONCE = 12
REFUSALS = re.compile(
    r"whom my operator has let in|messages in a minute|tokens for today are|"
    r"written for somebody else|somebody else's settings|Only the operator|Only those who|Only the person",
)
LINES: tuple[dict[str, Any], ...] = (
    {"match": "slow", "answer": "word " * 400, "tokens_per_s": 4},
    {"match": "count", "answer": " ".join(map(str, range(400)))},
    {"match": "sum", "answer": "<think>two and two</think>\n\nfour"},
)
_READING = {Verb.SEE, Verb.EXPORT, Verb.OPEN}

Case = tuple[Platform, Rule, Actor, Decision]


def on(platform: Platform) -> list[Case]:
    return [case for case in cases() if case[0] is platform]


def name_of(case: Case) -> str:
    _, rule, actor, expected = case
    return f"{rule.thing}: {rule.verb} by {actor}: {expected}"


@dataclass
class Attempt:
    """What somebody did; `words` are those that they see of what the bot says to it."""

    words: Callable[[], Sequence[str]]
    settled: Callable[[], bool] = lambda: True
    """Whether the platform has been told that it is over, where it is."""


@dataclass
class Seen:
    """What came of it."""

    effect: bool
    words: Sequence[str]

    @property
    def outcome(self) -> Decision:
        if any(REFUSALS.search(each) for each in self.words):
            assert not self.effect, f"it was refused, and done: {self.words}"
            return Decision.REFUSED
        assert self.effect, f"neither done nor refused: {self.words}"
        return Decision.DONE if self.words else Decision.SILENT


class World(ABC):
    """A program that serves one platform, and the people there.

    A person of a platform is whatever the subclass makes; `ids` are what the bot calls them.
    """

    says_that_it_is_stopped = True
    """A pressed Stop is answered with a word."""

    def __init__(self, bot: Bot, storage: MemoryStorage, allowed: set[str], owners: set[str]) -> None:
        self.bot, self.storage = bot, storage
        self.allowed, self.owners = allowed, owners
        self.numbers = itertools.count(1000)

    @abstractmethod
    async def person(self, actor: Actor) -> Any: ...

    @abstractmethod
    def id_of(self, person: Any) -> str: ...

    @abstractmethod
    async def prepared(self, rule: Rule, owner: Any) -> Any:
        """The thing, where people see it."""

    @abstractmethod
    async def act(self, rule: Rule, person: Any, thing: Any) -> Attempt: ...

    async def leave(self, person: Any) -> None:  # noqa: B027
        """Somebody has nothing more to do."""

    def state(self, rule: Rule, people: Sequence[str], thing: Any) -> object:
        """What the action changes, and nothing else does."""
        turns = [turn for turn in self.storage._turns.values() if turn.person in people]
        match rule.verb:
            case Verb.STOP:
                return [turn.id for turn in turns if turn.state == "stopped"]
            case Verb.CONTINUE:
                return [len(turn.text) for turn in turns if turn.role == "assistant"]
            case Verb.ASK | Verb.REGENERATE:
                return [turn.id for turn in turns if turn.role == "assistant"]
            case Verb.RESET | Verb.FOLLOW:
                return [(key, head) for key, head in self.storage._heads.items() if key[1] in people]
        return [self.storage._preferences.get(person) for person in people]

    async def recorded(self, chat: str, message_id: str) -> None:
        """Waits until the program knows what that message shows, which it does a moment after people see it."""
        while await self.storage.answer_at(chat, message_id) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def try_out(self, case: Case) -> Seen:
        _, rule, kind, _ = case
        owner = actor = await self.person(Actor.OWNER)
        if kind in (Actor.OTHER, Actor.MODERATOR, Actor.ADMIN) or (kind is Actor.OPERATOR and rule.visible):
            actor = await self.person(kind)
        try:
            return await self._tried_out(case, owner, actor)
        finally:
            for each in {id(owner): owner, id(actor): actor}.values():
                await self.leave(each)

    async def _tried_out(self, case: Case, owner: Any, actor: Any) -> Seen:
        _, rule, kind, expected = case
        self.allowed.add(self.id_of(owner))
        person = self.id_of(actor)
        self.allowed.add(person)
        thing = await self.prepared(rule, owner)
        await self._become(kind, person)
        people = list(dict.fromkeys((person, self.id_of(owner))))
        before = self.state(rule, people, thing)
        attempt = await self.act(rule, actor, thing)

        def effect() -> bool:
            return self.state(rule, people, thing) != before

        while True:
            words = [each for each in attempt.words() if each]
            refused = any(REFUSALS.search(each) for each in words)
            done = bool(words) if rule.verb in _READING or rule.thing is Thing.LINK else effect()
            if (refused or done) and attempt.settled():
                break
            await asyncio.sleep(0.01)
        if rule.verb in _READING or rule.thing is Thing.LINK:
            return Seen(not refused, words)
        if rule.verb is Verb.STOP and not self.says_that_it_is_stopped and not refused:
            words = [] if expected is Decision.SILENT else ["…"]
        elif not refused and expected is Decision.DONE:
            words = words or ["…"]  # the effect is what counts
        return Seen(effect(), words)

    async def _become(self, kind: Actor, person: str) -> None:
        now = time.time()
        match kind:
            case Actor.STRANGER:
                self.allowed.discard(person)
            case Actor.OPERATOR:
                self.owners.add(person)
            case Actor.SPENT:
                await self.storage.count(person, day_of(now), Used(tokens=_QUOTA), ())
            case Actor.HASTY:
                for rated in (True, False):
                    self.bot._gate._rates.add((person, rated), now, RATE)


@asynccontextmanager
async def a_bot(folder: Path) -> AsyncIterator[tuple[Bot, MemoryStorage, set[str], set[str], LocalInference]]:
    """A bot that lets in only whom it is told to, with a rate and a quota."""
    storage, numbers = MemoryStorage(), itertools.count()
    allowed: set[str] = set()
    owners: set[str] = set()
    async with scripted_inference(
        script(folder, *LINES), slots=64, max_waiting=400, max_waiting_per_owner=50, max_active_per_owner=8
    ) as inference:
        bot = Bot(
            inference,
            storage,
            bounds=SettingBounds(max_tokens=500, default_max_tokens=40),
            now=time.time,
            new_id=lambda: f"id{next(numbers)}",
            own=Account(storage, now=time.time, quotas=Quotas(tokens=_QUOTA), owners=owners),
            access=Access(owners=owners, allowed_users=allowed, strangers="refuse", requests_per_minute=RATE),
        )
        yield bot, storage, allowed, owners, inference


@dataclass
class Results:
    """What came of each case: they are tried out at once, since most of the time goes by with waiting."""

    seen: dict[str, Seen | BaseException] = field(default_factory=dict)

    def check(self, case: Case) -> None:
        seen = self.seen[name_of(case)]
        if isinstance(seen, BaseException):
            raise seen
        assert seen.outcome is case[3], seen


async def tried_out(worlds: AbstractAsyncContextManager[World], platform: Platform) -> Results:
    results, places = Results(), asyncio.Semaphore(_AT_ONCE)

    async def one(world: World, case: Case) -> None:
        try:
            async with places, asyncio.timeout(_WITHIN_S):
                results.seen[name_of(case)] = await world.try_out(case)
        except Exception as error:
            results.seen[name_of(case)] = error

    async with worlds as world:
        await asyncio.gather(*(one(world, case) for case in on(platform)))
    return results

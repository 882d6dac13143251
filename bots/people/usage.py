"""Who used how much: counted as answers end, held against the day's quota before they begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bots import wording
from bots.messages import ReplyEvent
from bots.profile.personal import Personal, Quotas, Used
from bots.profile.preferences import UserError
from bots.profile.tally import Tally, day_of
from inference.api import Interrupted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class QuotaClaim:
    """The most that an answer may take: tokens, and pictures to caption."""

    tokens: int
    captions: int


def seconds_to_midnight(now: float) -> float:
    """Until the day ends in UTC."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (midnight - moment).total_seconds()


@dataclass(slots=True)
class QuotaMeter:
    """Counts what answers take, and refuses what is beyond a quota.

    Args:
        now: seconds since the epoch.
        owners: people without a quota.
    """

    record: Personal
    now: Callable[[], float]
    quotas: Quotas = field(default_factory=Quotas)
    owners: Collection[str] = ()
    _begun: dict[QuotaClaim, str] = field(default_factory=dict)
    """What is being answered right now, in the order of arrival, and for whom."""

    def tally(self, person: str, captions: int = 0) -> Tally:
        """A new one; `captions`: those that an earlier process made for the answer, and did not live to count."""
        return Tally(person, self.now, captions)

    async def metered(
        self, tally: Tally, people: Sequence[str], asked: QuotaClaim, events: AsyncGenerator[ReplyEvent, None]
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of one answer, counted when they end, unless its reply's ending took the bill along; those of one
        that the program's stop interrupts are counted whole by whoever goes on with it.

        Args:
            people: all ids of the person.

        Raises:
            Refused: the quota is used up; before the first event.
            Interrupted: from the events.
        """
        goes_on = False
        with self._in_progress(people[0], asked):
            await self._check(people, asked)
            try:
                async with aclosing(events):
                    async for event in events:
                        tally.take(event)
                        yield event
            except Interrupted:
                goes_on = True
                raise
            finally:
                if not goes_on:
                    await asyncio.shield(self._count(tally))

    async def spent(self, person: str) -> str:
        """Return the sentence for a person whose quota of tokens is used up, "" for everybody else."""
        if not self.quotas.tokens:
            return ""
        people = await self.record.people(person)
        quota = self.limits(people).tokens
        if not quota or (await self.used_today(people)).tokens < quota:
            return ""
        return wording.tokens_used_up(quota, False, seconds_to_midnight(self.now()))

    def busy(self, people: Sequence[str]) -> bool:
        """Whether something is being answered for them."""
        return any(owner in people for owner in self._begun.values())

    async def used_today(self, people: Sequence[str]) -> Used:
        return await self.record.used_on(people, day_of(self.now()))

    def limits(self, people: Sequence[str]) -> Quotas:
        """The quotas that hold for them."""
        return Quotas() if any(person in self.owners for person in people) else self.quotas

    @contextmanager
    def _in_progress(self, owner: str, asked: QuotaClaim) -> Iterator[None]:
        self._begun[asked] = owner
        try:
            yield
        finally:
            del self._begun[asked]

    async def _check(self, people: Sequence[str], asked: QuotaClaim) -> None:
        """What earlier messages may still take counts as used, so that many at once are not more than one by one."""
        quotas = self.limits(people)
        if not ((quotas.tokens and asked.tokens) or (quotas.captions and asked.captions)):
            return
        used = await self.used_today(people)
        everything = list(self._begun)
        earlier = [each for each in everything[: everything.index(asked)] if self._begun[each] == people[0]]
        rest_s = seconds_to_midnight(self.now())
        if quotas.tokens and asked.tokens and used.tokens + sum(each.tokens for each in earlier) >= quotas.tokens:
            raise UserError(wording.tokens_used_up(quotas.tokens, bool(earlier), rest_s))
        captions = used.captions + sum(each.captions for each in earlier)
        if quotas.captions and asked.captions and captions + asked.captions > quotas.captions:
            raise UserError(wording.captions_used_up(quotas.captions, quotas.captions - captions, rest_s))

    async def _count(self, tally: Tally) -> None:
        try:
            if (spent := tally.bill()) is not None:
                await self.record.count(spent.person, spent.day, spent.used, spent.marks)
        except Exception:
            # The edge of what counting may spoil: the answer is there, and stays.
            log.exception("the usage of an answer was not counted")

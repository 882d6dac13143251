"""Messages on their way through a deployment, on a virtual clock.

A message has its picture looked at, if it has one; waits for a slot of the engine that has the fewest; and is shown by
two calls of its account: the first words as soon as the account may, and the last frame. Where the answer has ended
before the first call, that one shows all of it. Previews take what is left of an account and delay nobody, so they are
not simulated.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.simulation.stations import Engine, Server

_LAST_FRAME, _FIRST_WORDS = 0, 1
"""Whose call is next: an answer that is complete frees its chat."""


@dataclass(slots=True)
class Message:
    """Times in seconds of the virtual clock; infinity: not yet."""

    at: float
    tokens: int
    has_picture: bool = False
    account: int = 0
    ended_at: float = math.inf
    first_at: float = math.inf
    complete_at: float = math.inf
    calls: int = 0
    is_due: bool = False
    """A call of it waits for its account."""


@dataclass
class Flow:
    """The stations of a deployment. `run` moves its clock; everything else follows from that."""

    engines: Sequence[Engine]
    accounts: Sequence[Server]
    tasks: Sequence[Server] = ()
    overhead_s: float = 0.0
    """From a message to its first words, beyond what the engine takes, where nobody else is there."""
    messages: list[Message] = field(default_factory=list)
    now: float = 0.0
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _events: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = field(default_factory=list)
    _plans: dict[int, int] = field(default_factory=dict)
    """Of each engine the number of its newest event: older ones no longer hold."""

    def run(self, arriving: Iterable[Message]) -> list[Message]:
        """Serves everybody who arrives, in order of time, to the end."""
        for message in arriving:
            self._until(message.at)
            self.now = message.at
            self.messages.append(message)
            self._arrive(len(self.messages) - 1)
        self._until(math.inf)
        return self.messages

    def _until(self, at: float) -> None:
        while self._events and self._events[0][0] <= at:
            self.now, _, happens, what = heapq.heappop(self._events)
            happens(*what)

    def _later(self, at: float, happens: Callable[..., None], *what: int) -> int:
        number = next(self._order)
        heapq.heappush(self._events, (at, number, happens, what))
        return number

    def _arrive(self, number: int) -> None:
        if not self.messages[number].has_picture or not self.tasks:
            self._line_up(number)
            return
        task = min(self.tasks, key=lambda task: (task.load, task.free_at))
        task.enter(number)
        self._later(max(self.now, task.free_at), self._look, self.tasks.index(task))

    def _look(self, at: int) -> None:
        task = self.tasks[at]
        if task.load and task.free_at <= self.now:
            self._later(self.now + task.window_s, self._line_up, task.start(self.now))
        if task.load:
            self._later(max(self.now, task.free_at), self._look, at)

    def _line_up(self, number: int) -> None:
        at = min(range(len(self.engines)), key=lambda at: self.engines[at].load)
        if self.engines[at].enter(number):
            self._later(self.now + self.engines[at].first_token_s, self._begin, at, number)

    def _begin(self, at: int, number: int) -> None:
        self.engines[at].begin(number, self.messages[number].tokens, self.now)
        self._plan(at)
        self._later(self.now + self.overhead_s, self._call, number, _FIRST_WORDS)

    def _plan(self, at: int) -> None:
        self._plans[at] = next(self._order)
        if (end := self.engines[at].next_end()) < math.inf:
            heapq.heappush(self._events, (end, self._plans[at], self._end, (at, self._plans[at])))

    def _end(self, at: int, plan: int) -> None:
        if self._plans[at] != plan:
            return
        ended, next_one = self.engines[at].leave(self.now)
        self._plan(at)
        if next_one is not None:
            self._later(self.now + self.engines[at].first_token_s, self._begin, at, next_one)
        self.messages[ended].ended_at = self.now
        self._call(ended, _LAST_FRAME)

    def _call(self, number: int, rank: int) -> None:
        message = self.messages[number]
        if message.is_due or message.complete_at < math.inf:  # a call shows all there is when its turn comes
            return
        message.is_due = True
        account = self.accounts[message.account]
        account.enter(number, rank)
        self._later(max(self.now, account.free_at), self._show, message.account)

    def _show(self, at: int) -> None:
        account = self.accounts[at]
        if not account.load or account.free_at > self.now:
            return  # somebody more urgent took this turn, and another one is planned
        message = self.messages[account.start(self.now)]
        message.is_due = False
        message.calls += 1
        message.first_at = min(message.first_at, self.now)
        if message.ended_at <= self.now:
            message.complete_at = self.now
        if account.load:
            self._later(max(self.now, account.free_at), self._show, at)


def arrivals(rate: float, seconds: float, tokens: int, dice: random.Random, pictures: float = 0.0) -> Iterator[Message]:
    """Messages of people who know nothing of each other: a Poisson process; lengths are exponential about the mean."""
    at = dice.expovariate(rate) if rate > 0 else seconds
    while at < seconds:
        length = max(1, round(dice.expovariate(1 / tokens)))
        yield Message(at, length, dice.random() < pictures)
        at += dice.expovariate(rate)

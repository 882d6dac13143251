"""Messages on their way through a deployment, on a virtual clock.

A process takes a message in; it has its picture looked at, if it has one, and waits for a slot of the engine that has
the fewest. It is shown by calls of its account: the first words as soon as the account may, previews from what others
leave, and the last frame. Where the answer has ended before the first call, that one shows all of it. Intake and calls
take processor time of the process, whose one thread does them in turn.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.simulation.stations import Engine, Loop, Server

LAST_FRAME, FIRST_WORDS, PREVIEW = 0, 1, 2
"""Whose call is next: an answer that is complete frees its chat."""
PREVIEW_S = 1.05
"""Between two calls of a private chat (docs/delivery.md)."""
_TYPING_AFTER_S = 0.1


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
    is_shown: bool = False
    """Its last frame is on its way, or there."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Processor seconds of the process, and seconds that are waited for without it.

    Args:
        message_s: to take a message in and to end its answer; call_s: a call.
        company_s: how long the first token waits for company; other_s: all else from a message to its first words.
    """

    message_s: float = 0.0
    call_s: float = 0.0
    company_s: float = 0.0
    other_s: float = 0.0


@dataclass
class Flow:
    """The stations of a deployment. `run` moves its clock; everything else follows from that."""

    engines: Sequence[Engine]
    accounts: Sequence[Server]
    loops: Sequence[Loop]
    """Of each account the thread of its process."""
    work: Work = Work()
    tasks: Sequence[Server] = ()
    messages: list[Message] = field(default_factory=list)
    now: float = 0.0
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _events: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = field(default_factory=list)
    _plans: dict[int, int] = field(default_factory=dict)
    """Of each engine the number of its newest event: older ones no longer hold."""
    _speeds: dict[int, float] = field(default_factory=dict)
    """Tokens a second that each engine gives now."""
    _tokens_a_second: float = 0.0

    def __post_init__(self) -> None:
        self._processes = len({id(each) for each in self.loops})

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

    def _worked(self, account: int, cost_s: float) -> float:
        """When the process has done that."""
        return self.loops[account].take(self.now, cost_s, self._tokens_a_second / self._processes)

    def _arrive(self, number: int) -> None:
        message = self.messages[number]
        taken_in = self._worked(message.account, self.work.message_s) + self.work.other_s
        self._later(taken_in + _TYPING_AFTER_S, self._type, number)
        self._later(taken_in, self._look_at if message.has_picture and self.tasks else self._line_up, number)

    def _look_at(self, number: int) -> None:
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
        self._later(self.now + self.work.company_s, self._call, number, FIRST_WORDS)

    def _plan(self, at: int) -> None:
        self._plans[at] = next(self._order)
        speed = self.engines[at].tokens_a_second
        self._tokens_a_second += speed - self._speeds.get(at, 0.0)
        self._speeds[at] = speed
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
        self._call(ended, LAST_FRAME)

    def _call(self, number: int, rank: int) -> None:
        message = self.messages[number]
        if message.is_shown:  # a call shows all there is when its turn comes
            return
        account = self.accounts[message.account]
        account.enter(number, rank)
        self._later(max(self.now, account.free_at), self._show, message.account)

    def _show(self, at: int) -> None:
        account = self.accounts[at]
        if not account.load or account.free_at > self.now:
            return  # somebody more urgent took this turn, and another one is planned
        number = account.start(self.now)
        message = self.messages[number]
        message.calls += 1
        seen_at = self._worked(at, self.work.call_s)
        account.end(seen_at)
        message.first_at = min(message.first_at, seen_at)
        if message.ended_at <= self.now:
            message.is_shown, message.complete_at = True, seen_at
        else:
            self._later(seen_at + PREVIEW_S, self._call, number, PREVIEW)
        if account.load:
            self._later(max(self.now, account.free_at), self._show, at)

    def _type(self, number: int) -> None:
        """Shown where the account has calls to spare."""
        message = self.messages[number]
        account = self.accounts[message.account]
        if not message.calls and account.may_spare(self.now):
            account.take(self.now)
            account.end(self._worked(message.account, self.work.call_s))


def arrivals(rate: float, seconds: float, tokens: int, dice: random.Random, pictures: float = 0.0) -> Iterator[Message]:
    """Messages of people who know nothing of each other: a Poisson process; lengths are exponential about the mean."""
    at = dice.expovariate(rate) if rate > 0 else seconds
    while at < seconds:
        length = max(1, round(dice.expovariate(1 / tokens)))
        yield Message(at, length, dice.random() < pictures)
        at += dice.expovariate(rate)

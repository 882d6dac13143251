"""One lane to a scarce thing: bounded admission, a fair queue, and a ticket by which every wait can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from inference.api import Busy, Interrupted, Queued, Standing, Unavailable
from inference.queueing.adaptive_limit import AdaptiveLimit
from inference.queueing.fair_queue import FairQueue, QueueFull

T = TypeVar("T")
# What somebody is told who finds the queue full before anything was measured, in seconds.
_FIRST_GUESS_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionBounds:
    """What the service takes on: waiting places in all and for one owner, running requests of one owner.

    `weights` are the shares of owners and of platforms that are not 1.
    """

    max_waiting: int = 64
    max_waiting_per_owner: int = 8
    max_active_per_owner: int = 2
    deadline_s: float | None = None
    """From a request's arrival to its end."""
    weights: Mapping[str, float] = field(default_factory=dict)


class TicketCancelled(Exception):
    """A person wants this request no more."""


class GaveWay(Exception):
    """This request had a place in the queue, which somebody who had fewer needed."""


class OutOfTime(Exception):
    """This request has reached its deadline."""


class Ticket:
    """One request's way through a lane; `wait` is how everything on that way can be cancelled or given up."""

    def __init__(self, deadline_s: float | None = None) -> None:
        self.turn = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._deadline = None if deadline_s is None else self._loop.time() + deadline_s
        self._ended: TicketCancelled | Interrupted | GaveWay | None = None
        self._scope: asyncio.Timeout | None = None

    def cancel(self) -> None:
        """A person wants it no more."""
        self._end(TicketCancelled())

    def interrupt(self, why: str) -> None:
        """The service gives it up; a cancelled one stays cancelled."""
        self._end(Interrupted(why))

    def give_way(self) -> None:
        """Somebody else needs its place in the queue."""
        self._end(GaveWay())

    def _end(self, error: TicketCancelled | Interrupted | GaveWay) -> None:
        if self._ended is None:
            self._ended = error
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0)

    async def wait(self, awaitable: Awaitable[T], timeout_s: float | None = None) -> T:
        """Awaits; `cancel` and `interrupt` end it at once, and the awaitable with it.

        Raises:
            TicketCancelled, Interrupted, GaveWay, OutOfTime, TimeoutError.
        """
        if self._ended is not None:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise self._ended
        try:
            async with asyncio.timeout_at(self._until(timeout_s)) as self._scope:
                return await awaitable
        except TimeoutError:
            if self._ended is not None:
                raise self._ended from None
            if self._deadline is not None and self._loop.time() >= self._deadline:
                raise OutOfTime from None
            raise
        finally:
            self._scope = None

    def _until(self, timeout_s: float | None) -> float | None:
        if timeout_s is None:
            return self._deadline
        end = self._loop.time() + timeout_s
        return end if self._deadline is None else min(end, self._deadline)


class ResourceQueue:
    """A fair queue with its measured pace: one for text, one for pictures."""

    def __init__(self, slots: int, bounds: AdmissionBounds, clock: Callable[[], float]) -> None:
        self._queue = FairQueue(
            slots=slots,
            per_owner=bounds.max_active_per_owner,
            max_waiting=bounds.max_waiting,
            max_waiting_per_owner=bounds.max_waiting_per_owner,
            weights=bounds.weights,
        )
        self._limit = AdaptiveLimit(slots)
        self._epoch = 0
        """Counts how often the limit shrank: what ran together before that failed of the same lack."""
        self._alone: dict[str, asyncio.Event] = {}
        """Running requests that are to be tried alone, one by one; while there are some, nobody is admitted."""
        self._deadline_s = bounds.deadline_s
        self._clock = clock
        self._tickets: dict[str, Ticket] = {}
        self._starts: dict[str, tuple[float, int]] = {}
        self._mean_s: float | None = None
        self._later: asyncio.TimerHandle | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    def enter(
        self,
        request_id: str,
        owner: str,
        cost: float,
        standing: Standing = "new",
        group: str = "",
        *,
        is_long: bool = False,
    ) -> Ticket:
        """A place in the queue; where it is full, of whoever has the most. Raises Busy."""
        if request_id in self._tickets:
            raise Unavailable(f"request id {request_id} is in use")
        try:
            gave_way = self._queue.push(
                request_id, owner, cost, standing=standing, group=group, now=self._clock(), is_long=is_long
            )
        except QueueFull as full:
            raise Busy(self.wait_s(full.position)) from full
        if gave_way is not None:
            self._tickets[gave_way].give_way()
        ticket = self._tickets[request_id] = Ticket(self._deadline_s)
        self.idle.clear()
        self._admit()
        return ticket

    def read(self, request_id: str) -> None:
        """The engine has read the prompt."""
        self._queue.read(request_id)
        self._admit()

    def leave(self, request_id: str, spent: float) -> None:
        if self._tickets.pop(request_id, None) is None:
            return
        if (start := self._starts.pop(request_id, None)) is not None:
            took = self._clock() - start[0]
            self._mean_s = took if self._mean_s is None else 0.8 * self._mean_s + 0.2 * took
        self._queue.remove(request_id, spent)
        self._alone.pop(request_id, None)
        self._admit()
        if not self._tickets:
            self.idle.set()

    def cancel(self, request_id: str) -> None:
        if (ticket := self._tickets.get(request_id)) is not None:
            ticket.cancel()

    def interrupt_all(self, why: str) -> None:
        for ticket in list(self._tickets.values()):
            ticket.interrupt(why)

    def place(self, request_id: str) -> Queued | None:
        position = self._queue.position(request_id)
        return None if position is None else Queued(position, self.eta_s(position))

    @property
    def load(self) -> tuple[int, int, int]:
        """Requests that wait, requests that run, and how many could."""
        return self._queue.waiting, self._queue.running, self._queue.slots

    @asynccontextmanager
    async def alone(self, request_id: str, within_s: float) -> AsyncGenerator[None, None]:
        """The body runs while no other request does: the others end first, and none is admitted meanwhile.

        A body that takes longer than `within_s` goes on, and others are admitted beside it.

        Raises:
            TicketCancelled, OutOfTime; TimeoutError: the others did not end within `within_s`.
        """
        turn = self._alone[request_id] = asyncio.Event()
        self._admit()
        release = None
        try:
            await self._tickets[request_id].wait(turn.wait(), within_s)
            release = asyncio.get_running_loop().call_later(within_s, self._release, request_id)
            yield
        finally:
            if release is not None:
                release.cancel()
            self._release(request_id)

    def shrink(self, request_id: str, together: int) -> None:
        """One slot less than `together`, which were too much. Once for all that ran at the same time."""
        if request_id in self._starts and self._starts[request_id][1] == self._epoch:
            self._epoch += 1
            self._limit.shrink(together)
            self._queue.slots = self._limit.value

    def restore(self) -> None:
        """A request has ended well."""
        self._limit.good()
        self._queue.slots = self._limit.value

    def wait_s(self, position: int | None = None) -> float:
        """When somebody may come again who found no place or no time; never nothing."""
        return self.eta_s(self._queue.waiting + 1 if position is None else position) or _FIRST_GUESS_S

    def eta_s(self, position: int) -> float | None:
        """Seconds until the request in this place starts, by what requests took lately."""
        return None if self._mean_s is None else self._mean_s * position / self._queue.slots

    def _release(self, request_id: str) -> None:
        self._alone.pop(request_id, None)
        self._admit()

    def _admit(self) -> None:
        if self._alone:
            if self._queue.running == len(self._alone):
                next(iter(self._alone.values())).set()
            return
        for request_id in self._queue.start(self._clock()):
            self._starts[request_id] = self._clock(), self._epoch
            self._tickets[request_id].turn.set()
        self._admit_later()

    def _admit_later(self) -> None:
        """Once more when a slot that is kept free is free for everybody: until then perhaps nobody comes or goes."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if (kept_s := self._queue.kept_for_s(self._clock())) is not None:
            self._later = asyncio.get_running_loop().call_later(kept_s, self._admit)

"""Who is next: start-time fair queueing by owner. Pure: no clock, no asyncio, no torch.

Every owner has a virtual time, the tokens that were spent on them over their weight; whoever has had least goes next,
whatever the number of requests they have waiting. Newcomers begin at the queue's own virtual time, which goes on with
the tokens that are spent, shared by all who are there, so that no stream of them keeps anybody waiting for ever.
Sources: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing" (SIGCOMM 1996); for the queue's time A. Demers,
S. Keshav, S. Shenker, "Analysis and Simulation of a Fair Queueing Algorithm" (SIGCOMM 1989).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace


class Full(Exception):
    """No place for this request; `position` is the one that it would have had."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the queue is full at {position - 1} requests")
        self.position = position


@dataclass(slots=True)
class _Owner:
    virtual: float = 0.0
    active: int = 0
    waiting: deque[str] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class _Job:
    owner: str
    cost: float
    arrival: int


class FairQueue:
    """Requests by id, with at most `slots` running, `per_owner` of them one owner's.

    Args:
        slots: how many requests run at once.
        per_owner: how many of them may be one owner's, idle or not: each one slows down whoever comes next.
        max_waiting: places in the queue; one owner may hold `max_waiting_per_owner` of them.
        weights: shares of owners (`telegram:4711`) and of all owners of a platform (`telegram`); 1 for the others.
    """

    def __init__(
        self,
        *,
        slots: int,
        per_owner: int,
        max_waiting: int,
        max_waiting_per_owner: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.slots = slots
        self._per_owner = per_owner
        self._max_waiting = max_waiting
        self._max_waiting_per_owner = max_waiting_per_owner
        self._weights = weights or {}
        self._owners: dict[str, _Owner] = {}
        self._waiting: dict[str, _Job] = {}
        self._running: dict[str, _Job] = {}
        self._places: dict[str, int] = {}
        self._virtual = 0.0
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def push(self, request_id: str, owner: str, cost: float) -> None:
        """Adds a request that is expected to cost `cost` tokens.

        Raises:
            Full: the queue, or this owner's part of it, has no place.
        """
        state = self._owners.setdefault(owner, _Owner(virtual=self._virtual))
        if self._has_no_place(state):
            self._forget()
            raise Full(len(self._waiting) + 1)
        if not state.waiting and not state.active:
            state.virtual = max(state.virtual, self._virtual)
        self._arrivals += 1
        self._waiting[request_id] = _Job(owner, cost, self._arrivals)
        state.waiting.append(request_id)
        self._places = {}

    def start(self) -> list[str]:
        """Moves every request that may run now to the running ones, and returns their ids in order."""
        started = []
        while (request_id := self._startable()) is not None:
            job = self._waiting.pop(request_id)
            state = self._owners[job.owner]
            state.waiting.popleft()
            self._virtual = max(self._virtual, self._served(job.owner))
            state.active += 1
            state.virtual += self._share(job, job.cost)
            self._running[request_id] = job
            self._places = {}
            started.append(request_id)
        return started

    def remove(self, request_id: str, spent: float = 0.0) -> None:
        """Takes out a request, finished or given up; `spent` tokens replace the cost that was expected of it."""
        if (job := self._running.pop(request_id, None)) is not None:
            self._virtual += spent / self._present()
            state = self._owners[job.owner]
            state.active -= 1
            state.virtual += self._share(job, spent - job.cost)
        elif (job := self._waiting.pop(request_id, None)) is not None:
            self._owners[job.owner].waiting.remove(request_id)
        else:
            return
        self._places = {}
        self._forget()

    def position(self, request_id: str) -> int | None:
        """The place among those that wait, 1 is next; None for a request that does not wait."""
        if not self._places:  # everybody who waits asks, and between two changes all places stay as they are
            self._places = {other: place for place, other in enumerate(self._order(), 1)}
        return self._places.get(request_id)

    def _share(self, job: _Job, tokens: float) -> float:
        """What so many tokens cost this owner."""
        return tokens / self._weight(job.owner)

    def _served(self, owner: str) -> float:
        """The virtual time of an owner without what running requests are only expected to cost."""
        expected = sum(self._share(job, job.cost) for job in self._running.values() if job.owner == owner)
        return self._owners[owner].virtual - expected

    def _weight(self, owner: str) -> float:
        platform = owner.partition(":")[0]
        return self._weights.get(owner, self._weights.get(platform, 1.0))

    def _present(self) -> float:
        """The weights of all owners who run or wait."""
        return sum(self._weight(name) for name, state in self._owners.items() if state.active or state.waiting)

    def _has_no_place(self, state: _Owner) -> bool:
        if len(self._running) < self.slots and not self._waiting:
            return False
        return len(self._waiting) >= self._max_waiting or len(state.waiting) >= self._max_waiting_per_owner

    def _startable(self) -> str | None:
        """The next one, if there is a slot for it and its owner is not at their limit."""
        if len(self._running) >= self.slots or (request_id := self._next()) is None:
            return None
        at_limit = self._owners[self._waiting[request_id].owner].active >= self._per_owner
        return None if at_limit else request_id

    def _next(self) -> str | None:
        """The least served owner first, owners at their limit last."""
        candidates = [state for state in self._owners.values() if state.waiting]
        if not candidates:
            return None
        best = min(candidates, key=self._rank)
        return best.waiting[0]

    def _rank(self, state: _Owner) -> tuple[bool, float, int]:
        return state.active >= self._per_owner, state.virtual, self._waiting[state.waiting[0]].arrival

    def _order(self) -> Iterator[str]:
        """The ids that wait, in the order in which they would start if every running request ended one by one."""
        heads = []
        for state in self._owners.values():
            rest = iter(state.waiting)
            if (first := next(rest, None)) is not None:
                heads.append((*self._rank(state), first, rest))
        heapify(heads)
        while heads:
            at_limit, virtual, _, request_id, rest = heads[0]
            yield request_id
            if (following := next(rest, None)) is None:
                heappop(heads)
                continue
            job = self._waiting[request_id]
            virtual += self._share(job, job.cost)
            heapreplace(heads, (at_limit, virtual, self._waiting[following].arrival, following, rest))

    def _forget(self) -> None:
        """Owners who are owed nothing leave no trace, or the map would grow for ever."""
        quiet = not self._waiting and not self._running
        for name, state in list(self._owners.items()):
            if not state.waiting and not state.active and (quiet or state.virtual <= self._virtual):
                del self._owners[name]

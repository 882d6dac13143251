"""Who is let in, and who is next: start-time fair queueing by owner (`inference.queueing.fair_shares`).

Pure: no asyncio, no torch, and the clock is an argument.

Whoever has had least goes next, whatever the number of requests they have waiting. All new guests of a platform, whose
accounts cost nothing to make, are one flow together, and share what it gets by the same rule. When the queue is full,
the newest request of whoever has the most gives way (`inference.queueing.eviction`), or that of somebody who has had
an answer lately, to somebody who has had none. While people of another platform, or known ones, have asked lately,
nobody else takes the last free slots; nor does anybody who has more requests than may run at once, while somebody has
asked lately who has not. Nor are two long prompts of one owner read at once meanwhile.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from itertools import count, islice

from inference.api import Standing
from inference.queueing.eviction import OwnerPath, Places, path_of, platform_of
from inference.queueing.fair_shares import FairShares

SIDE_LATELY_S = 15.0
"""How long slots are kept free for a side that has asked: one of eight stands idle meanwhile."""
LATELY_S = 60.0
"""How long one is kept free from those who ask much, for somebody who has asked little."""
KEPT_S = 120.0
"""How long the place of a request that gave way is kept."""
SERVED_S = 600.0
"""Whoever has had an answer within that time may have to give way to somebody who has had none."""
_FOR_NEWCOMERS = 8
"""One in so many of the places is for people who are not known, though it be taken from people who are."""
_REMEMBERED = 10_000


class QueueFull(Exception):
    """No place for this request; `position` is the one that it would have had."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the queue is full at {position - 1} requests")
        self.position = position


@dataclass(frozen=True, slots=True)
class _Job:
    owner: str
    party: str
    """Whose flow it is: the owner's, or that of all new guests of the platform."""
    path: OwnerPath
    cost: float
    arrival: int
    is_long: bool = False
    """Its prompt takes long to be read."""

    @property
    def side(self) -> tuple[bool, str]:
        """For whom others keep slots free: known people, or others, of one platform."""
        return self.path[0] == "known", self.path[1]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The place of a request that gave way."""

    arrival: int
    virtual: float
    until: float


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
        self._parties = FairShares(self._weight)
        self._members: dict[str, FairShares] = {}
        """Of each party, what each of its owners has had."""
        self._lines: dict[str, dict[str, deque[str]]] = {}
        """Who waits, by party and owner."""
        self._waiting: dict[str, _Job] = {}
        self._running: dict[str, _Job] = {}
        self._reading: dict[str, str] = {}
        """Whose long prompts are being read, by request."""
        self._held = Places()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._served: OrderedDict[str, float] = OrderedDict()
        """When a request of each owner began to run last, those of lately alone, in order."""
        self._asked: dict[tuple[bool, str], float] = {}
        """When each side has asked last."""
        self._modest: OrderedDict[str, float] = OrderedDict()
        """When each owner who has no more requests than may run has asked last, those of lately alone, in order."""
        self._busy: OrderedDict[str, float] = OrderedDict()
        """When each of the others had more than that last, those of lately alone, in order."""
        self._places: dict[str, int] = {}
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def is_blank(self) -> bool:
        """Nothing is remembered of anybody's shares."""
        return not self._parties and not self._members

    def push(
        self,
        request_id: str,
        owner: str,
        cost: float,
        *,
        standing: Standing = "new",
        group: str = "",
        now: float = 0.0,
        is_long: bool = False,
    ) -> str | None:
        """Add a request that is expected to cost `cost` tokens; return the id of the waiting one that gave way to it.

        Args:
            standing: how well the owner is known.
            group: where the owner asks, "" in private.
            now: seconds of a monotonic clock.
            is_long: its prompt takes long to be read: of one owner one at a time while others are here, since engines
                read all prompts in the same steps.

        Raises:
            Full: the owner has all the places that one owner may have, or the queue is full and nobody has more.
        """
        path = path_of(owner, standing, group)
        party = f"guests of {path[1]}" if standing == "guest" else owner
        self._asked = {side: at for side, at in self._asked.items() if now - at < SIDE_LATELY_S}
        kept = self._kept.get(owner)
        if kept is not None and kept.until < now:
            kept = None
        given_up = self._make_room(path, now, returns=kept is not None)
        self._kept.pop(owner, None)
        self._arrivals += 1
        job = _Job(owner, party, path, cost, self._arrivals if kept is None else kept.arrival, is_long)
        self._asked[job.side] = now
        self._waiting[request_id] = job
        self._held.take(path)
        self._parties.arrive(party, kept.virtual if kept is not None and party == owner else None)
        self._members.setdefault(party, FairShares(self._weight)).arrive(owner)
        self._lines.setdefault(party, {}).setdefault(owner, deque()).append(request_id)
        self._places = {}
        self._note_asked(job, now)
        return given_up

    def start(self, now: float = 0.0) -> list[str]:
        """Moves every request that may run now to the running ones, and returns their ids in order."""
        started = []
        while len(self._running) < self.slots and (request_id := self._next(now)) is not None:
            job = self._take_out(request_id)
            self._parties.start(job.party, job.cost)
            self._members[job.party].start(job.owner, job.cost)
            self._running[request_id] = job
            if job.is_long:
                self._reading[request_id] = job.owner
            started.append(request_id)
            self._note_served(job.owner, now)
        return started

    def kept_for_s(self, now: float) -> float | None:
        """Seconds until `start` may give out a slot that is kept free now; None where time alone changes nothing."""
        if not self._waiting or len(self._running) >= self.slots:
            return None
        # Of the owners who ask little, one may be who waits; for that one the others count.
        modest = islice(reversed(self._modest.values()), 2)
        busy = [self._busy[job.owner] for job in self._waiting.values() if job.owner in self._busy]
        ends = [*(at + SIDE_LATELY_S for at in self._asked.values()), *(at + LATELY_S for at in (*modest, *busy))]
        return min((end - now for end in ends if end > now), default=None)

    def read(self, request_id: str) -> None:
        """The prompt of a running request has been read."""
        self._reading.pop(request_id, None)

    def remove(self, request_id: str, spent: float = 0.0) -> None:
        """Takes out a request, finished or given up; `spent` tokens replace the cost that was expected of it."""
        self.read(request_id)
        if (job := self._running.pop(request_id, None)) is not None:
            self._parties.finish(job.party, job.cost, spent)
            self._members[job.party].finish(job.owner, job.cost, spent)
        elif request_id in self._waiting:
            self._give_up(request_id)
        else:
            return
        self._places = {}
        self._forget()

    def position(self, request_id: str) -> int | None:
        """The place among those that wait, 1 is next; None for a request that does not wait."""
        if not self._places:  # everybody who waits asks, and between two changes all places stay as they are
            self._places = {other: place for place, other in enumerate(self._order(), 1)}
        return self._places.get(request_id)

    def _weight(self, name: str) -> float:
        return self._weights.get(name, self._weights.get(platform_of(name), 1.0))

    def _make_room(self, path: OwnerPath, now: float, *, returns: bool) -> str | None:
        """The id of the request that gave way, None where that was not needed. Raises Full.

        Args:
            returns: a place is kept for the owner; a quarter more than there are is for those.
        """
        if len(self._running) < self.slots and not self._waiting:
            return None
        giver = None
        if self._held.of(path[-1]) < self._max_waiting_per_owner:
            if len(self._waiting) < self._max_waiting + returns * max(1, self._max_waiting // 4):
                return None
            giver = self._held.giver(path) or self._served_lately(path, now)
        if giver is None:
            raise QueueFull(len(self._waiting) + 1)
        return self._take_place(giver, now)

    def _served_lately(self, path: OwnerPath, now: float) -> OwnerPath | None:
        """Who has had an answer lately, and gives way to this newcomer, who has had none and has nothing here.

        So a few accounts that ask again and again, one request each, keep nobody out for longer than it takes to serve
        each of them once. Beside the newcomer's own part, people who are known give them a part of the places.
        """
        if self._held.of(path[-1]) or self._was_served(path[-1], now):
            return None
        found = {job.path for job in self._waiting.values() if self._was_served(job.owner, now)}
        beside = [each for each in found if each[:-1] == path[:-1]]
        if not beside and path[0] != "known" and self._held.of_unknown < max(1, self._max_waiting // _FOR_NEWCOMERS):
            beside = [each for each in found if each[0] == "known"]
        return max(beside, key=lambda each: (self._served[each[-1]], each), default=None)

    def _was_served(self, owner: str, now: float) -> bool:
        return owner in self._served and now - self._served[owner] < SERVED_S

    def _note_served(self, owner: str, now: float) -> None:
        self._served[owner] = now
        self._served.move_to_end(owner)
        while len(self._served) > _REMEMBERED or now - next(iter(self._served.values())) >= SERVED_S:
            self._served.popitem(last=False)

    def _take_place(self, giver: OwnerPath, now: float) -> str:
        """The newest request of that owner leaves, and its place is kept for a while."""
        newest = max(
            (request_id for request_id, job in self._waiting.items() if job.path == giver),
            key=lambda request_id: self._waiting[request_id].arrival,
        )
        job = self._waiting[newest]
        flow = self._parties[job.party]
        self._kept[job.owner] = _Kept(job.arrival, flow.virtual, now + KEPT_S)
        self._kept.move_to_end(job.owner)
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        self._give_up(newest)
        return newest

    def _give_up(self, request_id: str) -> None:
        job = self._take_out(request_id)
        self._parties.give_up(job.party)
        self._members[job.party].give_up(job.owner)

    def _take_out(self, request_id: str) -> _Job:
        """Of those that wait."""
        job = self._waiting.pop(request_id)
        self._held.leave(job.path)
        lines = self._lines[job.party]
        lines[job.owner].remove(request_id)
        if not lines[job.owner]:
            del lines[job.owner]
        if not lines:
            del self._lines[job.party]
        self._places = {}
        return job

    def _next(self, now: float) -> str | None:
        """The least served owner of the least served party whom a free slot may be given to."""
        may_start = self._may_start(now)
        # Behind those that another side needs there are as many for people who ask little.
        is_last = self.slots - len(self._running) <= self._reserved * (1 + (self.slots >= 8))
        best: tuple[tuple[float, int], int, str] | None = None
        for party, lines in self._lines.items():
            members = self._members[party]
            ranks = (
                (members[owner].rank, self._waiting[line[0]].arrival, line[0])
                for owner, line in lines.items()
                if members[owner].active < self._per_owner
                and self._waiting[line[0]].side in may_start
                and not (self._must_wait_to_read(self._waiting[line[0]]) and self._are_others_modest(owner, now))
                and not (is_last and self._is_busy(owner, now) and self._are_others_modest(owner, now))
            )
            if (first := min(ranks, default=None)) is not None:
                rank = (self._parties[party].rank, *first[1:])
                best = rank if best is None else min(best, rank)
        return None if best is None else best[2]

    @property
    def _reserved(self) -> int:
        """The last slots, which are not for everybody; of few slots none."""
        return self.slots // 8 or int(self.slots >= 4)

    def _is_busy(self, owner: str, now: float) -> bool:
        """Whether the owner had more requests than may run at once: somebody who asks in many chats, or a program.

        Also for a while after it, or whoever asks again and again has such a slot whenever the rest is done.
        """
        return owner in self._busy and now - self._busy[owner] < LATELY_S

    def _must_wait_to_read(self, job: _Job) -> bool:
        """Whether another long prompt of its owner is being read."""
        return job.is_long and job.owner in self._reading.values()

    def _note_asked(self, job: _Job, now: float) -> None:
        owner = job.owner
        if self._held.of(owner) + self._members[job.party][owner].active > self._per_owner:
            self._busy[owner] = now
            self._busy.move_to_end(owner)
        elif not self._is_busy(owner, now):
            self._modest[owner] = now
            self._modest.move_to_end(owner)
        for lately in (self._modest, self._busy):
            while lately and (len(lately) > _REMEMBERED or now - next(iter(lately.values())) >= LATELY_S):
                lately.popitem(last=False)

    def _are_others_modest(self, owner: str, now: float) -> bool:
        """Whether somebody else has asked lately who has no more requests than may run."""
        return any(each != owner and now - at < LATELY_S for each, at in self._modest.items())

    def _may_start(self, now: float) -> set[tuple[bool, str]]:
        """The sides of those that wait which a free slot may be given to.

        The last ones are for a side that has asked lately and has none running.
        """
        sides = {job.side for job in self._waiting.values()}
        reserved = self._reserved
        if self.slots - len(self._running) > reserved:
            return sides
        running = Counter(job.side for job in self._running.values())
        lately = {side for side, at in self._asked.items() if now - at < SIDE_LATELY_S} | sides
        short = {side for side in lately if running[side] < reserved}
        return {side for side in sides if side in short or not short}

    def _order(self) -> Iterator[str]:
        """The ids that wait, in the order in which they would start if every running request ended one by one."""
        heads = []
        for party in self._lines:
            rest = self._order_in(party)
            at_limit, arrival, request_id = next(rest)
            heads.append((at_limit, self._parties[party].rank, arrival, request_id, rest))
        heapify(heads)
        for turn in count(self._parties.starts + 1):
            if not heads:
                return
            _, (virtual, _), _, request_id, rest = heads[0]
            yield request_id
            job = self._waiting[request_id]
            if (following := next(rest, None)) is None:
                heappop(heads)
                continue
            virtual += self._parties.charge(job.party, job.cost)
            heapreplace(heads, (following[0], (virtual, turn), *following[1:], rest))

    def _order_in(self, party: str) -> Iterator[tuple[bool, int, str]]:
        """Those of one party: whether the owner is at their limit, the arrival, the id."""
        members = self._members[party]
        heads = []
        for owner, line in self._lines[party].items():
            rest = iter(line)
            first = next(rest)
            at_limit = members[owner].active >= self._per_owner
            heads.append((at_limit, members[owner].rank, self._waiting[first].arrival, first, rest))
        heapify(heads)
        for turn in count(members.starts + 1):
            if not heads:
                return
            at_limit, (virtual, _), arrival, request_id, rest = heads[0]
            yield at_limit, arrival, request_id
            if (following := next(rest, None)) is None:
                heappop(heads)
                continue
            job = self._waiting[request_id]
            virtual += members.charge(job.owner, job.cost)
            heapreplace(heads, (at_limit, (virtual, turn), self._waiting[following].arrival, following, rest))

    def _forget(self) -> None:
        """Owners who are owed nothing leave no trace."""
        quiet = not self._waiting and not self._running
        for members in self._members.values():
            members.forget(everything=quiet)
        for party in self._parties.forget(everything=quiet):
            del self._members[party]

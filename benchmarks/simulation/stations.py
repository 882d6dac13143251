"""What a message passes: places that serve one after the other, and an engine whose streams share its tokens.

Pure: every method takes `now`, in seconds of one clock that never goes back.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

_LEAST_LEFT = 0.05
"""Tokens leave so much of a thread to everything else; `Rates.most` keeps them below all of it."""


@dataclass(frozen=True)
class Rates:
    """Tokens a second of all streams together by the number of streams, as measured; between two points on a line.

    With fewer streams than were measured each has what the fewest had, with more all have what the most had. `most`
    bounds it: what the process that shows the words can take.
    """

    measured: Mapping[int, float]
    most: float = math.inf

    def together(self, streams: int) -> float:
        """For `streams` of at least 1."""
        sizes = sorted(self.measured)
        at = bisect_left(sizes, streams)
        if at == 0:
            rate = self.measured[sizes[0]] * streams / sizes[0]
        elif at == len(sizes):
            rate = self.measured[sizes[-1]]
        else:
            low, high = sizes[at - 1], sizes[at]
            share = (streams - low) / (high - low)
            rate = self.measured[low] + share * (self.measured[high] - self.measured[low])
        return min(rate, self.most)


@dataclass
class Engine:
    """Streams of one engine: at most `slots` at once share its tokens equally, the others wait in order.

    A message takes a slot by `enter`, or gets one later by somebody's `leave`; its stream begins with `begin`, when the
    prompt has been read.
    """

    slots: int
    rates: Rates
    first_token_s: float = 0.0
    """From a free slot to the first token: the reading of the prompt."""
    given: float = 0.0
    """Tokens, to all streams until now."""
    taken: int = 0
    _now: float = 0.0
    _share: float = 0.0
    """Tokens that a stream would have which was there from the beginning."""
    _streams: list[tuple[float, int]] = field(default_factory=list)
    _waiting: deque[int] = field(default_factory=deque)

    @property
    def load(self) -> float:
        """Messages for each slot."""
        return (self.taken + len(self._waiting)) / self.slots

    @property
    def tokens_a_second(self) -> float:
        """Of all streams together, now."""
        return self.rates.together(len(self._streams)) if self._streams else 0.0

    def enter(self, message: int) -> bool:
        """Whether there is a slot for it now."""
        if self.taken >= self.slots:
            self._waiting.append(message)
            return False
        self.taken += 1
        return True

    def begin(self, message: int, tokens: float, now: float) -> None:
        self._advance(now)
        heapq.heappush(self._streams, (self._share + tokens, message))

    def next_end(self) -> float:
        """When the next stream ends, if none begins until then."""
        if not self._streams:
            return math.inf
        left = max(0.0, self._streams[0][0] - self._share)
        return self._now + left * len(self._streams) / self.rates.together(len(self._streams))

    def leave(self, now: float) -> tuple[int, int | None]:
        """The message whose stream has ended, and the one that gets its slot."""
        self._advance(now)
        until, message = heapq.heappop(self._streams)
        self._share = max(self._share, until)
        if self._waiting:
            return message, self._waiting.popleft()
        self.taken -= 1
        return message, None

    def _advance(self, now: float) -> None:
        if self._streams:
            together = (now - self._now) * self.rates.together(len(self._streams))
            self._share += together / len(self._streams)
            self.given += together
        self._now = now


@dataclass
class Server:
    """Begins at most `calls` in any `window_s`; of those who wait, the lowest `rank` first, then who came first.

    A call takes its place from its begin until `window_s` after its end. Whoever is worth less than `urgent` leaves
    `kept` places free.
    """

    calls: int
    window_s: float
    kept: int = 0
    urgent: int = 1
    """The last rank that may take the last places."""
    started: int = 0
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _ended: deque[float] = field(default_factory=deque)
    _waiting: list[tuple[int, int, int]] = field(default_factory=list)
    _ranks: dict[int, int] = field(default_factory=dict)
    """Of those who wait; another rank in `_waiting` is one that somebody had before."""

    @property
    def load(self) -> int:
        return len(self._ranks)

    @property
    def free_at(self) -> float:
        """From then on the next one may begin."""
        if not self._ranks:
            return self._free_from(1)
        self._forget()
        return self._free_from(1 if self._waiting[0][0] <= self.urgent else 1 + self.kept)

    def may_spare(self, now: float) -> bool:
        """Whether nobody waits and more than half of the places are free."""
        return not self._ranks and self._free_from(self.calls // 2 + 1) <= now

    def enter(self, message: int, rank: int = 0) -> None:
        """Waits, or is worth more from now on."""
        if rank < self._ranks.get(message, rank + 1):
            self._ranks[message] = rank
            heapq.heappush(self._waiting, (rank, next(self._order), message))

    def start(self, now: float) -> int:
        """The message whose turn it is."""
        self._forget()
        message = heapq.heappop(self._waiting)[2]
        del self._ranks[message]
        self.take(now)
        return message

    def take(self, now: float) -> None:
        """A call begins."""
        if len(self._ended) == self.calls:
            self._ended.popleft()
        self._ended.append(now)
        self.started += 1

    def end(self, at: float) -> None:
        """The call that began last ends then."""
        self._ended[-1] = at

    def _free_from(self, places: int) -> float:
        last = self.calls - places + 1
        return self._ended[-last] + self.window_s if len(self._ended) >= last else -math.inf

    def _forget(self) -> None:
        while self._waiting and self._ranks.get(self._waiting[0][2]) != self._waiting[0][0]:
            heapq.heappop(self._waiting)


@dataclass
class Loop:
    """The one thread of a process: what it does takes its turn, beside tokens that come all the time."""

    token_s: float = 0.0
    free_at: float = -math.inf
    busy_s: float = 0.0

    def take(self, now: float, cost_s: float, tokens_a_second: float = 0.0) -> float:
        """When something that takes so much processor time is done."""
        left = max(_LEAST_LEFT, 1 - tokens_a_second * self.token_s)
        self.free_at = max(now, self.free_at) + cost_s / left
        self.busy_s += cost_s
        return self.free_at

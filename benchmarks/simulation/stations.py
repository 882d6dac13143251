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
    """Begins at most `calls` in any `window_s`; of those who wait, the lowest `rank` first, then who came first."""

    calls: int
    window_s: float
    started: int = 0
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _recent: deque[float] = field(default_factory=deque)
    _waiting: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def load(self) -> int:
        return len(self._waiting)

    @property
    def free_at(self) -> float:
        """From then on one more may begin."""
        return self._recent[0] + self.window_s if len(self._recent) == self.calls else -math.inf

    def enter(self, message: int, rank: int = 0) -> None:
        heapq.heappush(self._waiting, (rank, next(self._order), message))

    def start(self, now: float) -> int:
        """The message whose turn it is."""
        if len(self._recent) == self.calls:
            self._recent.popleft()
        self._recent.append(now)
        self.started += 1
        return heapq.heappop(self._waiting)[2]

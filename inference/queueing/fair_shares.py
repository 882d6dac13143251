"""Start-time fair queueing: what each flow has had, and the clock at which newcomers begin. Pure.

Every flow has a virtual time: the tokens that were spent on it over its weight. Newcomers begin at the clock, which
goes on with the tokens that are spent, shared by all who are there, so that no stream of them keeps anybody waiting.
Sources: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing" (SIGCOMM 1996); for the clock A. Demers, S. Keshav,
S. Shenker, "Analysis and Simulation of a Fair Queueing Algorithm" (SIGCOMM 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Flow:
    """One flow.

    Args:
        turn: which of all starts was its last one. Of two flows that have had as much, the other one is next: requests
            that took nothing are no way to go first again and again.
        expected: what running requests are going to cost, which is part of `virtual` already.
    """

    virtual: float = 0.0
    turn: int = 0
    expected: float = 0.0
    waiting: int = 0
    active: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Whoever has had least goes first."""
        return self.virtual, self.turn

    @property
    def is_present(self) -> bool:
        return bool(self.waiting or self.active)


class FairShares:
    """Flows by name, all of one level.

    Args:
        weight: the share of a flow.
    """

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._weight = weight
        self._flows: dict[str, Flow] = {}
        self.clock = 0.0
        self.starts = 0

    def __getitem__(self, name: str) -> Flow:
        return self._flows[name]

    def __len__(self) -> int:
        return len(self._flows)

    def arrive(self, name: str, virtual: float | None = None) -> None:
        """One more request waits.

        Args:
            virtual: the time that a flow had when its request gave way; it is not moved to the clock.
        """
        flow = self._flows.setdefault(name, Flow(self.clock))
        if not flow.is_present:
            flow.virtual = max(flow.virtual, self.clock) if virtual is None else virtual
        flow.waiting += 1

    def start(self, name: str, cost: float) -> None:
        """A request that waited runs, and is expected to cost so many tokens."""
        flow = self._flows[name]
        self.clock = max(self.clock, flow.virtual - flow.expected)
        flow.waiting -= 1
        flow.active += 1
        self.starts += 1
        flow.turn = self.starts
        flow.expected += self.charge(name, cost)
        flow.virtual += self.charge(name, cost)

    def finish(self, name: str, cost: float, spent: float) -> None:
        """A request that ran has ended; what was `spent` replaces what it was expected to `cost`."""
        flow = self._flows[name]
        self.clock += spent / sum(self._weight(each) for each, state in self._flows.items() if state.is_present)
        flow.active -= 1
        flow.expected -= self.charge(name, cost)
        flow.virtual += self.charge(name, spent - cost)

    def give_up(self, name: str) -> None:
        """A request that waited has left."""
        self._flows[name].waiting -= 1

    def charge(self, name: str, tokens: float) -> float:
        """The virtual time that so many tokens are for this flow."""
        return tokens / self._weight(name)

    def forget(self, *, everything: bool) -> list[str]:
        """Drop flows that are owed nothing, or the map would grow for ever; return their names."""
        gone = [
            name
            for name, flow in self._flows.items()
            if not flow.is_present and (everything or flow.virtual <= self.clock)
        ]
        for name in gone:
            del self._flows[name]
        return gone

"""The one state machine of a service: loading, ready (restarting), draining, stopped.

    loading ──> ready <──> restarting      new requests are taken
       │          │            │
       └──────────┴──> draining ──> stopped      new requests are given up: Interrupted
       └──> failed

Nothing goes back from draining: a service that is being stopped takes nothing new, whatever else happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from inference.api import Interrupted

# "restarting": it serves, but its engine has died and could not be replaced yet.
ServiceState = Literal["loading", "ready", "restarting", "draining", "stopped", "failed"]

_AFTER: dict[ServiceState, frozenset[ServiceState]] = {
    "loading": frozenset({"ready", "failed", "draining", "stopped"}),
    "ready": frozenset({"restarting", "draining", "stopped"}),
    "restarting": frozenset({"ready", "draining", "stopped"}),
    "draining": frozenset({"stopped"}),
    "failed": frozenset({"draining", "stopped"}),
    "stopped": frozenset(),
}


class Lifecycle:
    """Where a service is between its start and its end, and since when. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.state: ServiceState = "loading"
        self.since = clock()

    @property
    def is_stopping(self) -> bool:
        return self.state in ("draining", "stopped")

    @property
    def seconds(self) -> float:
        """How long it has been in this state."""
        return self._clock() - self.since

    def become(self, state: ServiceState) -> None:
        """Does nothing where there is no way from here to that state, such as back from draining."""
        if state in _AFTER[self.state]:
            self.state, self.since = state, self._clock()

    def admit(self) -> None:
        """Raises Interrupted: nothing new is taken any more."""
        if self.is_stopping:
            raise Interrupted("the service is being stopped")

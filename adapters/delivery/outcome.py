"""How the delivery of one reply ended. An event is marked as answered from this, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ending(Enum):
    """What became of a reply."""

    DELIVERED = "delivered"
    """The last frame of everything is visible."""
    LOST = "lost"
    """It can never be shown: the chat or its message is gone, or the platform refused it for good."""
    LEFT = "left"
    """It is not over: this process gave it up, and the next start goes on with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` says why a reply is lost or left, for the log; "" where it was delivered."""

    ending: Ending
    reason: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether the event needs no further work: only then it is marked as answered."""
        return self.ending is not Ending.LEFT


DELIVERED = Outcome(Ending.DELIVERED)
NOTHING = DELIVERED
"""Of an event to which nothing is said."""

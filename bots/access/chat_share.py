"""How much of a chat one person may use, beside those who use it in the same minute. Pure: the clock is an argument."""

from __future__ import annotations

from collections import OrderedDict

from bots.access.rates import MINUTE_S

_SHARED = 0.75
"""Of what a chat can be sent. The rest is for answers while they grow, and for whoever asks next: they would have to
wait for the minute to end."""
_LEAST = 6
"""Calls: three answers."""
_CHATS = 10_000
_PEOPLE = 100
"""Of one chat. A share is never less than `_LEAST`, so more would change nothing."""


def shared(calls: float) -> int:
    """Return how many of a chat's calls in a minute are for those who ask there."""
    return int(min(calls, max(calls * _SHARED, _LEAST)))


class ChatShare:
    """Who was let in lately, by chat. The chats that were used least recently are forgotten."""

    def __init__(self) -> None:
        self._chats: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def share(self, chat: str, person: str, calls: float, now: float) -> int:
        """Return how many of its calls in a minute the chat has for this person, where all have asked for more."""
        here = self._chats.get(chat) or OrderedDict()
        others = sum(now - MINUTE_S < at <= now for each, at in here.items() if each != person)
        return min(shared(calls), max(int(shared(calls) / (others + 1)), _LEAST))

    def saw(self, chat: str, person: str, now: float) -> None:
        """The person was let in."""
        here = self._chats.setdefault(chat, OrderedDict())
        self._chats.move_to_end(chat)
        if len(self._chats) > _CHATS:
            self._chats.popitem(last=False)
        here[person] = now
        here.move_to_end(person)
        if len(here) > _PEOPLE:
            here.popitem(last=False)

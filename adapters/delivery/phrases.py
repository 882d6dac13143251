"""The bot's own sentences around an answer; `bots.wording` has them, `adapters.app` passes them in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bots.messages import Ended
from inference.api import Loading


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What the bot itself says around an answer, each as one short line.

    Args:
        waiting: the place in the queue (1 is next) and the expected wait in seconds, None while nothing is known.
        loading: what the answer waits for while that is being loaded.
        starting: the placeholder of an answer that is being begun.
        thinking: the seconds of reasoning, 0 where they are not known any more, and whether it is over.
        footer: the small print under a finished answer.
        empty: in place of an answer without a visible character.
        interrupted: under an answer that was cut off by a restart of the bot.
        broken: an unforeseen failure.
        unshown: in place of a message that cannot be shown here.
        superseded: in place of a message that shows nothing of the answer any more and cannot be deleted.
        rest_in_file: under the last message that there may be, and whether the answer is over.
    """

    waiting: Callable[[int, float | None], str]
    loading: Callable[[Loading], str]
    starting: Callable[[], str]
    thinking: Callable[[float, bool], str]
    footer: Callable[[Ended], str]
    empty: Callable[[Ended], str]
    interrupted: Callable[[], str]
    broken: Callable[[], str]
    unshown: Callable[[], str]
    superseded: Callable[[], str]
    rest_in_file: Callable[[bool], str]

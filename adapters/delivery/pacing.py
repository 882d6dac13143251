"""When the next call to a chat may go: spaced evenly, silent in a penalty, slower after one and carefully faster again.

Pure: every method takes `now`, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque

_SLOWEST_S = 60.0
_REMEMBERED_CALLS = 20
_REMEMBERED_S = 60.0
"""Platforms count calls by the minute at most."""
_FEW = 10
_VERY_FEW = 4
"""A penalty after fewer calls than `_FEW` may be chance, two with fewer than `_VERY_FEW` between them are not."""
_MARGIN = 1.1
"""How much slower than what a penalty seems to ask for the pace is at most."""
_INCIDENTAL = 1.05
"""An estimate that is no slower than the pace itself says that the penalty had another cause than the pace."""
_REFUTED = 1.3
"""One that is hardly slower, at a pace that had been slowed down already, says that slowing down does not help."""
_NUDGE = 1.02
_DECREASE = 1.5
"""The multiplicative decrease after a penalty."""
_STEP = 0.02
"""The additive increase of the rate at each success, as a share of the guessed rate."""
_FIRST_TRIAL_S = 8.0
"""After the end of a penalty; so a restriction that was short is over for us within half a minute."""
_SECOND_TRIAL_S = 300.0
_LAST_TRIAL_S = 14_400.0


class Pace:
    """One chat's interval: additive increase of the rate, multiplicative decrease at a penalty.

    The guess is never undercut. A penalty also says which interval would have been right: so many calls were admitted
    in the time until the next one will be. That is kept to, but the guess itself is tried again: soon after a penalty,
    because most restrictions are short, and later ever more rarely, in case the limit was loosened. Only a trial can
    tell. One that fails costs a penalty and leaves the pace as it was, so in steady load next to no call is penalised.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._guess_s = interval_s
        self._floor_s = interval_s
        """The shortest interval outside of a trial."""
        self._next = 0.0
        self._silent_until = 0.0
        self._quickest_s = float("inf")
        self._admitted: deque[float] = deque(maxlen=_REMEMBERED_CALLS)
        """When the latest calls since the last penalty were made."""
        self._suspected = False
        self._penalised_at = 0.0
        self._trial_after_s = _FIRST_TRIAL_S
        self._tried_at: float | None = None
        """Since when there is a trial; None outside of one."""

    def ready_at(self) -> float:
        """The time from which the next call may go."""
        return max(self._next, self._silent_until)

    def silent_until(self) -> float:
        return self._silent_until

    def began(self, now: float) -> None:
        self._next = now + self.interval_s

    def succeeded(self, now: float, took_s: float) -> None:
        """The call was applied at some moment of `took_s`; the next one keeps its distance from the latest."""
        self._admitted.append(now)
        self._suspected = self._suspected and len(self._admitted) < _VERY_FEW
        self._speed_up(now)
        self._quickest_s = min(took_s, self._quickest_s)
        self._next = max(self._next, now - self._quickest_s / 2 + self.interval_s)

    def penalised(self, now: float, retry_after_s: float) -> None:
        """Nothing may be sent for `retry_after_s`; afterwards more slowly, or as before a trial that failed."""
        if self._tried_at is not None:
            self.interval_s, self._tried_at = self._floor_s, None
            self._trial_after_s = min(_LAST_TRIAL_S, max(_SECOND_TRIAL_S, 3 * self._trial_after_s))
        else:
            self._slow_down(now, retry_after_s)
        self._admitted.clear()
        self._penalised_at = now
        self._silent_until = max(self._silent_until, now + retry_after_s)

    def _speed_up(self, now: float) -> None:
        if self._tried_at is not None:
            if now - self._tried_at > _REMEMBERED_S:
                self._floor_s, self._tried_at = self._guess_s, None
        elif self._floor_s > self._guess_s and now >= self._silent_until + self._trial_after_s:
            self.interval_s, self._tried_at = self._guess_s, now
        else:
            self.interval_s = max(self._floor_s, 1 / (1 / self.interval_s + _STEP / self._guess_s))

    def _slow_down(self, now: float, retry_after_s: float) -> None:
        if now - self._penalised_at > 4 * self._trial_after_s:
            self._trial_after_s = _FIRST_TRIAL_S
        wanted_s = self._estimate(now + retry_after_s)
        if wanted_s <= _INCIDENTAL * self.interval_s:
            floor_s = _NUDGE * self._floor_s
        elif self._is_slow_enough(retry_after_s) and wanted_s <= _REFUTED * self.interval_s:
            floor_s = self._floor_s = self._guess_s
        elif self._suspected or len(self._admitted) >= _FEW:
            floor_s = _MARGIN * min(wanted_s, 2 * self.interval_s)
        else:
            floor_s, self._suspected = self._floor_s, True
        self._floor_s = min(_SLOWEST_S, max(self._floor_s, floor_s, 0.05))
        self.interval_s = min(_SLOWEST_S, _DECREASE * max(self.interval_s, self._floor_s))

    def _is_slow_enough(self, retry_after_s: float) -> bool:
        """Whether many calls kept the distance that an earlier penalty asked for, and this one asks for much more."""
        slowed_down = self._floor_s > 1.01 * self._guess_s and self.interval_s <= 1.05 * self._floor_s
        return slowed_down and len(self._admitted) >= _FEW and retry_after_s > min(self.interval_s, 2 * self._guess_s)

    def _estimate(self, admitted_again_at: float) -> float:
        """The interval that would not have been penalised."""
        recent = [at for at in self._admitted if at > admitted_again_at - _REMEMBERED_S] or list(self._admitted)[-1:]
        return (admitted_again_at - recent[0]) / len(recent) if recent else _DECREASE * self.interval_s

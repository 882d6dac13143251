"""When the next call to a chat may go: spaced evenly, silent in a penalty, as fast as the penalties say is allowed.

Pure: every method takes `now`, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

_SLOWEST_S = 60.0
_QUICKEST_S = 0.05
_REMEMBERED_CALLS = 100
_PERIODS_S = (60.0, 300.0, 900.0, 3_600.0)
"""In which platforms count calls, most of them by the minute."""
_ROUNDED_S = 1.0
"""By so much a penalty in whole seconds may be longer than it need be."""
_MARGIN = 1.05
"""How much slower the pace is than what was measured."""
_MANY = 10
"""After so many calls without a penalty the limit may have changed. A burst that is allowed is seldom larger."""
_CLOSE, _CORRECTION, _MOST_CORRECTED = 0.3, 1.15, 2.0
"""A penalty shorter than that share of the interval says that the pace is hardly too fast, so it becomes that much
slower; but after too many of them something else is wrong."""
_RECOVERY_S = 25.0
"""Most restrictions are over by then, and where one is not, the trial that tells has failed within half a minute."""
_PATIENCE_S = 300.0
_TRIAL_COST = 280
"""Admitted calls that pay for a penalty: 0.36 % of them, which leaves a part of 0.5 % for other causes."""
_MOST_CREDIT = 4 * _TRIAL_COST
"""For the penalties that find a new limit, and one trial more."""
_FREE_TRIALS = 3
"""In debt. Trials that pass and are followed by the same trouble would otherwise go on for ever."""


class _Call(NamedTuple):
    began: float
    ended: float


class Pace:
    """One chat's interval: what is guessed, what penalties ask for, or one between these two, on trial.

    A penalty is a measurement: where the k calls since the last one began within the W seconds before the next one is
    allowed, the limit is k calls in W seconds. After many calls the limit may be a new one, so k is not known; then as
    many as there were within a minute are taken, the most lenient reading. If it is wrong, the next penalty comes after
    few calls, so it is exact. One that comes though the pace keeps to an exact measurement has another cause than the
    pace, and the guess holds again.

    Only a trial can tell that a limit is over. The first comes soon, at the pace before the trouble; later ones are
    paid for with admitted calls, so in steady load next to no call is penalised. One that fails leaves the pace as it
    was, and the next goes half as far, until that is hardly faster; so it is also found that a limit is a bit looser.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._guess_s = interval_s
        self._floor_s = interval_s
        """The shortest interval outside of a trial."""
        self._next = 0.0
        self._began_at = 0.0
        self._silent_until = 0.0
        self._quickest_s = float("inf")
        self._admitted: deque[_Call] = deque(maxlen=_REMEMBERED_CALLS)
        self._since_penalty = 0
        self._calls, self._period_s, self._exact = 1, interval_s, False
        """The limit as it was measured: so many calls in so many seconds."""
        self._troubled_at = float("-inf")
        self._trial_s, self._trial_at, self._trial_is_free = interval_s, 0.0, False
        self._tried: int | None = None
        """Calls admitted in a trial; None outside of one."""
        self._credit, self._free_trials = _MOST_CREDIT, _FREE_TRIALS

    def ready_at(self) -> float:
        """The time from which the next call may go."""
        return max(self._next, self._silent_until)

    def silent_until(self) -> float:
        return self._silent_until

    def began(self, now: float) -> None:
        if now >= self._trial_due():
            self.interval_s, self._tried = self._trial_s, 0
        elif self._tried and now > self.ready_at() + self._floor_s:
            self._tried = 0  # calls on both sides of a pause would have been allowed anyway
        self._began_at = now
        self._next = now + self.interval_s

    def succeeded(self, now: float, took_s: float) -> None:
        """The call was applied at some moment of `took_s`; the next one keeps its distance from the latest."""
        self._admitted.append(_Call(now - took_s, now))
        self._since_penalty += 1
        self._credit = min(_MOST_CREDIT, self._credit + 1)
        self._quickest_s = min(took_s, self._quickest_s)
        applied = now - self._quickest_s / 2
        self._next = max(self._next, applied + self.interval_s)
        if self._tried is None:
            self._keep_to_the_limit()
            self._next = min(self._next, max(applied + self._trial_s, self._trial_due()))
        else:
            self._tried += 1
            burst = _MANY / (1 - self.interval_s / self._floor_s)
            if self._tried > max(burst, 1.1 * self._calls + 1):
                self._trust(self.interval_s, now)

    def penalised(self, now: float, retry_after_s: float) -> None:
        """Nothing may be sent for `retry_after_s`; afterwards as was measured, or as before a trial that failed."""
        self._credit = max(-_MOST_CREDIT, self._credit - _TRIAL_COST)
        slowed_down = self._floor_s > self._guess_s
        if self._tried is not None:
            self._end_trial(now)
            if retry_after_s > self._floor_s:
                self._measure(now, retry_after_s)
        elif slowed_down and (self._exact or self._since_penalty >= _MANY):
            self._doubt(now, retry_after_s)
        else:
            if now > self._troubled_at + _RECOVERY_S:
                self._plan_recovery(now, self._floor_s, retry_after_s)
            self._exact = slowed_down or self._since_penalty < _MANY
            self._floor_s *= _MARGIN  # whatever the measurement says
            self._measure(now, retry_after_s)
        self.interval_s = self._floor_s
        self._since_penalty = 0
        self._silent_until = max(self._silent_until, now + retry_after_s)
        self._keep_to_the_limit()

    def _trial_due(self) -> float:
        affordable = self._trial_is_free or self._credit >= _TRIAL_COST
        possible = self._tried is None and affordable and self._trial_s < self._floor_s
        return max(self._trial_at, self._silent_until) if possible else float("inf")

    def _plan_recovery(self, now: float, before_s: float, retry_after_s: float) -> None:
        self._troubled_at, self._trial_s = now, before_s
        if retry_after_s > _RECOVERY_S:  # no short restriction, and it need not be tried to be known
            self._trial_at, self._trial_is_free = now + _PATIENCE_S, False
            return
        self._trial_at = now + _RECOVERY_S
        self._trial_is_free = self._credit > 0 or self._free_trials > 0
        self._free_trials = _FREE_TRIALS if self._credit > 0 else self._free_trials - 1

    def _end_trial(self, now: float) -> None:
        self._tried, self._troubled_at = None, now
        if not self._trial_is_free:
            self._trial_s = (self._trial_s * self._floor_s) ** 0.5
        if self._trial_s > 0.9 * self._floor_s:
            self._trial_s = self._guess_s
        self._trial_at, self._trial_is_free = now + _PATIENCE_S, False

    def _trust(self, interval_s: float, now: float) -> None:
        self.interval_s = self._floor_s = interval_s
        self._calls, self._period_s, self._exact = 1, interval_s, False
        self._tried, self._trial_s = None, self._guess_s
        self._trial_at, self._trial_is_free = now + _PATIENCE_S * self._trial_is_free, False

    def _doubt(self, now: float, retry_after_s: float) -> None:
        """The penalty is not explained by the limit that was measured."""
        if retry_after_s < _CLOSE * self.interval_s and self._floor_s < _MOST_CORRECTED * self._period_s / self._calls:
            self._floor_s = min(_SLOWEST_S, _CORRECTION * self._floor_s)
        else:
            before_s = self._floor_s
            self._trust(self._guess_s, now)
            self._free_trials = _FREE_TRIALS
            self._plan_recovery(now, before_s, retry_after_s)  # in case that a stricter limit shows itself now

    def _measure(self, now: float, retry_after_s: float) -> None:
        allowed_at = now + retry_after_s
        latest = list(islice(reversed(self._admitted), self._since_penalty))
        period_s = next((period_s for period_s in _PERIODS_S if period_s >= retry_after_s), retry_after_s)
        # When the penalty was decided is known but for the round trip.
        unsure_s = now - self._began_at + _ROUNDED_S * (retry_after_s == round(retry_after_s))
        counts = [sum(call.ended > allowed_at - period_s - unsure_s for call in latest)]
        if now < self._silent_until + _PATIENCE_S:
            counts.append(len(latest))  # the limit is hardly newer than that
        readings = [(allowed_at - latest[calls - 1].began, calls) for calls in counts if calls]
        if readings:
            self._period_s, self._calls = min(readings, key=lambda reading: reading[0] / reading[1])
            interval_s = (self._period_s - self._quickest_s) / self._calls
        else:  # the last penalty asked for too little
            self._calls, self._period_s = 1, 1.5 * self.interval_s
            interval_s = self._period_s
        self._floor_s = min(_SLOWEST_S, max(_QUICKEST_S, self._floor_s, _MARGIN * interval_s))

    def _keep_to_the_limit(self) -> None:
        """After a trial the calls that are allowed may be used up, however slowly they come now."""
        if len(self._admitted) >= self._calls:
            self._next = max(self._next, self._admitted[-self._calls].began + self._period_s)

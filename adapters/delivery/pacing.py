"""When the next call to a chat may go: spaced evenly, silent in a penalty, slower after one and carefully faster again.

Pure: every method takes `now`, in seconds of one monotonic clock.
"""

from __future__ import annotations

_SLOWEST_S = 60.0
_MARGIN = 1.6
"""How much slower than an interval that was penalised the pace stays until it tries again."""
_FIRST_TRIAL_S = 300.0
_LAST_TRIAL_S = 7_200.0
_STEP = 0.02
"""The additive increase of the rate at each success, as a share of the guessed rate."""


class Pace:
    """One chat's interval: additive increase of the rate, multiplicative decrease at a penalty.

    The guess is never undercut. An interval that was penalised is remembered and approached only in trials, which
    become rarer as they fail: in steady load next to no call ends in a penalty.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._guess_s = interval_s
        self._next = 0.0
        self._silent_until = 0.0
        self._quickest_s = float("inf")
        self._penalised_s = 0.0
        """The interval that met the last penalty; 0 after none."""
        self._penalised_at = 0.0
        self._trial_after_s = _FIRST_TRIAL_S

    def ready_at(self) -> float:
        """The time from which the next call may go."""
        return max(self._next, self._silent_until)

    def silent_until(self) -> float:
        return self._silent_until

    def began(self, now: float) -> None:
        self._next = now + self.interval_s

    def succeeded(self, now: float, took_s: float) -> None:
        """The call was applied at some moment of `took_s`; the next one keeps its distance from the latest."""
        self._quickest_s = min(took_s, self._quickest_s)
        self._next = max(self._next, now - self._quickest_s / 2 + self.interval_s)
        trial = now >= self._penalised_at + self._trial_after_s
        fastest = self._guess_s if trial else max(self._guess_s, self._penalised_s * _MARGIN)
        if self.interval_s > fastest:
            self.interval_s = max(fastest, 1 / (1 / self.interval_s + _STEP / self._guess_s))

    def penalised(self, now: float, retry_after_s: float) -> None:
        """Nothing may be sent for `retry_after_s`; afterwards half as often."""
        calm_s = now - self._penalised_at
        self._trial_after_s = (
            _FIRST_TRIAL_S if calm_s > 4 * self._trial_after_s else min(_LAST_TRIAL_S, 2 * self._trial_after_s)
        )
        self._silent_until = max(self._silent_until, now + retry_after_s)
        self._penalised_s, self._penalised_at = max(self.interval_s, 0.05), now
        self.interval_s = min(_SLOWEST_S, 2 * self._penalised_s)

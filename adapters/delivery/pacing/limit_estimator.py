"""What a chat really allows, as far as its penalties tell.

Pure: every method takes its time in seconds of one monotonic clock.
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.delivery.pacing.rate_budget import Rate

_PERIODS_S = (60.0, 300.0)
"""In which platforms count calls, most of them by the minute."""
_PUNISHMENT_S = _PERIODS_S[-1]
"""A longer penalty is no window of a limit."""
_SLOWEST_S = 60.0
"""For one call, where nothing but refusals is known: what is slower, the penalties have to say."""
_RECENT_S = 300.0
"""A limit is hardly newer than a penalty of so long ago."""
_REMEMBERED_CALLS = 300
_QUIET_S, _LONGEST_QUIET_S = 60.0, 480.0
"""Without a penalty until more is tried; twice as long after each trial that failed."""
_SHORTEST_TRIAL_S = 20.0
"""Sooner, calls that the platform has saved up would make any trial pass."""
_TRIAL_COST = 280
"""Admitted calls that pay for a penalty: 0.36 % of them, which leaves a part of 0.5 % for other causes."""
_MOST_CREDIT = 6 * _TRIAL_COST
"""For the penalties that find a limit, and for the first trial."""
_FEW = 4
"""One call more would be more than a quarter of so few."""
_MANY = 10
"""Where so many calls kept to a limit that was measured, a penalty has another cause."""


class _Call(NamedTuple):
    began: float
    ended: float


class LimitEstimator:
    """The stricter limit that penalties have shown, beside that of the platform's table.

    A penalty says when the next call is admitted. At the end of the last penalty nothing was left but one call, and W
    seconds later, at the end of this one, it is so again: the k calls between them are all that the limit takes, k in W
    seconds, by which this penalty would not have come. Where the last one is long ago, the limit may be newer than some
    of the calls since; then those of a minute are taken, the most lenient reading, and if it is wrong the next penalty
    comes soon and tells exactly.

    After a minute without a penalty the limit grows by a call, or by a quarter where it is a few calls only; then by
    two, four and so on in each further window, until the table's holds again. A penalty ends that, and the limit is
    what it was before the last step. Every penalty has to be paid for by 280 admitted calls before more is tried, so in
    steady load hardly any call is penalised; a chat begins with the calls for six.
    """

    def __init__(self, table: Rate) -> None:
        self.learned: Rate | None = None
        """None: nothing stricter than the table is known."""
        self._table = table
        self._admitted: list[_Call] = []
        self._since_penalty = 0
        self._penalised_at = float("-inf")
        self._allowed_at = float("-inf")
        """The end of the last penalty."""
        self._exact = False
        """The limit was told by the calls since another penalty."""
        self._credit = _MOST_CREDIT
        self._before: Rate | None = None
        """The limit before the last step of its growth; None outside of a trial."""
        self._step = 1
        self._grown_at = 0.0
        self._quiet_s = _QUIET_S

    @property
    def ended(self) -> list[float]:
        """When the admitted calls ended that may still count."""
        return [call.ended for call in self._admitted]

    def admitted(self, began: float, ended: float, *, is_used: bool) -> bool:
        """A call went through; `is_used`: half of the learned limit was spent. Returns whether that has changed."""
        self._admitted.append(_Call(began, ended))
        del self._admitted[:-_REMEMBERED_CALLS]
        self._since_penalty += 1
        self._credit = min(_MOST_CREDIT, self._credit + 1)
        if self.learned is None or not is_used:
            return False
        if self._before is None:
            if ended < self._penalised_at + self._quiet_s or self._credit < _TRIAL_COST:
                return False
            self._step = 1
        elif ended < self._grown_at + max(_SHORTEST_TRIAL_S, self.learned.window_s):
            return False
        self._grow(ended)
        return True

    def penalised(self, began: float, now: float, retry_after_s: float) -> None:
        """The call that began then was refused, and the next one is admitted in `retry_after_s`."""
        before, self._before = self._before, None
        is_recent = now < self._penalised_at + _RECENT_S
        since, allowed_at = self._since_penalty, now + retry_after_s
        self._penalised_at, self._since_penalty = now, 0
        if since or not is_recent:  # otherwise it is the last one, which goes on
            self._credit = max(-_MOST_CREDIT, self._credit - _TRIAL_COST)
        if retry_after_s > _PUNISHMENT_S:
            self.learned = before or self.learned
        elif before is not None and retry_after_s <= before.window_s + 1 and now < self._grown_at + _RECENT_S:
            self.learned = before
            self._quiet_s = min(_LONGEST_QUIET_S, 2 * self._quiet_s)
        elif before is None and self.learned is not None and self._exact and since >= _MANY:
            self.learned = None
        else:
            self._measure(began, allowed_at, since if is_recent else None)
        self._allowed_at = allowed_at

    def _measure(self, began: float, allowed_at: float, since: int | None) -> None:
        """`since`: the number of calls since another penalty; None where it is not known what counts."""
        self._exact, self._quiet_s = since is not None, _QUIET_S
        if since is None:
            period_s = next((each for each in _PERIODS_S if each >= allowed_at - began), _PUNISHMENT_S)
            since = sum(call.ended >= allowed_at - period_s for call in self._admitted)
        counted = self._admitted[-since:] if since else []
        if counted:
            first = counted[0].began
            if self._exact and first - self._allowed_at < allowed_at - first:
                first = min(first, self._allowed_at)
            self.learned = Rate(len(counted), allowed_at - first)
        elif self._exact:  # the last penalty asked for too little
            slower_s = min(_SLOWEST_S, 2 * (self.learned or self._table).interval_s)
            self.learned = Rate(1, max(slower_s, allowed_at - began))

    def _grow(self, now: float) -> None:
        limit = self.learned
        if limit is None:
            return
        if limit.calls >= _FEW:
            grown = Rate(limit.calls + self._step, limit.window_s)
        else:
            grown = Rate(limit.calls, limit.window_s * 0.8**self._step)
        self._before, self._grown_at = limit, now
        self._step *= 2
        self.learned = grown if grown.interval_s > self._table.interval_s else None

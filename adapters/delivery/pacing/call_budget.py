"""What a call to a chat is worth, and how many calls have to be free before it may go.

Pure: every method takes its time in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from enum import IntEnum
from typing import NamedTuple

from adapters.delivery.pacing.limit_estimator import LimitEstimator
from adapters.delivery.pacing.rate_budget import Rate, RateBudget

_SOON_S = 3.0
"""A last frame may use a call that comes back within that time: no answer is over at once."""
_SPREAD = 0.25
"""A preview waits for that share of the window, divided by the previews that each answer may still have, and"""
_LEAST_ROUNDS = 3
"""no longer than for so many: few previews go while answers grow, and all answers at the same time."""
_OWN_WORDS = 2
"""So many of the bot's own words for one person are as urgent as first words; more of them get rarer."""
PATIENCE_S = 15.0
"""Who has not used their share waits no longer than that for the sake of others' last frames, which may never end."""
_REFUSALS = 4
"""One in so many of the calls is for refusals; what is beyond that waits until half of all calls are free."""
_CLOCK_S = 0.01
"""Platforms round what they say of a penalty."""


class Priority(IntEnum):
    """What a call shows; smaller is worth more."""

    FINAL = 0
    """The last frame of an answer, and its files."""
    FIRST = 1
    """The first words of an answer."""
    NOTICE = 2
    """The bot's own words: commands, settings, panels."""
    REFUSAL = 3
    """Why something was not done."""
    PREVIEW = 4
    """More words, a place in the queue, the seconds of reasoning."""


OWN_WORDS = (Priority.NOTICE, Priority.REFUSAL)


class Demand(NamedTuple):
    """The calls that the replies under way will need from one budget, beside their previews."""

    firsts: int = 0
    """For first words that are not shown yet."""
    finals: int = 0
    """For last frames of answers that are shown in part."""
    later_finals: int = 0
    """For last frames of the others. Where there are not enough for both, a whole answer without first words is better
    than first words whose end has to wait."""
    askers: Collection[str] = ()
    """The people that they are for."""
    for_an_answer: int = 2
    """Calls that somebody who comes will need soon; of edits none, for they end an answer."""


class _Spent(NamedTuple):
    at: float
    asker: str
    priority: Priority


class CallBudget:
    """The calls of one chat (or one kind of them), spent by value.

    What a call needs to go: a last frame one free call; first words and own words leave the calls that the last frames
    of all answers under way need; a preview leaves what their first words need too, and for people who come a third of
    the rest, or an answer for everybody who is here. So previews get rare first. Whoever has used their share leaves
    some for others, and all refusals together have a part of the calls.
    """

    def __init__(self, rate: Rate) -> None:
        self._estimator = LimitEstimator(rate)
        self._table = RateBudget(rate)
        self._learned: RateBudget | None = None
        self._began = 0.0
        self._shown_at = float("-inf")
        """When the last call for an answer began."""
        self._spent: list[_Spent] = []

    @property
    def capacity(self) -> int:
        return min(budget.rate.capacity for budget in self._budgets)

    @property
    def span_s(self) -> float:
        """Seconds until all calls are back after a burst."""
        return max(budget.rate.span_s for budget in self._budgets)

    @property
    def comes_back_one_by_one(self) -> bool:
        """The calls of no window: whoever comes finds one soon, whatever others have used."""
        return all(budget.rate.burst for budget in self._budgets)

    def free(self, at: float) -> int:
        return min(budget.free(at) for budget in self._budgets)

    def ready_at(
        self,
        priority: Priority,
        asker: str,
        demand: Demand,
        now: float,
        since: float = float("inf"),
        *,
        leaves: int = 0,
    ) -> float:
        """The time from which a call may go, if nothing else happens until then; `now` or later.

        Args:
            since: since when it waits, of a preview: since when its reply shows the same; inf: others may go first
                however long that takes.
            leaves: so many calls are for others, because this person has used their share.
        """
        self._forget(now)
        if priority is Priority.PREVIEW:
            return self._preview_at(demand, now, since)
        if priority is Priority.FINAL:
            return max(now, self._free_at(1 + leaves))
        known = 1 + demand.finals + demand.later_finals
        if priority is Priority.FIRST:
            promised = self._free_at(known + leaves) - _SOON_S
            promised = promised if leaves else min(promised, since + PATIENCE_S)
            return max(now, self._free_at(1), promised)
        more = self.capacity // 2 if self._own_words(asker) >= _OWN_WORDS else 0
        promised = self._free_at(known) - _SOON_S
        promised = promised if more or leaves else min(promised, since + PATIENCE_S)
        at = max(now, self._free_at(1 + max(more, leaves)), promised)
        return at if priority is Priority.NOTICE else self._refusal_at(at, now)

    def _refusal_at(self, at: float, now: float) -> float:
        """From when on one may go that could by itself go at that time."""
        most = max(1, self.capacity // _REFUSALS)
        refusals = [spent.at for spent in self._spent if spent.priority is Priority.REFUSAL]
        if len(refusals) < most:
            return at
        return max(at, now, min(self._free_at(1 + self.capacity // 2), refusals[-most] + self.span_s))

    def costs(self, now: float) -> Counter[str]:
        """The calls that each person has cost the chat lately, without previews."""
        self._forget(now)
        return Counter(spent.asker for spent in self._spent)

    def begin(self, now: float) -> None:
        self._began = now
        for budget in self._budgets:
            budget.begin()

    def admitted(self, now: float, priority: Priority, asker: str) -> None:
        """The call was applied, or may have been."""
        for budget in self._budgets:
            budget.end(now)
        if priority is not Priority.PREVIEW:
            self._spent.append(_Spent(now, asker, priority))
        if priority not in OWN_WORDS:
            self._shown_at = self._began
        learned = self._learned
        is_used = learned is not None and learned.free(now) <= learned.rate.capacity // 2
        if self._estimator.admitted(self._began, now, is_used=is_used):
            self._relearn()

    def withdraw(self) -> None:
        """The call that began was not applied."""
        for budget in self._budgets:
            budget.withdraw()

    def penalised(self, now: float, retry_after_s: float, *, of_chat: bool = True) -> float:
        """Returns until when the chat is silent. `of_chat`: its own limit was passed, and not the account's."""
        self.withdraw()
        if of_chat:
            self._estimator.penalised(self._began, now, retry_after_s)
            self._relearn()
        return now + retry_after_s + _CLOCK_S

    def is_idle(self, now: float) -> bool:
        """Whether all calls are back."""
        return self.free(now) >= self.capacity

    def _preview_at(self, demand: Demand, now: float, shown_at: float) -> float:
        known = demand.firsts + demand.finals + demand.later_finals
        return max(self._preview_from(budget, known, demand, now, shown_at) for budget in self._budgets)

    def _preview_from(self, budget: RateBudget, known: int, demand: Demand, now: float, shown_at: float) -> float:
        """Those who are here may go on asking; where calls come back one by one, none are kept for that."""
        again = demand.for_an_answer * self._people(demand)
        rate, capacity = budget.rate, budget.rate.capacity
        spare = max(1, (capacity - known) // 3, 0 if rate.burst else again) if demand.for_an_answer else 0
        keep = min(capacity - 1, known + spare)
        at = max(now, budget.free_at(1 + keep))
        if at == float("inf"):
            return at
        answers = max(1, demand.firsts + demand.finals)
        rounds = (budget.free(at) - keep) / answers
        spread = min(shown_at, self._shown_at) + _SPREAD * rate.span_s / (
            rounds if answers == 1 else max(rounds, _LEAST_ROUNDS)
        )
        return max(at, min(spread, budget.next_back(at)))

    @property
    def _budgets(self) -> list[RateBudget]:
        return [self._table] if self._learned is None else [self._table, self._learned]

    def _free_at(self, needed: int) -> float:
        return max(budget.free_at(min(needed, budget.rate.capacity)) for budget in self._budgets)

    def _relearn(self) -> None:
        learned = self._estimator.learned
        self._learned = None if learned is None else RateBudget(learned, self._estimator.ended)

    def _people(self, demand: Demand) -> int:
        return len({*demand.askers, *(spent.asker for spent in self._spent)})

    def _own_words(self, asker: str) -> int:
        return sum(spent.asker == asker and spent.priority in OWN_WORDS for spent in self._spent)

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0].at <= now - self.span_s:
            self._spent.pop(0)

"""The figures of `benchmarks.against`: what counts as seen, how rounds are put together, and which goals hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from benchmarks.rivals import report
from benchmarks.rivals.people import Question
from benchmarks.rivals.report import goals
from benchmarks.rivals.results import Result, figures, quantile

STORY = "Once upon a time there was a lighthouse that nobody had seen."


def question(*frames: tuple[float, str]) -> Question:
    return Question(1, "a story", 10.0, lambda: frames, lambda contender: True)


def test_only_words_of_the_answer_count_as_seen() -> None:
    asked = question(
        (10.1, "…"), (10.6, "Writing…"), (11.0, "2nd in the queue, about 3 s"), (12.0, "Once"), (13.0, STORY)
    )
    assert asked.seen() == (2.0, 3.0, STORY)


@pytest.mark.parametrize("mark", ["", "-# "])
def test_small_print_below_an_answer_is_no_part_of_it(mark: str) -> None:
    footer = f"\n\n{mark}SmolLM2 · 128 tokens · 2.1 s · reached the limit of tokens"
    assert question((11.0, "Once"), (12.0, STORY), (14.0, STORY + footer)).seen() == (1.0, 2.0, STORY)


def test_who_was_not_answered_to_the_end_has_seen_words_or_none() -> None:
    assert question((10.5, "…"), (11.5, STORY)).begun() == 1.5
    assert question((10.5, "…")).begun() == math.inf
    assert question().begun() == math.inf


def test_results_survive_json() -> None:
    result = Result(part="group", people=2, contender="B", first=[0.5, math.inf], complete=[math.inf] * 2, refused=3)
    assert Result.read(result.written()) == result
    assert None in result.written()["first"]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)])
def test_quantiles_lie_between_what_was_seen(share: float, expected: float) -> None:
    assert quantile([4.0, 1.0, 2.0], share) == expected


def test_one_that_never_came_makes_only_the_quantiles_beyond_it_infinite() -> None:
    assert quantile([1.0, 1.0, 1.0, math.inf], 0.5) == 1.0
    assert quantile([1.0, 1.0, 1.0, math.inf], 0.95) == math.inf


def private(contender: str, people: int, first: float, complete: float) -> Result:
    result = Result(
        part="private", people=people, contender=contender, first=[first] * people, complete=[complete] * people
    )
    result.tokens, result.took_s = 100 * people, complete
    return result


def verdicts(results: Sequence[Result]) -> dict[str, bool]:
    return {goal.what: goal.holds for goal in goals(figures(results))}


def test_goals_in_private_are_judged_against_the_usual_bot_and_the_engine() -> None:
    others = [private("B", 1, 0.1, 1.2), private("D", 1, 0.1, 1.0)]
    assert verdicts([private("A", 1, 0.2, 1.05), *others]) == {
        "one in private: first words p95": True,
        "one in private: complete p95, A : B": True,
        "one in private: tokens a second, A : D": True,
    }
    assert not any(verdicts([private("A", 1, 1.1, 2.1), *others]).values())


def test_a_goal_that_nobody_measured_is_not_judged() -> None:
    assert verdicts([private("A", 1, 0.2, 1.05)]) == {}


def test_in_a_group_no_call_may_be_refused() -> None:
    ours = Result(part="group", people=4, contender="A", first=[1.0] * 4, complete=[9.0] * 4, refused=1)
    theirs = Result(part="group", people=4, contender="B", first=[0.1] * 4, complete=[60.0] * 4)
    assert verdicts([ours, theirs]) == {
        "four in a group: first words p95": True,
        "four in a group: complete p95, A : B": True,
        "four in a group: 429s": False,
    }


def test_the_page_has_every_case_and_every_goal() -> None:
    results = [private(name, 4, 0.5, 4.0) for name in "ABD"]
    told = report.page(report.by_part(results, "python -m benchmarks.against", 0.1))
    assert "quiet" in told
    assert "beside other programs" in report.page(report.by_part(results, "python -m benchmarks.against", 9.0))
    assert told.count("| private | 4 |") == 3
    assert told.count("holds") + told.count("**missed**") == 2

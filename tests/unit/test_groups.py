"""Answers that grow in one group at the same time: first words and last frames at once, few previews well used."""

from __future__ import annotations

import pytest

from benchmarks.groups import group


@pytest.mark.parametrize(
    ("people", "seconds", "still_s"), [(1, 30.0, 5.5), (2, 30.0, 7.5), (4, 9.0, 5.5), (4, 15.0, 10)]
)
def test_no_text_stands_still_for_longer_than_it_must(people: int, seconds: float, still_s: float) -> None:
    [seen], penalties = group(people, seconds, rounds=1)
    assert seen.still_s <= still_s
    assert seen.first_s <= 0.7
    assert seen.late_s <= 0.4
    assert not penalties


@pytest.mark.parametrize("people", [2, 4])
def test_previews_take_nothing_from_those_who_ask_again(people: int) -> None:
    seen, penalties = group(people, 9.0, rounds=2)
    assert max(each.first_s for each in seen) <= 0.7
    assert max(each.late_s for each in seen) <= 0.4
    assert not penalties

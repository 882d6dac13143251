"""How well people are known."""

from __future__ import annotations

import pytest

from bots.access.standing import Standings

DAY_S = 86_400.0
NOON = 1_764_504_000.0
"""2025-11-30 12:00 UTC."""


@pytest.mark.parametrize(
    ("people", "since", "standing"),
    [
        (["discord:1"], "", "new"),
        (["discord:1"], "2025-11-30", "new"),
        (["discord:1"], "2025-11-29", "new"),
        (["discord:1"], "2025-11-28", "known"),
        (["web:1"], "", "guest"),
        (["web:1"], "2025-11-29", "guest"),
        (["web:1"], "2025-11-28", "known"),
        (["web:1", "discord:1"], "", "new"),
        (["discord:2"], "", "known"),
        (["web:1", "discord:2"], "", "known"),
    ],
)
def test_who_is_known(people: list[str], since: str, standing: str) -> None:
    rule = Standings(trusted=["discord:2"], open_platforms=["web"])
    assert rule.of(people, since, NOON) == standing


def test_a_minute_around_midnight_makes_nobody_known() -> None:
    midnight = NOON + DAY_S / 2
    assert Standings().of(["discord:1"], "2025-11-30", midnight + 60) == "new"
    assert Standings().of(["discord:1"], "2025-11-30", midnight + DAY_S) == "known"

"""A sample of `python -m benchmarks.floods`: whoever asks is let in and loses nothing, whatever one flood does.

No times are judged here. Each flood is a process of its own, against the real program.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.floods import stage
from tests.floods import KINDS, ON_TELEGRAM

pytestmark = pytest.mark.timeout(180)
SECONDS, EVERY_S = 10.0, 2.5
SIZES = {"accounts": 8, "guests": 100, "newcomers": 600}
IN_TURN = {"commands": 2, "presses": 2, "accounts": 9}
"""How many of the bot's messages for others may come between a question and its first words, one for each."""


@pytest.mark.parametrize("kind", KINDS if os.environ.get("SOAK") else ["commands", "accounts", "posts"])
async def test_a_flood_costs_nobody_else_an_answer(kind: str, tmp_path: Path) -> None:
    async with stage(kind, SIZES.get(kind, 20), tmp_path) as set_up:
        case = await set_up.watch(SECONDS, EVERY_S, floods=True)
    assert len(case.elsewhere.tries) == 4
    assert None not in case.elsewhere.tries
    assert len(case.here.tries) >= 2
    if kind != "accounts":  # what nine people ask in one group takes it minutes to be sent; they take turns
        assert None not in case.here.tries
    assert [*case.elsewhere.broken, *case.here.broken, *case.flood.broken] == []
    assert case.flood.sent > 20
    if kind != "commands":  # in a group, what they are told waits behind what they have asked
        assert case.flood.told > 0, "whoever floods is told"
    if kind in ON_TELEGRAM:
        assert max(case.here.between, default=0) <= IN_TURN[kind]

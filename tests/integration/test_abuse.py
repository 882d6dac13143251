"""A sample of `python -m benchmarks.abuse`: who is known is let in, whatever others do. No times are judged here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.abuse import crowd, person
from inference.api import Standing
from tests.fakes import script, scripted_inference

GUESTS: list[tuple[str, Standing]] = [(f"web:{number % 60}", "guest") for number in range(120)]
ACCOUNTS: list[tuple[str, Standing]] = [(f"discord:{number % 8}", "new") for number in range(80)]


@pytest.mark.parametrize("people", [GUESTS, ACCOUNTS], ids=["guests", "accounts"])
async def test_a_known_person_is_let_in_on_every_try(people: list[tuple[str, Standing]], tmp_path: Path) -> None:
    path = script(tmp_path, {"match": ".", "answer": "word " * 30, "tokens_per_s": 100})
    async with scripted_inference(path, slots=8, max_waiting=16) as inference, crowd(inference, people):
        tries = await person(inference, 1.0, 0.25)
    assert len(tries) == 4
    assert None not in tries

"""A lane: who is given a slot when nobody comes and nobody goes."""

from __future__ import annotations

import asyncio
import time

import pytest

from inference.queueing import fair_queue
from inference.queueing.admission import AdmissionBounds, ResourceQueue


async def test_a_slot_that_was_kept_free_is_given_out_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the others take: nobody else comes and nobody goes."""
    monkeypatch.setattr(fair_queue, "SIDE_LATELY_S", 0.05)
    lane = ResourceQueue(4, AdmissionBounds(), time.monotonic)
    lane.enter("elsewhere", "discord:1", 100)
    lane.leave("elsewhere", 100)
    for number in range(3):
        lane.enter(f"long {number}", f"telegram:{number}", 100)
    waiting = lane.enter("waiting", "telegram:4711", 100)
    async with asyncio.timeout(10):
        await waiting.turn.wait()
    assert lane.load == (0, 4, 4)


async def test_a_slot_kept_for_whoever_asks_little_is_given_to_others_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "LATELY_S", 0.2)
    lane = ResourceQueue(4, AdmissionBounds(), time.monotonic)
    for number in range(4):
        lane.enter(f"little {number}", f"api:{number}", 100)
    many = [lane.enter(f"{number}", "api:4711", 100) for number in range(8)]
    lane.leave("little 0", 100)
    async with asyncio.timeout(10):
        await many[0].turn.wait()
    assert lane.load == (7, 4, 4)

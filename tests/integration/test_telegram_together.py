"""The whole program on Telegram: what a stop, or one person in a group, costs everybody else. Nothing but the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bots.access.allow_list import Access
from tests.fakes import script
from tests.integration.telegram_parts import answer_to, party
from tests.integration.test_telegram_process import partyline
from tests.servers.telegram import telegram, until
from tests.servers.telegram_world import Message, Rules

pytestmark = pytest.mark.timeout(90)
WORDS = 240
SLOW = {"match": "slow", "answer": "word " * WORDS, "tokens_per_s": 15}
HELLO = {"match": "hello", "answer": "hello back"}


async def test_whoever_asks_around_a_stop_is_answered_once_and_whole(tmp_path: Path) -> None:
    """One answer is written, one waits behind it, and one question comes while the program drains."""
    script(tmp_path, SLOW, HELLO)
    async with telegram() as server:
        ann, bob = server.person("Ann", 1), server.person("Bob", 2)
        async with partyline(tmp_path, server) as process:
            running = ann.says("slow")
            await until(lambda: any("word" in each.text for each in ann.private.answers))
            waiting = ann.says("hello again")
            await until(lambda: not server.world.updates)
            process.terminate()
            during = bob.says("hello meanwhile")
            async with asyncio.timeout(20):
                await process.communicate()
        left = [each for each in ann.private.answers if "word" in each.text]
        assert len(left) == 1
        assert list(left[0].buttons) == ["Stop"], "as a crash leaves it"
        script(tmp_path, SLOW | {"tokens_per_s": 2000}, HELLO)
        async with partyline(tmp_path, server):
            whole = await answer_to(running, ann.private)
            others = [await answer_to(waiting, ann.private), await answer_to(during, bob.private)]
        assert whole.text.count("word") == WORDS
        assert [each.text.startswith("hello back") for each in others] == [True, True]
        assert (len(ann.private.answers), len(bob.private.answers)) == (2, 1)


async def test_one_person_mutes_no_group(tmp_path: Path) -> None:
    """The group takes 20 calls in a minute; whoever asks meanwhile need not wait for all that somebody else caused."""
    async with telegram(rules=Rules(group_calls=20)) as server:
        ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
        access = Access(requests_per_minute=60)
        async with party(server, tmp_path, HELLO, access=access, group_interval_s=3.0):
            for _ in range(30):
                ann.says("/help@party_bot", group)
            answer = await answer_to(bob.says("@party_bot hello", group), group)
            assert "hello back" in answer.text
            assert group.penalties == 0
            assert _calls_before(group.calls, answer) <= 12


def _calls_before(calls: list[float], answer: Message) -> int:
    return sum(call < answer.times[0] for call in calls)

"""The page behind the real delivery: what the outbox makes of it is what people see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.delivery.outbox import Outboxes
from tests.unit.web_parts import PHRASES, Parts, visit


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    async with Outboxes(phrases=PHRASES) as outboxes:
        yield Parts(outboxes=outboxes)


async def test_an_answer_grows_in_one_post(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        await page.type("hold on")
        growing = await page.post(lambda post: post["kind"] == "bot" and "Holding" in post["html"])
        assert growing["growing"]
        assert growing["actions"] == ["stop"]
        await page.say("action", client_id="x", action="stop", message_id=growing["id"])
        answer = await page.answer()
    assert answer["id"] == growing["id"]
    assert answer["footer"] == "A fake model"
    assert answer["actions"] == ["regenerate", "continue"]


async def test_a_long_answer_is_complete_in_several_posts(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        await page.type("long")
        last = await page.post(lambda post: bool(post["footer"]))
        posts = {m["post"]["id"]: m["post"] for m in page.seen if m["type"] == "post" and m["post"]["kind"] == "bot"}
    assert last["id"] == list(posts)[-1]
    assert len(posts) == 4
    assert sum(post["html"].count("word") for post in posts.values()) == 10_000
    assert not any(post["growing"] for post in posts.values())


async def test_private_words_and_failures_pass_the_delivery(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page, visit(address) as other:
        await page.type("/secret")
        assert "<em>only</em>" in (await page.next("notice"))["post"]["html"]
        await page.type("fail", client_id="b")
        assert (await page.answer())["failure"] == "The queue is full; try again in 5 s."
        await page.type("crash", client_id="c")
        assert "went wrong" in (await page.answer())["failure"]
        await other.post(lambda post: "went wrong" in post["failure"])
        assert all(message["type"] != "notice" for message in other.seen)


async def test_the_end_of_the_server_leaves_the_answer_to_the_next_one(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        await page.type("hold")
        await page.post(lambda post: "Holding" in post["html"])
    async with parts.server().serving() as address, visit(address) as page:
        hello = next(message for message in page.seen if message["type"] == "hello")
    post = hello["posts"][-1]
    assert "Holding" in post["html"]
    assert post["growing"]
    assert post["actions"] == ["stop"]
    assert await parts.inbox.unanswered("web") != []


async def test_fifty_people_at_once_are_all_answered(parts: Parts) -> None:
    parts.bot.pause = lambda: 0.001

    async def person(address: str, number: int) -> None:
        async with visit(address) as page:
            await page.type(f"I am number {number} of many")
            answer = await page.post(lambda post: f"number {number} of" in post["html"] and not post["growing"])
            assert answer["footer"] == "A fake model"

    async with parts.server().serving() as address, asyncio.TaskGroup() as people:
        for number in range(50):
            people.create_task(person(address, number))
    assert len(parts.bot.incoming) == 50

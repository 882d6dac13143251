"""Colours for code: worked out in a process of their own, and none where that would take too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from adapters.delivery.channel import Frame
from adapters.delivery.renderers import highlighting
from adapters.delivery.renderers.highlighting import HIGHLIGHT_LIMIT, Block, Colourist, coloured, plain
from adapters.delivery.renderers.html import render_html
from adapters.web.channel.channel import WebChannel
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.files.colouring import render_coloured
from adapters.web.posts.memory import MemoryPosts
from tests.unit.test_web_channel import Recorder

SLOW = "a\n" * 7_000
"""Pygments takes most of a minute for it as C#."""


@pytest.fixture
async def colourist(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Colourist]:
    """Limited by the processor's time alone: its process has a low priority, and the machine may be busy."""
    monkeypatch.setattr(highlighting, "_WALL_S", 600.0)
    made = Colourist()
    yield made
    await made.close()


async def test_blocks_get_their_colours(colourist: Colourist) -> None:
    code: Block = ("x = 1 < 2\n", "python")
    found = await colourist.colours(
        [code, ("x", "nosuchlanguage"), ("x", ""), ("x" * (HIGHLIGHT_LIMIT + 1), "c"), code]
    )
    assert list(found) == [code]
    assert found[code].startswith('<span class="n">x</span>')
    assert "&lt;" in found[code]
    assert coloured(found)(*code) == found[code]
    assert coloured(found)("1 < 2", "python") == plain("1 < 2", "python") == "1 &lt; 2"


async def test_what_takes_too_long_stays_plain_and_costs_nobody_else_their_colours(colourist: Colourist) -> None:
    assert await colourist.colours([(SLOW, "csharp")]) == {}
    assert await colourist.colours([("x", "python")]) != {}


@contextmanager
def board_with(colourist: Colourist) -> Iterator[tuple[ChannelLog, WebChannel, Recorder]]:
    posts, audience = MemoryPosts(), Subscribers()
    board = ChannelLog(posts, audience, render_html, colour=partial(render_coloured, colourist=colourist))
    watching = Recorder("web:ada")
    audience.join(watching, "Ada")
    yield board, WebChannel(board, posts, audience, asker="web:ada"), watching


async def until_coloured(watching: Recorder, post_id: str) -> str:
    """The HTML of the post once it has colours."""
    while True:
        html = [str(post["html"]) for post in watching.posts() if post["id"] == post_id][-1]
        if '<span class="n">' in html:
            return html
        watching.news.clear()
        await watching.news.wait()


async def test_a_slow_block_neither_holds_its_own_post_nor_anybody_elses(colourist: Colourist) -> None:
    with board_with(colourist) as (board, channel, watching):
        async with asyncio.TaskGroup() as tasks:
            colours = tasks.create_task(board.add_colours())
            # What is quadratic takes a minute in all; these return at once.
            slow = await channel.send(Frame(markdown=f"```csharp\n{SLOW}```"), reply_to=None, nonce="s")
            quick = await channel.send(Frame(markdown="```python\nx = 1\n```"), reply_to=None, nonce="q")
            shown = {post["id"]: post["html"] for post in watching.posts()}
            assert "a\na\n" in shown[slow]
            assert "x = 1" in shown[quick]
            html = await until_coloured(watching, quick)
            colours.cancel()
        revisions = [post["revision"] for post in watching.posts() if post["id"] == quick]
        assert revisions == sorted(set(revisions))
        # What is redrawn for another reason keeps its colours.
        await channel.edit(quick, Frame(markdown="```python\nx = 1\n```", footer="42 tokens"))
        assert watching.posts()[-1]["html"] == html
        await channel.edit(quick, Frame(markdown="```python\nx = 2\n```"))
        assert "<span" not in watching.posts()[-1]["html"].split("<pre")[1]


async def test_a_growing_frame_is_never_highlighted(colourist: Colourist) -> None:
    with board_with(colourist) as (board, channel, watching):
        async with asyncio.TaskGroup() as tasks:
            colours = tasks.create_task(board.add_colours())
            growing = await channel.send(Frame(markdown="```python\nx", growing=True), reply_to=None, nonce="g")
            final = await channel.send(Frame(markdown="```python\nx\n```"), reply_to=None, nonce="f")
            await until_coloured(watching, final)
            colours.cancel()
        assert [post["revision"] for post in watching.posts() if post["id"] == growing] == [0]


async def test_colours_are_forgotten_with_their_post(colourist: Colourist) -> None:
    with board_with(colourist) as (board, channel, watching):
        async with asyncio.TaskGroup() as tasks:
            colours = tasks.create_task(board.add_colours())
            post_id = await channel.send(Frame(markdown="```python\nx\n```"), reply_to=None, nonce="f")
            await until_coloured(watching, post_id)
            colours.cancel()
        await channel.delete(post_id)
        assert (board._coloured, board._plain, board._views) == ({}, {}, {})

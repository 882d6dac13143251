"""What a page is told of a growing answer: what is new, and little of it."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from aiohttp import WSCloseCode
from hypothesis import given
from hypothesis import strategies as st

from adapters.delivery.channel import Frame, ThinkingView
from adapters.delivery.renderers.html import render_html
from adapters.web.channel.channel import WebChannel
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.deltas import View
from adapters.web.channel.protocol import MAX_FRAME_BYTES, view
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post
from bots.messages import Action
from tests.unit.web_parts import Parts, browser_session

TEXTS = st.text(st.sampled_from("ab<>é€😀\ud800 \n"), max_size=60)
FRAMES = st.builds(
    Frame,
    markdown=TEXTS,
    status=st.sampled_from(["", "1st in the queue"]),
    growing=st.booleans(),
    thinking=st.none() | st.builds(ThinkingView, text=TEXTS, seconds=st.just(1.0), done=st.booleans()),
    actions=st.sampled_from([(), (Action.STOP,)]),
)


def applied(before: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """What the page makes of a delta."""
    assert before["revision"] == delta["base"]
    after: dict[str, Any] = before | delta["set"]
    after["html"] = spliced(before["html"], after["html"])
    if "thinking" in delta["set"] and after["thinking"] and before["thinking"]:
        text = spliced(before["thinking"]["text"], after["thinking"]["text"])
        after["thinking"] = after["thinking"] | {"text": text}
    return after


def spliced(before: str, now: Any) -> str:
    if isinstance(now, str):
        return now
    units = before.encode("utf-16-le", "surrogatepass")[: 2 * now[0]]
    return units.decode("utf-16-le", "surrogatepass") + str(now[1])


def of(frame: Frame, revision: int) -> View:
    post = Post(id="p", position=1, kind="bot", author="", name="Partyline", frame=frame, revision=revision)
    return View(view(post, frame.markdown))


@given(st.lists(FRAMES, min_size=2, max_size=5), st.booleans())
def test_deltas_make_what_the_whole_states_are(frames: list[Frame], grows: bool) -> None:
    if grows:
        texts = accumulate(frame.markdown for frame in frames)
        frames = [replace(frame, markdown=text) for frame, text in zip(frames, texts, strict=True)]
    states = [of(frame, revision) for revision, frame in enumerate(frames)]
    shown = json.loads(states[0].json)
    for earlier, newest in pairwise(states):
        shown = applied(shown, json.loads(newest.since(earlier)))
        assert shown == json.loads(newest.json)


class Wire:
    """A socket that counts what permessage-deflate makes of its messages, their heads included."""

    closed = False

    def __init__(self) -> None:
        self.size = self.messages = 0
        self._deflate = zlib.compressobj(wbits=-15)
        self.shown: dict[str, dict[str, Any]] = {}

    async def send_str(self, text: str) -> None:
        data = self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
        self.size += len(data) + (2 if len(data) < 126 else 4)
        self.messages += 1
        message = json.loads(text)
        if message["type"] == "post":
            self.shown[message["post"]["id"]] = message["post"]
        elif message["type"] == "delta":
            self.shown[message["id"]] = applied(self.shown[message["id"]], message)
        self.closed = True  # `pump` returns after one message

    async def close(self, **_: object) -> None:
        return


def an_answer(size: int) -> str:
    """Prose of words that nobody has ever written, lists and code: hard to compress."""
    dice, parts = random.Random(4711), list[str]()
    while sum(map(len, parts)) < size:
        words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(60)]
        kind = dice.choice(["prose", "prose", "list", "code"])
        if kind == "code":
            parts.append("```python\n" + "\n".join(f"{word} = {n}" for n, word in enumerate(words)) + "\n```\n\n")
        else:
            lines = [" ".join(words[n : n + 12]) for n in range(0, 60, 12)]
            parts.append("".join(f"- **{line}**\n" if kind == "list" else f"{line} " for line in lines) + "\n\n")
    return "".join(parts)[:size]


async def sent(text: str, step: int, *, deltas: bool = True) -> Wire:
    """What a page is sent for an answer that grows by so many characters a state."""
    posts, audience = MemoryPosts(), Subscribers()
    board = ChannelLog(posts, audience, render_html)
    listener, wire = Subscriber("web:ada", deltas=deltas), Wire()
    audience.join(listener, "Ada")
    channel = WebChannel(board, posts, audience, "web:ada")

    async def heard() -> None:
        wire.closed = False
        await listener.pump(wire)  # type: ignore[arg-type]

    post = await channel.send(Frame(markdown=text[:step], growing=True), reply_to=None, nonce="n")
    await heard()
    for end in range(2 * step, len(text), step):
        await channel.edit(post, Frame(markdown=text[:end], growing=True, actions=(Action.STOP,)))
        await heard()
    await channel.edit(post, Frame(markdown=text, footer="A model · 4,000 tokens", actions=(Action.REGENERATE,)))
    await heard()
    view = board.view(post)
    assert view is not None
    assert wire.shown[post] == json.loads(view.json)
    return wire


async def test_an_answer_of_15_kb_takes_at_most_four_times_the_text() -> None:
    """In 1,250 states, three tokens apart: twenty a second of an engine that writes sixty tokens."""
    text = an_answer(15_000)
    wire = await sent(text, 12)
    assert wire.messages > 1_200
    assert wire.size <= 4 * len(text), f"{wire.size / len(text):.2f} times the text"


async def test_a_removed_post_is_kept_for_no_delta() -> None:
    posts, audience = MemoryPosts(), Subscribers()
    board = ChannelLog(posts, audience, render_html)
    listener = Subscriber("web:ada", deltas=True)
    audience.join(listener, "Ada")
    wire = Wire()
    post = await board.add(kind="bot", author="", name="Partyline", frame=Frame(markdown="secret"))
    await listener.pump(wire)  # type: ignore[arg-type]
    await board.remove(post.id)
    wire.closed = False
    await listener.pump(wire)  # type: ignore[arg-type]
    assert not listener._has


async def test_what_is_compressed_may_be_no_larger_than_what_is_not() -> None:
    async with (
        Parts().server().serving() as address,
        browser_session() as session,
        session.ws_connect(address + "ws", compress=15) as socket,
    ):
        assert socket.compress, "the server takes compressed messages"
        await socket.send_str("0" * (MAX_FRAME_BYTES + 1))
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while not socket.closed:
                    await socket.receive()
        assert socket.close_code == WSCloseCode.MESSAGE_TOO_BIG

"""What many people send at the same time: in turns, a few at once; and in how many frames a crowd hears of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import WSMsgType

from adapters.web.background_tasks import BackgroundTasks
from adapters.web.channel import subscribers
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.sessions import inbound, sessions
from adapters.web.sessions.inbound import Crowded, Inbound, InboxFull
from tests.unit.web_parts import Page, Parts, browser_session, visit


class Desk:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def work(self, name: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self.begun.append(name)
            await self._ends.setdefault(name, asyncio.Event()).wait()
            self.ended.append(name)

        return work

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends.setdefault(name, asyncio.Event()).set()
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_few_people_are_served_at_once_and_all_in_turn() -> None:
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks)
        for name in "aabbccddeeff":
            number = sum(name == each[0] for each in desk.begun) + len(line._queues.get(name, ()))
            line.put(name, desk.work(f"{name}{number}"))
        await settled()
        assert desk.begun == ["a0", "b0", "c0", "d0"]
        await desk.end("a0")
        assert desk.begun[4:] == ["e0"], "who has been served is behind those who have not"
        await desk.end("b0", "c0")
        assert desk.begun[5:] == ["f0", "a1"]
        await desk.end(*(f"{name}{number}" for name in "abcdef" for number in (0, 1)))
        assert len(desk.ended) == 12
        assert not line._queues
        assert not line._bytes


async def test_people_of_another_day_go_first() -> None:
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks)
        for number in range(8):
            line.put(f"new{number}", desk.work(f"new{number}"), asks=True)
        line.put("regular", desk.work("regular"), asks=True, is_regular=True)
        await settled()
        await desk.end("new0")
        assert desk.begun[4:] == ["regular"]
        await desk.end("regular", *(f"new{number}" for number in range(8)))


async def test_who_waits_for_the_storage_holds_nobody_else_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "_HOLDS_S", 0.0)
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks)
        for number in range(9):
            line.put(f"p{number}", desk.work(f"p{number}"))
        await settled()
        await asyncio.sleep(0.01)  # the timers of nothing
        await settled()
        assert len(desk.begun) == 9
        await desk.end(*(f"p{number}" for number in range(9)))
        assert not line._queues


async def test_what_idles_takes_nobodys_turn() -> None:
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks)
        for number in range(9):
            line.put(f"reads{number}", desk.work(f"reads{number}"), idles=True)
        line.put("asks", desk.work("asks"), asks=True)
        await settled()
        assert len(desk.begun) == 10
        await desk.end("asks", *(f"reads{number}" for number in range(9)))


async def test_so_many_answers_are_under_way_and_people_of_another_day_have_some_more() -> None:
    desk, in_hand = Desk(), 5
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks, lambda: in_hand, most=5)
        line.put("new", desk.work("new"), asks=True)
        line.put("settings", desk.work("settings"))
        line.put("regular", desk.work("regular"), asks=True, is_regular=True)
        await settled()
        assert sorted(desk.begun) == ["regular", "settings"]
        await desk.end("regular")
        assert "new" not in desk.begun
        in_hand = 4
        line.look()
        await settled()
        assert desk.begun[2:] == ["new"]
        await desk.end("new", "settings")


async def test_whoever_comes_behind_hundreds_is_told_and_people_of_another_day_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound, "_MOST_PEOPLE", 3)
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks, lambda: 1, most=1)
        for number in range(3):
            line.put(f"p{number}", desk.work(f"p{number}"), asks=True)
        with pytest.raises(Crowded):
            line.put("p3", desk.work("p3"), asks=True)
        line.put("p3", desk.work("p3"))
        line.put("p0", desk.work("more"), asks=True)
        line.put("regular", desk.work("regular"), asks=True, is_regular=True)
        for _ in range(inbound.MAX_WAITING - 2):
            line.put("p0", desk.work("more"), asks=True)
        with pytest.raises(InboxFull):
            line.put("p0", desk.work("more"), asks=True)
        await desk.end("p3", "regular")


async def test_a_crowd_asks_no_faster_than_it_can_be_told() -> None:
    desk, pace_s = Desk(), 3600.0
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks, pace_s=lambda: pace_s)
        for number in range(3):
            line.put(f"p{number}", desk.work(f"p{number}"), asks=True)
        line.put("regular", desk.work("regular"), asks=True, is_regular=True)
        await settled()
        assert desk.begun == ["p0", "regular"]
        pace_s = 0.0
        line.look()
        await desk.end("p0", "p1", "p2", "regular")
        assert len(desk.ended) == 4


async def test_nothing_begins_when_the_page_ends() -> None:
    desk = Desk()
    async with BackgroundTasks() as tasks:
        line = Inbound(tasks)
        for number in range(9):
            line.put(f"p{number}", desk.work(f"p{number}"))
        await settled()
    assert len(desk.begun) == 4
    assert desk.ended == []


class Wire:
    """A socket that keeps what it is sent."""

    closed = False

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    async def send_str(self, text: str) -> None:
        self.frames.append(json.loads(text))

    async def close(self, **_: object) -> None:
        self.closed = True


async def pumped(listener: Subscriber, until: int) -> list[dict[str, Any]]:
    wire = Wire()
    pump = asyncio.ensure_future(listener.pump(wire))  # type: ignore[arg-type]
    for _ in range(until):
        await asyncio.sleep(0)
    pump.cancel()
    return wire.frames


async def test_what_waits_comes_in_one_frame_where_the_page_takes_that() -> None:
    plain, batches = Subscriber("web:ada"), Subscriber("web:ada", batches=True)
    messages = [json.dumps({"type": "typing", "n": number}) for number in range(30)]
    for listener in (plain, batches):
        for message in messages:
            listener.tell("", message)
    assert await pumped(plain, 50) == [json.loads(message) for message in messages]
    frames = await pumped(batches, 50)
    assert [frame["type"] for frame in frames] == ["batch"]
    assert frames[0]["messages"] == [json.loads(message) for message in messages]


async def test_a_frame_is_not_made_larger_than_is_cheap_to_compress() -> None:
    listener = Subscriber("web:ada", batches=True)
    listener.tell("hello", json.dumps({"type": "hello", "text": "x" * 50_000}))
    for number in range(40):
        listener.tell("", json.dumps({"type": "typing", "text": "y" * 1_000, "n": number}))
    first, *others = await pumped(listener, 50)
    assert first["type"] == "hello"
    assert [frame["type"] for frame in others] == ["batch"] * 4
    assert all(len(json.dumps(frame)) < 16 * 1024 for frame in others)
    assert [each["n"] for frame in others for each in frame["messages"]] == list(range(40))


async def test_a_long_backlog_leaves_turns_to_others() -> None:
    listener = Subscriber("web:ada")
    for number in range(10 * subscribers._AT_ONCE):
        listener.tell("", json.dumps({"n": number}))
    assert len(await pumped(listener, 4)) < 5 * subscribers._AT_ONCE


async def test_a_crowd_writes_at_the_pace_of_what_it_is_told() -> None:
    crowd = Subscribers()
    assert crowd.pace_s == 0.0
    for number in range(1_050):
        crowd.join(Subscriber(f"web:{number}"), f"Guest {number}")
    assert crowd.pace_s == pytest.approx(0.1)


async def test_the_page_begins_so_many_answers_and_the_next_one_when_one_ends() -> None:
    parts = Parts()
    async with parts.server(at_once=2).serving() as address, AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(visit(address)) for _ in range(6)]
        for page in pages[:2]:
            await page.type("hold")
            await page.next("accepted")
        for page in pages[2:5]:
            await page.type("hold")
        await pages[5].say("people")
        await pages[5].next("people")
        assert len(parts.bot.incoming) == 2
        parts.bot.release.set()
        for page in pages[2:5]:
            await page.next("accepted")


async def test_who_sends_thousands_of_frames_is_read_later_and_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_FRAMES", 5)
    monkeypatch.setattr(sessions, "_FRAMES_S", 10_000.0)
    async with Parts().server().serving() as address, visit(address) as hasty, visit(address) as other:
        for number in range(50):
            await hasty.say("nothing of ours", client_id=str(number))
        await hasty.next("rejected", lambda message: message["client_id"] == "4")
        await other.type("hello")
        await other.answer()
        assert "5" not in [message.get("client_id") for message in hasty.seen]


async def test_what_frames_unpack_to_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of 2 kB may hold 2 MB of one letter."""
    monkeypatch.setattr(sessions, "_UNPACKED_BYTES", 700_000)
    monkeypatch.setattr(sessions, "_UNPACKED_S", 1e9)
    async with (
        Parts().server().serving() as address,
        visit(address) as other,
        browser_session() as session,
        session.ws_connect(address + "ws", compress=15) as socket,
    ):
        assert socket.compress
        hasty = Page(socket)
        for number in range(5):
            await hasty.say("nothing of ours", client_id=str(number), text="x" * 200_000)
        for number in range(3):
            assert (await hasty.next("rejected"))["client_id"] == str(number)
        await other.type("hello")
        await other.answer()
        assert "4" not in [message.get("client_id") for message in hasty.seen]


@pytest.mark.parametrize("kind", ["ping", "pong"])
async def test_control_frames_count_like_messages(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_FRAMES", 5)
    monkeypatch.setattr(sessions, "_FRAMES_S", 10_000.0)
    async with Parts().server().serving() as address, visit(address) as hasty, visit(address) as other:
        for _ in range(5):
            await getattr(hasty.socket, kind)(b"x")
        await hasty.say("nothing of ours", client_id="late")
        await other.type("hello")
        await other.answer()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await hasty.next("rejected")


async def test_a_ping_is_answered_with_what_it_brought() -> None:
    async with (
        Parts().server().serving() as address,
        browser_session() as session,
        session.ws_connect(address + "ws", autoping=False) as socket,
    ):
        await socket.ping(b"here?")
        while (message := await socket.receive()).type is not WSMsgType.PONG:
            assert message.type is WSMsgType.TEXT
        assert message.data == b"here?"


async def test_in_a_crowd_whoever_takes_no_batches_gets_ten_frames_at_once_and_the_page_all() -> None:
    crowd = Subscribers()
    for number in range(1_048):
        crowd.join(Subscriber(f"web:{number}"), f"Guest {number}")
    plain, page = Subscriber("web:program"), Subscriber("web:page", batches=True)
    for listener in (plain, page):
        crowd.join(listener, "Somebody")
        for number in range(100):
            listener.tell("", json.dumps({"n": number}))
    assert plain.frame_s() == pytest.approx(0.2)
    assert len(await pumped(plain, 50)) == 10
    assert sum(len(frame["messages"]) for frame in await pumped(page, 50)) == 100

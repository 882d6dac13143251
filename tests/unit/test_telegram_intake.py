"""Updates on their way in: each is the business of one task, and an odd one costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, cast

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from telegram import Bot as Api
from telegram import User

from adapters.delivery.in_hand import InHand
from adapters.delivery.outcome import NOTHING, Outcome
from adapters.storage.memory.storage import MemoryStorage
from adapters.telegram.handlers.dispatcher import Dispatcher
from adapters.telegram.inbound.aggregation import UpdateAggregator
from adapters.telegram.inbound.intake import KINDS, Intake, received
from adapters.telegram.inbound.polling import poll
from adapters.telegram.inbound.webhook import SECRET_HEADER, listening
from adapters.telegram.outbound.channel import Sightings
from adapters.telegram.updates.chat_migration import ChatMigrations
from adapters.telegram.updates.parsing import ButtonPress, IncomingMessage
from bots.ports import Received, StorageError
from tests.servers.telegram import until

ME = User(4711, "Party", True, username="party_bot")


def update(number: Any, text: str = "hi") -> dict[str, Any]:
    who = {"id": 5, "is_bot": False, "first_name": "Ann"}
    message = {"message_id": 7, "date": 1_700_000_000, "chat": {"id": 5, "type": "private"}, "from": who, "text": text}
    return {"update_id": number, "message": message}


class Handler:
    """Notes what it is given, and holds it until it is released."""

    def __init__(self) -> None:
        self.handled: list[tuple[str, bool]] = []
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self, event: Received, *, new: bool) -> None:
        self.handled.append((event.id, new))
        await self.release.wait()


@asynccontextmanager
async def intake(storage: MemoryStorage, handler: Handler) -> AsyncIterator[Intake]:
    async with asyncio.TaskGroup() as tasks:
        yield Intake(storage, 4711, handler, tasks, lambda: 0.0)
        handler.release.set()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Slow(MemoryStorage):
    """What it is asked for was looked up a while ago."""

    def __init__(self) -> None:
        super().__init__()
        self.looked, self.tell, self.keep = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.keep.set()

    async def unanswered(self, account: str) -> Sequence[Received]:
        found = await super().unanswered(account)
        self.looked.set()
        await self.tell.wait()
        return found

    async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
        await self.keep.wait()
        return await super().receive(events)


@pytest.mark.parametrize("over", [True, False])
async def test_what_is_taken_up_at_the_start_is_not_what_has_just_come(over: bool) -> None:
    storage, handler = Slow(), Handler()
    if not over:
        handler.release.clear()
    async with intake(storage, handler) as taking:
        await taking.record([update(1)])
        await turns()
        taking_up = asyncio.ensure_future(taking.recover())
        await storage.looked.wait()
        await taking.record([update(2)])
        storage.tell.set()
        await turns()
        taking_up.cancel()
    assert handler.handled == [("1-1700000000", True), ("2-1700000000", True)]


async def test_what_was_left_and_comes_again_is_taken_up_once() -> None:
    """Telegram repeats what was recorded and not confirmed, just when it is being taken up."""
    storage, handler = Slow(), Handler()
    await MemoryStorage.receive(storage, [received(update(1), 4711, 0.0)])
    storage.tell.set()
    storage.keep.clear()
    async with intake(storage, handler) as taking:
        again = asyncio.ensure_future(taking.record([update(1)]))
        taking_up = asyncio.ensure_future(taking.recover())
        await turns()
        assert handler.handled == []
        storage.keep.set()
        await again
        await turns()
        taking_up.cancel()
    assert handler.handled == [("1-1700000000", False)]


def test_newest_events_are_remembered_and_no_others() -> None:
    hand = InHand(remembered=2)
    for name in "abc":
        assert hand.take(name)
        hand.done(name)
    assert [name in hand for name in "abc"] == [False, True, True]


ODD = [
    update(None),
    update("7"),
    update(10**40),
    update(True),
    {"update_id": 3, "message": {"message_id": 1, "date": 0, "chat": {"id": None}}},
    {"update_id": 4, "message": {"message_id": 1, "date": [], "chat": {"id": 10**40}}},
    {"update_id": 5, "message": {"message_id": 1, "date": {"a": 1}, "chat": [], "from": "me"}},
    {"update_id": 6, "message": [1, 2]},
    {"update_id": 8, "callback_query": {"id": None, "message": "x"}},
    {"update_id": 9},
    {},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_an_odd_update_costs_nobody_else_anything(odd: dict[str, Any]) -> None:
    storage, handler = MemoryStorage(), Handler()
    async with intake(storage, handler) as taking:
        await taking.record([odd, update(1000)])
        await turns()
    assert ("1000-1700000000", True) in handler.handled


NAMES = [
    "id",
    "chat",
    "from",
    "date",
    "message_id",
    "type",
    "text",
    "entities",
    "message",
    "data",
    "sender_chat",
    "is_topic_message",
    "photo",
    "offset",
    "message_thread_id",
    "reply_to_message",
    "length",
    "first_name",
    "new_chat_members",
]
ODD_VALUES = [2**63, -(2**63), 10**30, "\ud800", "\x00", "private", "channel", 4711]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(ODD_VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(["update_id", *KINDS]), JSON, max_size=3), st.integers(0, 10**9))
async def test_whatever_comes_is_recorded_or_left_out(odd: dict[str, Any], number: int) -> None:
    storage, handler = MemoryStorage(), Handler()
    async with intake(storage, handler) as taking:
        await taking.record([odd, update(number)])
        await turns()
    assert f"{number}-1700000000" in [event_id for event_id, _ in handler.handled]
    for kept in storage._received.values():
        assert len(kept.id) < 100


class Silent:
    """Answers nothing, and says nothing."""

    api, sightings = Api("1:a"), Sightings()

    async def answer(self, event_id: str, asked: IncomingMessage) -> Outcome:
        return NOTHING

    async def press(self, event_id: str, pressed: ButtonPress) -> Outcome:
        return NOTHING

    async def apologise(self, pressed: ButtonPress) -> Outcome:
        return NOTHING

    async def say(self, *_: Any, **__: Any) -> Outcome:
        return NOTHING


@given(st.dictionaries(st.sampled_from(["update_id", *KINDS]), JSON, max_size=3))
async def test_whatever_was_recorded_is_closed(odd: dict[str, Any]) -> None:
    silent, storage = cast(Any, Silent()), MemoryStorage()
    events = Dispatcher(
        ME, storage, silent, silent, silent, UpdateAggregator(quiet_s=0.0), ChatMigrations(storage, 4711)
    )
    kept = Received(account="telegram:4711", id="1", chat="c", payload=json.dumps(odd))
    await storage.receive([kept])
    await events.handle(kept, new=True)
    assert await storage.unanswered("telegram:4711") == []


async def test_an_album_is_known_by_whatever_number_it_has(caplog: pytest.LogCaptureFixture) -> None:
    silent, storage = cast(Any, Silent()), MemoryStorage()
    album = UpdateAggregator(quiet_s=0.0)
    events = Dispatcher(ME, storage, silent, silent, silent, album, ChatMigrations(storage, 4711))
    odd = update(1000)
    odd["message"]["media_group_id"] = {"x": 1}
    kept = Received(account="telegram:4711", id="1", chat="c", payload=json.dumps(odd))
    await storage.receive([kept])
    await events.handle(kept, new=True)
    assert await storage.unanswered("telegram:4711") == []
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


class Server:
    """Stands for the Bot API: gives the same updates until they are confirmed."""

    def __init__(self, *updates: Any) -> None:
        self.updates = list(updates)
        self.offsets: list[int | None] = []

    async def do_api_request(self, endpoint: str, *, api_kwargs: dict[str, Any], read_timeout: float) -> Any:
        offset = api_kwargs["offset"]
        self.offsets.append(offset)
        await asyncio.sleep(0)
        numbers = [each["update_id"] if isinstance(each.get("update_id"), int) else None for each in self.updates]
        self.updates = [
            each
            for each, number in zip(self.updates, numbers, strict=True)
            if number is None or offset is None or number >= offset
        ]
        return self.updates


@asynccontextmanager
async def polling(server: Server, storage: MemoryStorage, handler: Handler) -> AsyncIterator[None]:
    async with intake(storage, handler) as taking:
        task = asyncio.ensure_future(poll(server, taking))  # type: ignore[arg-type]
        try:
            yield
        finally:
            task.cancel()


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_the_poll_goes_on_behind_an_odd_update(odd: dict[str, Any]) -> None:
    server, handler = Server(odd, update(1000)), Handler()
    async with polling(server, MemoryStorage(), handler):
        await until(lambda: server.offsets[-1:] == [1001])
    assert ("1000-1700000000", True) in handler.handled


async def test_an_update_that_cannot_be_kept_does_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(MemoryStorage):
        async def receive(self, events: Sequence[Received]) -> Sequence[Received]:
            if any("poison" in event.payload for event in events):
                raise StorageError("the database refused a value")
            return await super().receive(events)

    monkeypatch.setattr("adapters.telegram.inbound.polling._FIRST_PAUSE_S", 0.01)
    server, handler = Server(update(1), update(2, "poison"), update(3)), Handler()
    async with polling(server, Picky(), handler):
        await until(lambda: server.offsets[-1:] == [4])
    assert [event_id for event_id, _ in handler.handled] == ["1-1700000000", "3-1700000000"]
    assert server.offsets.count(2) >= 3, "it was tried again"


UNREADABLE = [b"", b"no json", b"[1]", b"\xff\xfe", b'{"update_id": "x"}', b"[" * 100_000, b" " * 2**21]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_a_body_that_can_never_be_read_is_not_asked_for_again(body: bytes) -> None:
    async with (
        intake(MemoryStorage(), Handler()) as taking,
        listening(taking, "http://x/hook", "127.0.0.1", 0, "s") as port,
        ClientSession(f"http://127.0.0.1:{port}", headers={SECRET_HEADER: "s"}) as session,
    ):
        async with session.post("/hook", data=BytesIO(body)) as response:
            assert response.status == 200
        async with session.post("/hook", json=update(1)) as response:
            assert response.status == 200


def from_chat(number: int, chat: int, topic: int | None = None) -> dict[str, Any]:
    found = update(number)
    found["message"]["chat"] = {"id": chat, "type": "supergroup" if chat < 0 else "private"}
    if topic is not None:
        found["message"] |= {"message_thread_id": topic, "is_topic_message": True}
    return found


async def test_a_raid_on_one_group_keeps_no_other_chat_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """Answers to hundreds of accounts wait there, in all topics, for as long as the group's limit lets them."""
    storage, handler = MemoryStorage(), Handler()
    handler.release.clear()
    async with intake(storage, handler) as taking:
        raid = [from_chat(number, -100, number % 7) for number in range(3_000)]
        await asyncio.wait_for(taking.record(raid), 20)
        await taking.record([from_chat(5_000, 5), from_chat(5_001, -200)])
        await turns()
        begun = {name.partition("-")[0] for name, _ in handler.handled}
        assert {"5000", "5001"} <= begun
        assert len(begun) < 500
        assert caplog.text.count("is flooded") == 1
        left = {each.id.partition("-")[0] for each in await storage.unanswered("telegram:4711")}
        assert {"0", "500", "5000"} <= left, "what waits is not answered yet"
        assert "2999" not in left, "what is beyond the group's share is settled"
    handled = [int(name.partition("-")[0]) for name, _ in handler.handled]
    assert sorted(handled)[-2:] == [5_000, 5_001]
    raiders = [number for number in handled if number < 5_000]
    assert raiders == list(range(len(raiders))), "in their order, without a gap"
    assert len(raiders) > 1_000


def pressed(number: int, data: str) -> dict[str, Any]:
    message = from_chat(number, -100)["message"]
    return {
        "update_id": number,
        "callback_query": {"id": str(number), "from": {"id": 6, "is_bot": False}, "data": data, "message": message},
    }


def written(number: int, person: int = 5, **message: Any) -> dict[str, Any]:
    found = from_chat(number, -100)
    found["message"] |= {"from": {"id": person, "is_bot": False, "first_name": "Ann"}, **message}
    return found


URGENT = [
    pressed(5_000, "answer:stop"),
    pressed(5_000, "panel:6:seed:off:00"),
    written(5_000, text="/stop@party_bot"),
    written(5_000, text="/privacy erase"),
    written(5_000, person=77, text="what goes on here?"),
    written(5_000, migrate_to_chat_id=-1005),
    written(5_000, migrate_from_chat_id=-5),
]


@pytest.mark.parametrize("urgent", URGENT, ids=range(len(URGENT)))
@pytest.mark.parametrize("flood", [400, 3_000])
async def test_what_is_urgent_begins_at_once_in_a_flooded_group(urgent: dict[str, Any], flood: int) -> None:
    storage, handler = MemoryStorage(), Handler()
    handler.release.clear()
    async with asyncio.TaskGroup() as tasks:
        taking = Intake(storage, 4711, handler, tasks, lambda: 0.0, owners=["telegram:77"])
        await taking.record([from_chat(number, -100) for number in range(flood)])
        await taking.record([urgent])
        await turns()
        assert any(name.startswith("5000-") for name, _ in handler.handled)
        handler.release.set()


async def test_what_was_left_of_a_flooded_group_keeps_no_other_chat_waiting() -> None:
    """More than has room there may be left: of several processes, or of one that had more places."""
    storage, handler = MemoryStorage(), Handler()
    handler.release.clear()
    flood = [from_chat(number, -100) for number in range(1_500)]
    await storage.receive([received(each, 4711, 0.0) for each in (*flood, from_chat(5_000, 5))])
    async with intake(storage, handler) as taking:
        taking_up = asyncio.create_task(taking.recover())
        await turns()
        begun = [name.partition("-")[0] for name, _ in handler.handled]
        assert "5000" in begun
        assert len(begun) < 500
        handler.release.set()
        await until(lambda: len(handler.handled) == 1_501)
        taking_up.cancel()
    raiders = [int(name.partition("-")[0]) for name, new in handler.handled if not new]
    assert [number for number in raiders if number < 5_000] == list(range(1_500))


@pytest.mark.parametrize("payload", ["", "no JSON", "[]", "[" * 100_000])
async def test_a_row_that_cannot_be_read_keeps_nothing_else_from_being_taken_up(payload: str) -> None:
    storage, handler = MemoryStorage(), Handler()
    odd = Received(account="telegram:4711", id="odd", chat="telegram:4711:5", payload=payload)
    await storage.receive([odd, received(update(1), 4711, 0.0)])
    async with intake(storage, handler) as taking:
        taking_up = asyncio.create_task(taking.recover())
        await until(lambda: len(handler.handled) == 2 or taking_up.done())
        assert taking_up.cancel(), "it goes on looking"
        assert len(handler.handled) == 2


async def test_a_flood_of_commands_keeps_no_press_and_no_operator_waiting() -> None:
    storage, handler = MemoryStorage(), Handler()
    handler.release.clear()
    async with asyncio.TaskGroup() as tasks:
        taking = Intake(storage, 4711, handler, tasks, lambda: 0.0, owners=["telegram:77"])
        await taking.record([written(number, text="/stop") for number in range(3_000)])
        await taking.record([pressed(5_000, "answer:stop"), written(5_001, person=77, text="hi")])
        await taking.record([pressed(5_002, "answer:regenerate")])
        await turns()
        assert {"5000", "5001", "5002"} <= {name.partition("-")[0] for name, _ in handler.handled}
        handler.release.set()


async def test_to_ask_for_another_answer_is_not_urgent() -> None:
    storage, handler = MemoryStorage(), Handler()
    handler.release.clear()
    async with intake(storage, handler) as taking:
        await taking.record([from_chat(number, -100) for number in range(400)])
        await taking.record([pressed(5_000, "answer:regenerate")])
        await turns()
        assert not any(name.startswith("5000-") for name, _ in handler.handled)
    assert any(name.startswith("5000-") for name, _ in handler.handled)


async def test_a_stop_during_a_flood_begins_nothing() -> None:
    handler = Handler()
    handler.release.clear()
    ready = asyncio.Event()

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            taking = Intake(MemoryStorage(), 4711, handler, tasks, lambda: 0.0)
            await taking.record([from_chat(number, -100) for number in range(600)])
            await turns()
            ready.set()
            await asyncio.Event().wait()

    running = asyncio.ensure_future(run())
    await ready.wait()
    begun = len(handler.handled)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(handler.handled) == begun

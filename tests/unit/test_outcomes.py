"""How deliveries end, and that what breaks in one of them costs nobody else anything. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from adapters.delivery.channel import Channel, Forbidden, Frame, Limits, MessageGone, Rejected, UnknownOutcome, Unsent
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import DELIVERED, Ending, Outcome
from adapters.delivery.pacing.rate_budget import Rate
from bots.messages import Action, Attached, Ended, Notice, ReplyEvent, Started, TextDelta
from bots.ports import FILES_FROM, Deliveries, StorageError
from inference.api import Interrupted, Timings, Usage
from tests.servers.simulated import (
    PHRASES,
    Faults,
    Platform,
    Records,
    Rules,
    SimulatedChannel,
    plain,
    run_virtually,
    told,
)

END = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", actions=(Action.REGENERATE,))
WORDS = [f"word{n} " for n in range(100)]
NO_FILES = Limits(message_units=400)


def answer(name: str, pause: float = 0.1) -> AsyncGenerator[ReplyEvent, None]:
    return told([Started(answer_id=name), *[step for word in WORDS for step in (TextDelta(word), pause)], END])


async def one(outboxes: Outboxes, channel: Channel, events: AsyncGenerator[ReplyEvent, None]) -> Outcome:
    return await outboxes.deliver(channel, "c", events, reply_to="q", record=Records())


def delivered(channel: Channel, *events: ReplyEvent | float, record: Deliveries | None = None) -> Outcome:
    async def main() -> Outcome:
        async with Outboxes(phrases=PHRASES) as outboxes:
            return await outboxes.deliver(channel, "c", told(events), reply_to="q", record=record or Records())

    return run_virtually(main())


def shown(platform: Platform) -> list[str]:
    return [plain(message.frames[-1]) for message in platform.chat("c").visible]


class Odd(SimulatedChannel):
    """Does something else with frames that hold the word."""

    def __init__(
        self, platform: Platform, word: str, fault: Callable[[], object], limits: Limits | None = None
    ) -> None:
        super().__init__(platform, "c", limits)
        self.word, self.fault = word, fault

    def measure(self, frame: Frame) -> int:
        if self.word in frame.markdown:
            self.fault()
        return super().measure(frame)


def broken() -> None:
    raise ValueError("a defect of the renderer")


def test_a_reply_that_is_whole_is_delivered() -> None:
    assert delivered(SimulatedChannel(Platform(), "c"), Started(answer_id="a"), TextDelta("x"), END) == DELIVERED


@pytest.mark.parametrize("error", [MessageGone("1"), Forbidden("kicked"), Rejected("no")])
def test_a_reply_that_can_never_be_shown_is_lost_with_its_reason(error: Exception) -> None:
    class Refusing(SimulatedChannel):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            raise error

    outcome = delivered(Refusing(Platform(), "c", NO_FILES), Notice("Hello"))
    assert outcome.ending is Ending.LOST
    assert outcome.is_settled
    assert outcome.reason


def test_what_the_service_gave_up_is_left_as_a_kill_leaves_it() -> None:
    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        yield TextDelta("one ")
        await asyncio.sleep(5)
        raise Interrupted("it is stopped")

    platform = Platform()

    async def main() -> Outcome:
        async with Outboxes(phrases=PHRASES) as outboxes:
            return await one(outboxes, SimulatedChannel(platform, "c"), events())

    assert run_virtually(main()) == Outcome(Ending.LEFT, "it is stopped")
    last = platform.chat("c").visible[0].frames[-1]
    assert (last.markdown, last.growing, last.actions) == ("one ", True, (Action.STOP,))


def test_the_message_of_what_is_left_is_known_to_the_next_start() -> None:
    """It was on its way when the service gave up."""

    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        yield TextDelta("one two three")
        await asyncio.sleep(0.1)
        raise Interrupted("it is stopped")

    platform, records = Platform(faults=Faults(latency_s=(0.3, 0.3))), Records()

    async def main() -> Outcome:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c")
            return await outboxes.deliver(channel, "c", events(), reply_to="q", record=records)

    assert run_virtually(main()).ending is Ending.LEFT
    assert records.positions["c", "a"] == {0: platform.chat("c").visible[0].id}


@pytest.mark.parametrize("limits", [Limits(message_units=400, upload_bytes=10**6), NO_FILES])
def test_a_fault_of_one_frame_costs_its_reply_alone(limits: Limits, caplog: pytest.LogCaptureFixture) -> None:
    """Three people are answered in one outbox; of one of them no frame can be measured from some word on."""
    platform = Platform(Rules(chat_interval_s=0.2))
    channel = SimulatedChannel(platform, "c", limits)
    odd = Odd(platform, "word50", broken, limits)

    async def main() -> list[Outcome]:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            three = [(channel, answer("a")), (odd, answer("b")), (channel, answer("d"))]
            running = [tasks.create_task(one(outboxes, *each)) for each in three]
        return [task.result() for task in running]

    assert run_virtually(main()) == [DELIVERED] * 3
    texts = shown(platform)
    whole = "".join(WORDS)
    assert "".join(m.frames[-1].markdown for m in platform.chat("c").visible).count("word99 ") == 2
    sentence = next(n for n, text in enumerate(texts) if text.startswith("Look into the file"))
    assert not platform.chat("c").visible[sentence].frames[-1].growing
    if limits.upload_bytes:
        assert platform.chat("c").files["answer.md"] == whole.strip().encode()
    else:
        pieces = [m.frames[-1].failure for m in platform.chat("c").visible if m.frames[-1].failure]
        assert "".join(pieces) == f"Look into the file{whole.strip()}"
    assert "a defect of the renderer" in caplog.text


def test_a_fault_that_passes_costs_a_frame() -> None:
    faults = iter([True] * 3)

    def sometimes() -> None:
        if next(faults, False):
            raise ValueError("a defect")

    platform = Platform()
    assert delivered(Odd(platform, "", sometimes), Started(answer_id="a"), 9.0, END) == DELIVERED
    assert shown(platform) == ["Nothing came\ntiny, stop"]


def test_a_reply_of_which_nothing_can_be_made_is_left() -> None:
    platform = Platform()

    class Broken(SimulatedChannel):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            raise ValueError("a defect")

        async def upload(
            self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False
        ) -> str:
            raise ValueError("a defect")

    outcome = delivered(Broken(platform, "c"), Started(answer_id="a"), TextDelta("x"), END)
    assert outcome.ending is Ending.LEFT
    assert not outcome.is_settled


@pytest.mark.parametrize("error", [Unsent("no"), UnknownOutcome("?"), ValueError("a defect")])
def test_a_message_that_never_succeeds_holds_nobody_up(error: Exception) -> None:
    platform = Platform(Rules(chat_interval_s=0.05))
    limits = Limits(message_units=400, rate=Rate(1, 0.05))

    class Failing(SimulatedChannel):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            raise error

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            task = tasks.create_task(one(outboxes, Failing(platform, "c", limits), answer("a")))
            await asyncio.sleep(100)
            began = loop.time()
            await one(outboxes, SimulatedChannel(platform, "c", limits), told([Notice("Hello")]))
            took = loop.time() - began
            task.cancel()
        return took

    assert run_virtually(main()) < 0.2


@pytest.mark.parametrize("error", [Unsent("no"), UnknownOutcome("?"), TimeoutError()])
def test_an_answer_outlasts_a_platform_that_is_away_for_hours(error: Exception) -> None:
    platform = Platform()

    class Away(SimulatedChannel):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            if asyncio.get_running_loop().time() < 7_200:
                raise error
            return await super().send(frame, reply_to=reply_to, nonce=nonce)

    assert delivered(Away(platform, "c"), Started(answer_id="a"), TextDelta("Here."), END) == DELIVERED
    assert shown(platform) == ["Here.\ntiny, stop"]


class Forgetful(Records):
    """A database that is away for a while."""

    def __init__(self, fails: int) -> None:
        super().__init__()
        self.fails = fails

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        if self.fails > 0:
            self.fails -= 1
            raise StorageError("the disk is full")
        await super().record_delivery(chat, answer_id, position, message_id)

    async def record_shown(self, chat: str, answer_id: str) -> None:
        raise StorageError("the disk is full")


def test_a_database_that_is_away_is_no_fault_of_the_platform() -> None:
    platform, records = Platform(), Forgetful(1)
    words = "".join(f"{n} " for n in range(200))
    outcome = delivered(
        SimulatedChannel(platform, "c"), Started(answer_id="a"), TextDelta(words), 5.0, END, record=records
    )
    assert outcome == DELIVERED
    chat = platform.chat("c")
    assert chat.calls == len(chat.frames), "nothing was sent again"
    assert not chat.files
    assert records.positions["c", "a"] == {n: message.id for n, message in enumerate(chat.visible)}


def test_a_notice_is_over_when_it_is_there() -> None:
    """And not when the chat could be written to again: until then a stop would say it twice."""
    platform, records = Platform(), Records()

    async def main() -> float:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c", Limits(message_units=400, rate=Rate(1, 60.0)))
            await outboxes.deliver(channel, "c", told([Notice("Hello", id="n")]), reply_to="q", record=records)
            return asyncio.get_running_loop().time()

    assert run_virtually(main()) == 0
    assert records.positions["c", "n"] == {0: platform.chat("c").visible[0].id}


class Nameless(SimulatedChannel):
    """Of a platform that cannot be asked for a nonce, and takes any number of messages with it."""

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        return await super().send(frame, reply_to=reply_to, nonce=f"{nonce}{len(self._platform.chat('c').messages)}")

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        return await super().upload(
            name, data, reply_to=reply_to, nonce=f"{nonce}{len(self._platform.chat('c').messages)}", private=private
        )

    async def find(self, nonce: str) -> str | None:
        return None


@pytest.mark.parametrize("words", [Notice("Hello", id="n"), Attached("a.png", b"x", "A picture", id="n")])
def test_words_that_were_shown_before_a_restart_are_not_said_again(words: Notice | Attached) -> None:
    platform, records = Platform(), Records()
    delivered(Nameless(platform, "c"), words, record=records)
    assert delivered(Nameless(platform, "c"), replace(words, again=True), record=records) == DELIVERED
    messages = platform.chat("c").messages
    assert len(messages) == (2 if isinstance(words, Attached) else 1)
    positions = (0, FILES_FROM)
    assert records.positions["c", "n"] == {at: message.id for at, message in zip(positions, messages, strict=False)}


def test_files_of_an_answer_that_were_sent_before_a_restart_are_not_sent_again() -> None:
    platform, records = Platform(), Records()
    limits = Limits(message_units=100, upload_bytes=10**6)
    text = " ".join(WORDS) + f"\n\n```python\n{'x = 1  # one' * 30}\n```\n"
    delivered(Nameless(platform, "c", limits), Started(answer_id="a"), TextDelta(text), END, record=records)
    first = [(message.id, message.file) for message in platform.chat("c").messages]
    assert len(platform.chat("c").all_files) == 2
    known = run_virtually(records.delivered("c", "a"))
    again = Started(answer_id="a", text=text, message_ids=known.message_ids, again=True)
    assert delivered(Nameless(platform, "c", limits), again, END, record=records) == DELIVERED
    assert [(message.id, message.file) for message in platform.chat("c").messages] == first

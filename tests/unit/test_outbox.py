"""One chat at a time: what is sent when, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from adapters.delivery.channel import SENDING, Frame, Limits, Rejected, RetryAfter, UnknownOutcome, Unsent
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import Ending
from adapters.delivery.pacing.rate_budget import Rate
from bots.messages import (
    Action,
    Attached,
    CaptionReady,
    Ended,
    Failed,
    Notice,
    QueueUpdate,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingMode,
)
from bots.ports import FILES_FROM, StorageError
from inference.api import Interrupted, Timings, Usage
from tests.servers.simulated import (
    PHRASES,
    Faults,
    Message,
    Platform,
    Records,
    Rules,
    SimulatedChannel,
    plain,
    run_virtually,
    told,
)

END = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", actions=(Action.REGENERATE,))
IN_A_FILE = replace(END, thinking="file")
RECORDS: dict[Platform, Records] = {}
ONE_A_SECOND = Rules(chat_interval_s=1.0, burst=4)


def deliver(
    *events: ReplyEvent | float,
    platform: Platform | None = None,
    limits: Limits | None = None,
) -> Platform:
    """Delivers one reply to the chat "c"."""
    platform = platform or Platform(ONE_A_SECOND)
    records = Records()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c", limits)
            await outboxes.deliver(channel, "c", told(events), reply_to="q", record=records)

    run_virtually(main())
    chat = platform.chat("c")
    assert chat.calls_in_ban == 0
    assert chat.most_in_flight <= 1
    RECORDS[platform] = records
    return platform


def texts(platform: Platform, chat: str = "c") -> list[str]:
    return [plain(message.frames[-1]) for message in platform.chat(chat).visible]


def test_a_reply_is_one_message_that_is_edited() -> None:
    words = [TextDelta(f"word{n} ") for n in range(40)]
    told_slowly = [step for word in words for step in (word, 0.1)]
    platform = deliver(Started(answer_id="a"), *told_slowly, END)
    assert texts(platform) == ["".join(word.text for word in words) + "\ntiny, stop"]
    message = platform.chat("c").messages[0]
    assert message.reply_to == "q"
    assert plain(message.frames[0]) == "word0 word1 \n▌"
    assert 4 <= len(message.frames) <= 7
    assert platform.chat("c").penalties == 0
    assert RECORDS[platform].positions == {("c", "a"): {0: message.id}}
    assert message.frames[-1].actions == (Action.REGENERATE,)
    assert all(frame.actions == (Action.STOP,) for frame in message.frames[:-1])


def test_the_queue_is_shown_when_nothing_could_be_said_for_a_moment() -> None:
    platform = deliver(Started(answer_id="a"), QueueUpdate(2, 8.0), 5, QueueUpdate(1, 3.0), 5, TextDelta("x"), END)
    frames = platform.chat("c").frames
    assert frames[0][0] == pytest.approx(0.7)
    assert [plain(frame) for _, _, frame in frames][:2] == ["In the queue, 2, 8.0 s\n▌", "In the queue, 1, 3.0 s\n▌"]


@pytest.mark.parametrize("waits", [QueueUpdate(2, 8.0), ThinkingDelta("hm ")])
def test_words_that_come_soon_have_no_placeholder_before_them(waits: ReplyEvent) -> None:
    platform = deliver(Started(answer_id="a"), waits, 0.6, TextDelta("one two three"), 0.5, END)
    first = platform.chat("c").frames[0]
    assert first[0] == pytest.approx(0.6)
    assert first[2].markdown == "one two three"


def test_a_placeholder_does_not_cost_the_first_words_their_call() -> None:
    platform = deliver(Started(answer_id="a"), QueueUpdate(2, 8.0), 0.8, TextDelta("one two three"), 3.0, END)
    frames = platform.chat("c").frames
    assert [frame.markdown for _, _, frame in frames][:2] == ["", "one two three"]
    assert [time for time, _, _ in frames][:2] == pytest.approx([0.7, 0.8])


def test_first_words_wait_a_moment_for_company_and_the_last_frame_for_nothing() -> None:
    steps = [step for n in range(8) for step in (TextDelta(f"w{n} "), 0.04)]
    frames = deliver(Started(answer_id="a"), *steps, 0.5, END).chat("c").frames
    assert frames[0][2].markdown == "w0 w1 w2 "
    assert frames[0][0] == pytest.approx(0.08)
    assert frames[-1][0] == pytest.approx(0.82)
    alone = deliver(Started(answer_id="a"), TextDelta("w0 "), 5.0, END).chat("c").frames
    assert [time for time, _, _ in alone] == pytest.approx([0.1, 5.0])


def test_thinking_counts_seconds_then_the_text_is_shown() -> None:
    platform = deliver(Started(answer_id="a"), ThinkingDelta("hm "), 4.5, ThinkingDelta("ha"), TextDelta("Yes."), END)
    shown = [plain(frame) for _, _, frame in platform.chat("c").frames]
    assert "Thinking, 0 s\nhm \n▌" in shown
    assert "Thinking, 3 s\nhm \n▌" in shown
    assert shown[-1] == "Thought, 4 s\nhm ha\nYes.\ntiny, stop"


@pytest.mark.parametrize(("mode", "files"), [("show", 0), ("hide", 0), ("file", 1)])
def test_thinking_as_the_person_wants_it(mode: ThinkingMode, files: int) -> None:
    end = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", thinking=mode)
    platform = deliver(Started(answer_id="a", thinking_mode=mode), ThinkingDelta("hm"), 2, TextDelta("Yes."), end)
    assert ("hm" in texts(platform)[0]) == (mode == "show")
    assert list(platform.chat("c").files) == ["thinking.md"][:files]


def test_long_thinking_comes_as_a_file_when_it_does_not_fit() -> None:
    platform = deliver(Started(answer_id="a"), ThinkingDelta("hm " * 500), 1, TextDelta("Yes. " * 100), END)
    assert platform.chat("c").files["thinking.md"] == b"hm " * 500
    assert "".join(plain(m.frames[-1]) for m in platform.chat("c").visible).count("Yes.") == 100


def test_a_long_answer_is_many_messages_and_a_file() -> None:
    words = [f"word{n} " for n in range(600)]
    platform = deliver(Started(answer_id="a"), *(step for word in words for step in (TextDelta(word), 0.03)), END)
    chat = platform.chat("c")
    assert "".join(message.frames[-1].markdown for message in chat.visible) == "".join(words)
    assert len(chat.visible) > 5
    assert chat.files == {"answer.md": "".join(words).encode()}
    assert [message.reply_to for message in chat.visible] == ["q"] + [None] * (len(chat.visible) - 1)
    assert all(message.frames[-1].actions == () for message in chat.visible[:-1])


def test_code_of_a_long_answer_has_its_own_file() -> None:
    code = "".join(f"print({n})\n" for n in range(300))
    platform = deliver(Started(answer_id="a"), TextDelta(f"So:\n\n```python\n{code}```\n"), END)
    assert platform.chat("c").files["code.py"] == code.encode()


def test_a_stalled_stream_still_shows_its_last_text() -> None:
    platform = deliver(Started(answer_id="a"), TextDelta("one "), 0.1, TextDelta("two "), 30, END)
    at = next(time for time, _, frame in platform.chat("c").frames if frame.markdown == "one two ")
    assert at <= 1.0


def test_unchanged_frames_are_not_sent() -> None:
    platform = deliver(Started(answer_id="a"), TextDelta("one "), 100, END)
    assert platform.chat("c").calls == 2


def test_a_failure_keeps_what_was_said() -> None:
    platform = deliver(Started(answer_id="a"), TextDelta("one "), Failed("It broke.", (Action.REGENERATE,)))
    assert texts(platform) == ["one \nIt broke."]


def test_a_failure_before_anything_is_one_sentence() -> None:
    assert texts(deliver(Failed("The queue is full."))) == ["The queue is full."]


def test_an_empty_answer_says_so() -> None:
    assert texts(deliver(Started(answer_id="a"), TextDelta("  \n"), END)) == ["Nothing came\ntiny, stop"]


def test_notices() -> None:
    platform = deliver(Notice("Hello."), Started(answer_id="a"), TextDelta("x"), Notice("By the way."), END)
    assert texts(platform) == ["Hello.", "x\ntiny, stop", "By the way."]
    assert texts(deliver(Notice("word " * 200)))[0].startswith("word")


def test_captions() -> None:
    assert texts(deliver(Started(answer_id="a"), CaptionReady("a dog"), END)) == ["a dog\ntiny, stop"]
    two = deliver(Started(answer_id="a"), CaptionReady("a dog", 0, 2), 3, CaptionReady("a cat", 1, 2), END)
    assert texts(two) == ["1. a dog\n2. a cat\ntiny, stop"]
    asked = deliver(Started(answer_id="a"), CaptionReady("a dog"), 3, TextDelta("It is brown."), END)
    assert texts(asked) == ["> a dog\n\nIt is brown.\ntiny, stop"]


def test_a_continued_answer_goes_on_in_its_last_message() -> None:
    old, more = "old words " * 70, "new words " * 70
    platform = deliver(Started(answer_id="a"), TextDelta(old), END)
    before = platform.chat("c").visible
    assert len(before) > 1
    frozen_edits = [len(message.frames) for message in before[:-1]]
    ids = tuple(message.id for message in before)
    deliver(Started(answer_id="a", text=old, message_ids=ids), 2, TextDelta(more), END, platform=platform)
    after = platform.chat("c").visible
    assert "".join(message.frames[-1].markdown for message in after) == old + more
    assert [len(message.frames) for message in after[: len(before) - 1]] == frozen_edits
    assert [message.id for message in after[: len(before)]] == list(ids)


def test_after_a_crash_an_unrecorded_message_is_found_again() -> None:
    platform = deliver(Started(answer_id="a"), TextDelta("one two "), END)
    deliver(Started(answer_id="a", text="one two ", again=True), TextDelta("three"), END, platform=platform)
    assert texts(platform) == ["one two three\ntiny, stop"]


@pytest.mark.parametrize("recorded_after_s", [0.2, 30.0])
def test_a_reply_that_is_given_up_while_its_message_is_recorded_is_recorded_once(recorded_after_s: float) -> None:
    """The call that sent the message and the end of the reply both want to record it."""
    platform, calls = Platform(ONE_A_SECOND), 0

    class Slow(Records):
        async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
            nonlocal calls
            calls += 1
            await asyncio.sleep(recorded_after_s)
            await super().record_delivery(chat, answer_id, position, message_id)

    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        yield TextDelta("words ")
        while not calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        raise Interrupted("it is being stopped")

    async def main() -> None:
        records = Slow()
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c")
            outcome = await outboxes.deliver(channel, "c", events(), reply_to=None, record=records)
        assert outcome.ending is Ending.LEFT
        assert records.positions == {("c", "a"): {0: platform.chat("c").visible[0].id}}
        assert calls == 1

    run_virtually(main())


class Stream:
    """A reply that notices when it is closed."""

    def __init__(self) -> None:
        self.closed_at: float | None = None

    async def events(self) -> AsyncGenerator[ReplyEvent, None]:
        try:
            yield Started(answer_id="a")
            for n in range(1000):
                yield TextDelta(f"word{n} ")
                await asyncio.sleep(0.1)
        finally:
            self.closed_at = asyncio.get_running_loop().time()


def test_a_deleted_message_means_stop() -> None:
    stream, platform = Stream(), Platform(ONE_A_SECOND)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            channel = SimulatedChannel(platform, "c")
            tasks.create_task(outboxes.deliver(channel, "c", stream.events(), reply_to=None, record=Records()))
            await asyncio.sleep(5.5)
            platform.chat("c").messages[-1].deleted = True

    run_virtually(main())
    assert stream.closed_at is not None
    assert stream.closed_at < 7


def test_forbidden_ends_the_reply(caplog: pytest.LogCaptureFixture) -> None:
    stream, platform = Stream(), Platform()
    platform.chat("c").forbidden = True

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c")
            await outboxes.deliver(channel, "c", stream.events(), reply_to=None, record=Records())

    run_virtually(main())
    assert stream.closed_at == pytest.approx(0.1)
    assert "given up" in caplog.text


def test_a_cancelled_delivery_leaves_its_message_as_a_kill_does() -> None:
    stream, platform = Stream(), Platform(ONE_A_SECOND)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c")
            delivery = asyncio.ensure_future(
                outboxes.deliver(channel, "c", stream.events(), reply_to=None, record=Records())
            )
            await asyncio.sleep(2.55)
            delivery.cancel()
            with pytest.raises(asyncio.CancelledError):
                await delivery

    run_virtually(main())
    assert stream.closed_at == pytest.approx(2.55)
    shown = platform.chat("c").messages[-1].frames[-1]
    assert shown.markdown == "".join(f"word{n} " for n in range(shown.markdown.count("word")))
    assert shown.markdown.count("word") >= 15
    assert shown.growing
    assert shown.actions == (Action.STOP,)


def test_a_broken_bot_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        yield TextDelta("one ")
        raise ValueError("secret")

    platform = Platform()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, aclosing(events()) as broken:
            await outboxes.deliver(SimulatedChannel(platform, "c"), "c", broken, reply_to=None, record=Records())

    run_virtually(main())
    assert texts(platform) == ["one \nSomething broke"]
    assert "secret" in caplog.text


def test_a_penalty_is_silence_in_that_chat_only() -> None:
    platform = Platform(ONE_A_SECOND)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            for name in ("a", "b"):
                channel = SimulatedChannel(platform, name)
                events = told(
                    [Started(answer_id="a"), *[s for n in range(200) for s in (TextDelta(f"{n} "), 0.1)], END]
                )
                tasks.create_task(outboxes.deliver(channel, name, events, reply_to=None, record=Records()))
            await asyncio.sleep(3.5)
            platform.chat("a").banned_until = 13.0

    run_virtually(main())
    for name in ("a", "b"):
        chat = platform.chat(name)
        assert "".join(m.frames[-1].markdown for m in chat.visible) == "".join(f"{n} " for n in range(200))
    times = {name: [time for time, _, _ in platform.chat(name).frames] for name in "ab"}
    assert not [time for time in times["a"] if 3.5 < time < 13]
    assert len([time for time in times["b"] if 3.5 < time < 13]) >= 9
    assert platform.chat("a").calls_in_ban == 1, "the one that met the ban"


@pytest.mark.parametrize(
    "faults",
    [Faults(unsent=0.5), Faults(lost_before=0.5), Faults(lost_after=0.5), Faults(late=0.5), Faults(penalty=0.3)],
    ids=["unsent", "lost before", "lost after", "late", "penalty"],
)
def test_every_fault_is_survived(faults: Faults) -> None:
    words = "".join(f"word{n} " for n in range(300))
    for seed in range(10):
        platform = Platform(ONE_A_SECOND, faults, seed)
        deliver(Started(answer_id="a"), TextDelta(words[:900]), 5, TextDelta(words[900:]), END, platform=platform)
        assert "".join(m.frames[-1].markdown for m in platform.chat("c").visible) == words
        assert len(platform.chat("c").files) == 1


class Flaky(SimulatedChannel):
    """Raises what it is told to, a call each."""

    def __init__(self, platform: Platform, *errors: Exception) -> None:
        super().__init__(platform, "c")
        self.errors = list(errors)

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return await super().send(frame, reply_to=reply_to, nonce=nonce)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Unsent("no"), UnknownOutcome("?"), RetryAfter(3)])
def test_a_first_call_that_fails_loses_nothing(error: Exception) -> None:
    platform = Platform()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = Flaky(platform, error)
            events = told([Started(answer_id="a"), 0.1, TextDelta("one"), END])
            await outboxes.deliver(channel, "c", events, reply_to=None, record=Records())

    run_virtually(main())
    assert texts(platform) == ["one\ntiny, stop"]


def test_finals_go_before_first_frames_before_previews() -> None:
    platform = Platform(ONE_A_SECOND)
    channel = SimulatedChannel(platform, "c")

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:

            def start(*events: ReplyEvent | float) -> None:
                tasks.create_task(outboxes.deliver(channel, "c", told(events), reply_to=None, record=Records()))

            start(Started(answer_id="preview"), *[s for n in range(90) for s in (TextDelta(f"p{n} "), 0.1)], END)
            start(Started(answer_id="final"), TextDelta("f"), 2.55, END)
            await asyncio.sleep(2.5)
            start(Started(answer_id="first"), 0.05, TextDelta("x y z"), 5, END)

    run_virtually(main())
    order = [(time, plain(frame)) for time, _, frame in platform.chat("c").frames]
    after = [(time, text) for time, text in order if time > 2.52]
    assert [text for _, text in after[:2]] == ["f\ntiny, stop", "x y z\n▌"]
    assert [time for time, _ in after[:2]] == pytest.approx([2.55, 2.55])
    assert after[2][1].startswith("p0 ")


def test_typing_shows_while_there_is_nothing_else() -> None:
    limits = Limits(message_units=400, typing_s=5)
    platform = deliver(12, Started(answer_id="a"), TextDelta("x"), END, platform=Platform(), limits=limits)
    assert platform.chat("c").typings == 3


def test_an_account_shares_its_budget_and_finals_come_first() -> None:
    platform = Platform(Rules(overall_calls=10))
    limits = Limits(message_units=400, account="bot", account_rate=Rate(10, 1.0))

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            for n in range(30):
                channel = SimulatedChannel(platform, f"c{n}", limits)
                events = told([Started(answer_id="a"), *[s for m in range(50) for s in (TextDelta(f"{m} "), 0.1)], END])
                tasks.create_task(outboxes.deliver(channel, f"c{n}", events, reply_to=None, record=Records()))

    run_virtually(main())
    assert sum(chat.penalties for chat in platform.chats.values()) == 0
    assert max(chat.frames[-1][0] for chat in platform.chats.values()) < 8.5


def test_chats_without_replies_are_forgotten() -> None:
    platform = Platform()

    async def main() -> int:
        async with Outboxes(phrases=PHRASES) as outboxes:
            for n in range(2_100):
                channel = SimulatedChannel(platform, f"c{n}")
                await outboxes.deliver(channel, f"c{n}", told([Notice("Hello")]), reply_to=None, record=Records())
                await asyncio.sleep(0.1)
            return outboxes.remembered

    assert run_virtually(main()) < 1_200
    assert all(len(chat.visible) == 1 for chat in platform.chats.values())


def test_a_refused_message_is_left_out_and_the_answer_comes_as_a_file(caplog: pytest.LogCaptureFixture) -> None:
    platform = Platform()

    class Strict(SimulatedChannel):
        async def edit(self, message_id: str, frame: Frame) -> None:
            if "forbidden word" in frame.markdown:
                raise Rejected("no such words")
            await super().edit(message_id, frame)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told([Started(answer_id="a"), TextDelta("one "), 3, TextDelta("forbidden word " + "x" * 600), END])
            await outboxes.deliver(Strict(platform, "c"), "c", events, reply_to=None, record=Records())

    run_virtually(main())
    assert texts(platform)[-1].endswith("tiny, stop")
    assert platform.chat("c").files["answer.md"].startswith(b"one forbidden word xxx")
    assert "refuses" in caplog.text


def test_a_call_that_never_ends_is_looked_into() -> None:
    platform = Platform()

    class Hanging(SimulatedChannel):
        hangs = True

        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            sent = await super().send(frame, reply_to=reply_to, nonce=nonce)
            if self.hangs:
                self.hangs = False
                await asyncio.sleep(10_000)
            return sent

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told([Started(answer_id="a"), TextDelta("one "), 3, TextDelta("two"), END])
            await outboxes.deliver(Hanging(platform, "c"), "c", events, reply_to=None, record=Records())

    run_virtually(main())
    assert texts(platform) == ["one two\ntiny, stop"]
    assert platform.chat("c").frames[-1][0] < 62


def test_a_process_that_was_stopped_in_the_middle_of_a_call_says_nothing_afterwards() -> None:
    """While it recorded what it was about to send, another one has taken over; `permitted` never returns then."""
    platform, is_lost = Platform(), False

    class Announcing(SimulatedChannel):
        def sending(self, reply_to: str | None, nonce: str) -> str | None:
            return f"{SENDING}{nonce}"

    class Slow(Records):
        async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
            nonlocal is_lost
            is_lost = True

    async def permitted() -> bool:
        if is_lost:
            await asyncio.Event().wait()
        return False

    async def main() -> None:
        async with Outboxes(phrases=PHRASES, permitted=permitted) as outboxes:
            with suppress(TimeoutError):
                async with asyncio.timeout(30):
                    events = told([Notice("Hello", id="n")])
                    await outboxes.deliver(Announcing(platform, "c"), "c", events, reply_to="q", record=Slow())

    run_virtually(main())
    assert is_lost
    assert platform.chat("c").messages == []


@pytest.mark.parametrize("by", ["cancelled", "interrupted"])
def test_a_call_on_its_way_is_known_when_its_delivery_is_given_up(by: str) -> None:
    """The platform takes 2.5 s; a start that knows nothing of the message would send it again."""
    platform, records = Platform(), Records()

    class Slow(SimulatedChannel):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            await asyncio.sleep(2.5)
            return await super().send(frame, reply_to=reply_to, nonce=nonce)

    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        yield TextDelta("Only some words ")
        await asyncio.sleep(1.0)
        if by == "interrupted":
            raise Interrupted("it is being stopped")
        await asyncio.Event().wait()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            delivery = outboxes.deliver(Slow(platform, "c"), "c", events(), reply_to="q", record=records)
            task = tasks.create_task(delivery)
            await asyncio.sleep(1.2)
            if by == "cancelled":
                task.cancel()
            else:
                assert (await task).ending is Ending.LEFT

    run_virtually(main())
    (message,) = platform.chat("c").messages
    delivered = asyncio.run(records.delivered("c", "a"))
    assert delivered.message_ids == (message.id,)


@pytest.mark.parametrize("refuses", [False, True])
def test_while_nothing_can_be_recorded_an_answer_goes_no_further_than_its_message(refuses: bool) -> None:
    """A crash then loses sight of one message at most; the next one comes as soon as it is announced for certain."""
    platform, works_at = Platform(), 30.0

    class Announcing(SimulatedChannel):
        def sending(self, reply_to: str | None, nonce: str) -> str | None:
            return f"{SENDING}{nonce}"

    class Away(Records):
        async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
            if refuses and asyncio.get_running_loop().time() < works_at:
                raise StorageError("it is away")
            await super().record_delivery(chat, answer_id, position, message_id)

        async def recorded(self) -> None:
            await asyncio.sleep(max(0.0, works_at - asyncio.get_running_loop().time()))

    words = [step for n in range(150) for step in (TextDelta(f"word{n} "), 0.05)]

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as people:

            async def answer(after_s: float, *events: ReplyEvent | float) -> None:
                await asyncio.sleep(after_s)
                channel = Announcing(platform, "c", Limits(message_units=400))
                await outboxes.deliver(channel, "c", told(events), reply_to="q", record=Away())

            people.create_task(answer(0.0, Started(answer_id="a"), *words, END))
            people.create_task(answer(12.0, Notice("Help.", id="n")))

    run_virtually(main())
    began: dict[str, float] = {}
    for at, message_id, _ in platform.chat("c").frames:
        began.setdefault(message_id, at)
    messages = platform.chat("c").visible
    first, *later = [message for message in messages if not message.frames[-1].notice]
    [helped] = [message for message in messages if message.frames[-1].notice]
    assert began[first.id] < 1
    assert 12 <= began[helped.id] < 18
    assert len(later) >= 2
    assert all(30 <= began[message.id] < 40 for message in later)
    said = "".join(message.frames[-1].markdown for message in (first, *later))
    assert said.split() == [f"word{n}" for n in range(150)]


class Counting(SimulatedChannel):
    """Of a platform on which a message is looked for behind those that were there before it."""

    looked = 0

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return f"{SENDING}{len(self._platform.chat('c').messages)}:{nonce}"

    async def find(self, nonce: str) -> str | None:
        self.looked += 1
        return await super().find(nonce)


def test_a_file_comes_when_it_is_announced_for_certain() -> None:
    """It stands behind its answer: nobody would find it, and it would come again after a crash."""
    platform, came_at = Platform(), 0.0

    class Away(Records):
        async def recorded(self) -> None:
            await asyncio.sleep(max(0.0, 30.0 - asyncio.get_running_loop().time()))

    class Filing(Counting):
        async def upload(self, *args: Any, **kwargs: Any) -> str:
            nonlocal came_at
            came_at = asyncio.get_running_loop().time()
            return await super().upload(*args, **kwargs)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told(
                [Started(answer_id="a", thinking_mode="file"), ThinkingDelta("hm"), TextDelta("Yes."), IN_A_FILE]
            )
            outcome = await outboxes.deliver(Filing(platform, "c"), "c", events, reply_to="q", record=Away())
            assert outcome.ending is Ending.DELIVERED

    run_virtually(main())
    assert platform.chat("c").files == {"thinking.md": b"hm"}
    assert 30 <= came_at < 32


def test_an_answer_that_waits_for_the_store_costs_next_to_nothing() -> None:
    """Its frame is not made again and again, and its next message comes when it is announced."""
    platform, looked = Platform(), list[float]()

    class Away(Records):
        async def recorded(self) -> None:
            await asyncio.sleep(max(0.0, 60.05 - asyncio.get_running_loop().time()))

    class Looking(Counting):
        def sending(self, reply_to: str | None, nonce: str) -> str | None:
            looked.append(asyncio.get_running_loop().time())
            return super().sending(reply_to, nonce)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            words = [step for n in range(300) for step in (TextDelta(f"word{n} "), 0.2)]
            events = told([Started(answer_id="a"), *words, 30.0, END])
            await outboxes.deliver(Looking(platform, "c"), "c", events, reply_to="q", record=Away())

    run_virtually(main())
    began: dict[str, float] = {}
    for at, message_id, _ in platform.chat("c").frames:
        began.setdefault(message_id, at)
    assert sum(20 < at < 60 for at in looked) <= 41
    assert sorted(began.values())[1] == pytest.approx(60.05, abs=0.01)


def test_what_is_sent_is_announced_behind_what_came_while_it_waited() -> None:
    """Where a chat is busy, the next process would otherwise look for it far from where it is."""
    platform, announced = Platform(), []

    class Busy(Records):
        async def recorded(self) -> None:
            await asyncio.sleep(2.0)
            platform.chat("c").messages += [
                Message(f"other {n}", f"other {n}", [Frame(markdown="x")]) for n in range(40)
            ]

    class Sending(Counting):
        async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
            known = records.positions["c", "a"]
            announced.append(self.sending(reply_to, nonce) in known.values())
            return await super().send(frame, reply_to=reply_to, nonce=nonce)

        async def upload(
            self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False
        ) -> str:
            announced.append(self.sending(reply_to, nonce) in records.positions["c", "a"].values())
            return await super().upload(name, data, reply_to=reply_to, nonce=nonce, private=private)

    records = Busy()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told(
                [Started(answer_id="a", thinking_mode="file"), ThinkingDelta("hm"), TextDelta("word " * 200), IN_A_FILE]
            )
            await outboxes.deliver(Sending(platform, "c"), "c", events, reply_to="q", record=records)

    run_virtually(main())
    assert announced == [True] * 4


@pytest.mark.parametrize("again", [False, True])
def test_only_what_an_earlier_process_may_have_sent_is_looked_for(again: bool) -> None:
    """A look may take many calls, and where numbers are tried another message may be taken for it."""
    platform, records = Platform(), Records()
    channel = Counting(platform, "c")
    begun = "word " * 70

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            first = told([Started(answer_id="a"), TextDelta(begun), END])
            await outboxes.deliver(channel, "c", first, reply_to="q", record=records)
            assert not channel.looked
            shown = (await records.delivered("c", "a")).message_ids
            started = Started(answer_id="a", message_ids=shown, text=begun, again=again)
            more = told([started, TextDelta("more " * 100), END])
            await outboxes.deliver(channel, "c", more, reply_to="q", record=records)

    run_virtually(main())
    assert bool(channel.looked) == again
    assert "".join(message.frames[-1].markdown for message in platform.chat("c").visible) == begun + "more " * 100


def test_what_an_earlier_process_announced_and_did_not_send_comes_once() -> None:
    """The call of this process loses its answer, too: the file is not looked for where the earlier one announced it."""
    platform, records, asked = Platform(), Records(), []
    records.positions["c", "n"] = {0: "m1", FILES_FROM: f"{SENDING}7:earlier"}

    class Losing(Counting):
        async def find(self, nonce: str) -> str | None:
            asked.append(nonce)
            return await super().find(nonce)

        async def upload(
            self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False
        ) -> str:
            await super().upload(name, data, reply_to=reply_to, nonce=nonce, private=private)
            raise UnknownOutcome("the connection broke")

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told([Attached("stats.png", b"x", "Your usage.", id="n", again=True)])
            await outboxes.deliver(Losing(platform, "c"), "c", events, reply_to="q", record=records)

    run_virtually(main())
    assert platform.chat("c").all_files == [b"x"]
    assert [name.startswith(SENDING) for name in asked] == [True, False]


def test_a_file_of_the_bots_own_that_is_made_again_with_other_bytes_comes_once() -> None:
    """A chart shows the usage of the moment; the process died after it was sent, and before that was recorded."""
    platform = Platform()
    for data, again in ((b"at noon", False), (b"at one", True)):
        deliver(Attached("stats.png", data, "Your usage.", id="n", again=again), platform=platform)
    assert platform.chat("c").all_files == [b"at noon"]
    assert texts(platform) == ["Your usage."]


def test_an_answer_that_is_continued_gets_a_file_of_all_its_words() -> None:
    """The file of the shorter answer has the same name, and is no reason to leave this one out."""
    platform, records = Platform(), Records()
    limits = Limits(message_units=400, upload_bytes=10_000_000, max_chunks=2)
    begun = "word " * 300

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c", limits)
            await outboxes.deliver(
                channel, "c", told([Started(answer_id="a"), TextDelta(begun), END]), reply_to="q", record=records
            )
            shown = (await records.delivered("c", "a")).message_ids
            longer: list[ReplyEvent | float] = [
                Started(answer_id="a", message_ids=shown, text=begun),
                TextDelta("more " * 100),
                END,
            ]
            await outboxes.deliver(channel, "c", told(longer), reply_to="q", record=records)

    run_virtually(main())
    files = [message.file for message in platform.chat("c").messages if message.file]
    assert [len(data.split()) for name, data in files if name == "answer.md"] == [300, 400]


WHISPERING = Limits(message_units=400, upload_bytes=100, private_files=True)
OPEN = Limits(message_units=400, upload_bytes=100)
SECRET = Notice("The code is 42.", private=True, otherwise="Ask me where we are alone.")
EXPORT = Attached("data.json", b"{}", "Here you are.", private=True, otherwise="Ask me where we are alone.")


@pytest.mark.parametrize(
    ("event", "limits", "words", "files", "private"),
    [
        (Attached("a.png", b"x", "A picture."), OPEN, ["A picture."], {"a.png": b"x"}, set()),
        (Attached("a.png", b"x"), OPEN, [], {"a.png": b"x"}, set()),
        (Attached("a.png", b"x", "A picture.", private=True), OPEN, ["A picture."], {"a.png": b"x"}, set()),
        (Attached("a.png", b"x", "A picture."), Limits(message_units=400), ["A picture."], {}, set()),
        (EXPORT, WHISPERING, ["Here you are."], {"data.json": b"{}"}, {"data.json"}),
        (EXPORT, OPEN, ["Ask me where we are alone."], {}, set()),
        (SECRET, WHISPERING, ["The code is 42."], {}, set()),
        (SECRET, OPEN, ["Ask me where we are alone."], {}, set()),
    ],
)
def test_the_bots_own_words_and_files_reach_those_they_are_for(
    event: Attached | Notice, limits: Limits, words: list[str], files: dict[str, bytes], private: set[str]
) -> None:
    chat = deliver(event, limits=limits).chat("c")
    assert [plain(message.frames[-1]) for message in chat.visible] == words
    assert (chat.files, chat.private_files) == (files, private)


def test_a_file_that_is_larger_than_the_platform_takes_comes_in_pieces() -> None:
    data = "{é".encode() * 100
    chat = deliver(Attached("data.json", data, "Yours."), limits=OPEN).chat("c")
    assert list(chat.files) == ["data-part1.json", "data-part2.json", "data-part3.json", "data-part4.json"]
    assert b"".join(chat.files.values()) == data


def test_a_file_reaches_the_chat_once_though_connections_break() -> None:
    platform = Platform(faults=Faults(unsent=0.2, lost_before=0.2, lost_after=0.3), seed=3)
    chat = deliver(Attached("a.png", b"x", "A picture."), platform=platform).chat("c")
    assert (chat.all_files, len(chat.visible)) == ([b"x"], 1)


def test_a_message_that_gets_another_id_is_known_under_that_one_from_then_on() -> None:
    class Moving(SimulatedChannel):
        moved = False

        async def edit(self, message_id: str, frame: Frame) -> str | None:
            if self.moved:
                return await super().edit(message_id, frame)
            platform.chat("c").messages[0].deleted = self.moved = True
            return await self.send(frame, reply_to=None, nonce="anew")

    platform, records = Platform(ONE_A_SECOND), Records()
    steps = [step for n in range(40) for step in (TextDelta(f"word{n} "), 0.1)]

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = Moving(platform, "c")
            events = told([Started(answer_id="a"), *steps, END])
            await outboxes.deliver(channel, "c", events, reply_to="q", record=records)

    run_virtually(main())
    assert texts(platform) == ["".join(f"word{n} " for n in range(40)) + "\ntiny, stop"]
    assert len(platform.chat("c").visible[0].frames) > 2
    assert records.positions["c", "a"] == {0: platform.chat("c").visible[0].id}


def test_a_growing_message_that_fades_is_shown_again_until_it_has_ended() -> None:
    fading = Limits(message_units=400, growing_s=20.0)
    steps = Started(answer_id="a"), QueueUpdate(3, None), 70.0, TextDelta("word"), 1.0, END, 60.0
    times = [time for time, _, _ in deliver(*steps, limits=fading).chat("c").frames]
    assert [later - earlier for earlier, later in pairwise(times)][:3] == pytest.approx([20.0, 20.0, 20.0], abs=0.1)
    lasting = deliver(*steps, limits=Limits(message_units=400)).chat("c").frames
    assert len(times) == len(lasting) + 3

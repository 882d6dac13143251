"""An answer that turns out to be reasoning: its first message becomes Thinking, those after it go. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.channel import SENDING, Forbidden, Limits, MessageGone, Rejected
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import DELIVERED, Outcome
from bots.messages import Action, CaptionReady, Ended, Relabelled, ReplyEvent, Started, TextDelta, ThinkingMode
from bots.ports import StorageError
from inference.api import Timings, Usage
from tests.servers.simulated import PHRASES, Faults, Platform, Records, Rules, SimulatedChannel, run_virtually, told

LIMITS = Limits(message_units=200, upload_bytes=10_000_000, max_chunks=50)
SECRET = [f"secret{n} " for n in range(80)]
ANSWER = [f"answer{n} " for n in range(80)]


def end(mode: ThinkingMode = "show") -> Ended:
    return Ended(
        reason="stop", usage=Usage(), timings=Timings(), model="tiny", actions=(Action.REGENERATE,), thinking=mode
    )


def said(words: Sequence[str], pause: float = 0.3) -> list[ReplyEvent | float]:
    return [step for word in words for step in (TextDelta(word), pause)]


def delivered(
    platform: Platform, records: Records, events: Sequence[ReplyEvent | float], limits: Limits = LIMITS
) -> Outcome:
    async def main() -> Outcome:
        async with Outboxes(phrases=PHRASES, dice=random.Random(1)) as outboxes:
            channel = SimulatedChannel(platform, "c", limits)
            return await outboxes.deliver(channel, "c", told(events), reply_to="q", record=records)

    return run_virtually(main())


def shown(platform: Platform) -> str:
    return "".join(message.frames[-1].markdown for message in platform.chat("c").visible)


def holds_no_secret(platform: Platform) -> None:
    assert not any("secret" in message.frames[-1].markdown for message in platform.chat("c").visible)


def holds_the_answer_alone(platform: Platform, records: Records, answer: Sequence[str]) -> None:
    visible = platform.chat("c").visible
    assert shown(platform).split() == "".join(answer).split()
    holds_no_secret(platform)
    thinking = visible[0].frames[-1].thinking
    assert thinking is not None
    assert thinking.done
    known = run_virtually(records.delivered("c", "a")).message_ids
    assert list(known) == [message.id for message in visible if message.frames[-1].markdown.strip()]
    assert run_virtually(records.superseded("c", "a")) == []


@pytest.mark.parametrize("words", [1, 20, 80], ids=["a word", "a message", "many messages"])
@pytest.mark.parametrize("answer", [1, 80], ids=["a word", "many messages"])
@pytest.mark.parametrize("mode", ["show", "hide", "file"])
def test_what_was_shown_becomes_thinking(words: int, answer: int, mode: ThinkingMode) -> None:
    platform, records = Platform(), Records()
    start = Started(answer_id="a", thinking_mode=mode)
    events = [start, *said(SECRET[:words]), Relabelled(), *said(ANSWER[:answer]), end(mode)]
    assert delivered(platform, records, events) == DELIVERED
    holds_the_answer_alone(platform, records, ANSWER[:answer])
    thinking = platform.chat("c").visible[0].frames[-1].thinking
    assert thinking is not None
    secret = "".join(SECRET[:words])
    assert thinking.text in ("", secret) or secret.endswith(thinking.text.removeprefix("…"))
    file = platform.chat("c").files.get("thinking.md", b"").decode()
    assert mode != "hide" or (not thinking.text and not file)
    assert mode == "hide" or secret in (thinking.text, file), "all of it can be read"


def test_captions_stay_above_the_answer() -> None:
    platform, records = Platform(), Records()
    events = [
        Started(answer_id="a"),
        CaptionReady("a cat"),
        *said(SECRET[:5]),
        Relabelled(),
        *said(["It is a cat."]),
        end(),
    ]
    assert delivered(platform, records, events) == DELIVERED
    assert shown(platform) == "> a cat\n\nIt is a cat."


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(0, 80), st.sampled_from([0.0, 0.05, 0.5]))
def test_faults_change_nothing_of_it(seed: int, words: int, answer: int, pause: float) -> None:
    dice = random.Random(seed)
    platform = Platform(Rules(chat_interval_s=1.0, burst=5), Faults.drawn(dice), seed)
    records = Records()
    events = [Started(answer_id="a"), *said(SECRET[:words], pause), Relabelled(), *said(ANSWER[:answer], pause), end()]
    assert delivered(platform, records, events) == DELIVERED
    assert shown(platform).split() == "".join(ANSWER[:answer]).split()
    holds_no_secret(platform)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 60), st.integers(1, 80), st.integers(0, 80), st.sampled_from([0.0, 2.0]))
def test_killed_anywhere_it_goes_on_in_its_messages(died_s: float, words: int, answer: int, latency_s: float) -> None:
    """A delivery that is cancelled leaves what a killed process leaves; the next one has what was kept by then."""
    platform, records = Platform(faults=Faults(latency_s=(0.0, latency_s))), Records()
    kept = {"text": "", "thinking": ""}
    secret, wanted = "".join(SECRET[:words]), "".join(ANSWER[:answer])

    async def events() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        async for event in told([*said(SECRET[:words]), Relabelled(), *said(ANSWER[:answer]), end()]):
            if isinstance(event, TextDelta):
                kept["text"] += event.text
            yield event
            if isinstance(event, Relabelled):
                kept["thinking"], kept["text"] = kept["text"], ""

    async def first() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = SimulatedChannel(platform, "c", LIMITS)
            with suppress(TimeoutError):
                async with asyncio.timeout(died_s):
                    await outboxes.deliver(channel, "c", events(), reply_to="q", record=records)

    run_virtually(first())
    known = run_virtually(records.delivered("c", "a")).message_ids
    again = Started(answer_id="a", text=kept["text"], thinking=kept["thinking"], message_ids=known, again=True)
    if kept["thinking"]:
        rest = said([wanted[len(kept["text"]) :]])
    else:
        rest = [*said([secret[len(kept["text"]) :]]), Relabelled(), *said(ANSWER[:answer])]
    assert delivered(platform, records, [again, *rest, end()]) == DELIVERED
    visible = platform.chat("c").visible
    stays = [each for each in visible if "secret" in each.frames[-1].markdown]
    # Of a message that was on its way when the process died, nobody knows.
    assert len(stays) <= (1 if latency_s else 0)
    last = [message.frames[-1].markdown for message in visible if message not in stays]
    assert "".join(last).split() == wanted.split()


@pytest.mark.parametrize("error", [MessageGone("gone"), Forbidden("too old"), Rejected("too old"), ValueError("odd")])
def test_a_message_that_cannot_be_deleted_costs_nothing_else(error: Exception) -> None:
    class Keeping(SimulatedChannel):
        async def delete(self, message_id: str) -> None:
            raise error

    platform, records = Platform(), Records()
    events = [Started(answer_id="a"), *said(SECRET[:40]), Relabelled(), *said(ANSWER[:40]), end()]

    async def main() -> Outcome:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = Keeping(platform, "c", LIMITS)
            return await outboxes.deliver(channel, "c", told(events), reply_to="q", record=records)

    assert run_virtually(main()) == DELIVERED
    last = [message.frames[-1].markdown for message in platform.chat("c").visible]
    assert "".join(text for text in last if "secret" not in text).split() == "".join(ANSWER[:40]).split()


def test_a_message_that_was_announced_and_not_sent_is_none_of_the_answer() -> None:
    """That is recorded when the answer has begun anew; a Continue would take it for the message that grows."""

    class Announcing(SimulatedChannel):
        def sending(self, reply_to: str | None, nonce: str) -> str | None:
            return f"{SENDING}{nonce}"

    class Slow(Records):
        async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
            if position and message_id.startswith(SENDING):
                await asyncio.sleep(5.0)
            await super().record_delivery(chat, answer_id, position, message_id)

    platform, records = Platform(), Slow()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            channel = Announcing(platform, "c", LIMITS)
            events = told(
                [Started(answer_id="a"), TextDelta("".join(SECRET)), 3.0, Relabelled(), TextDelta("One "), end()]
            )
            assert await outboxes.deliver(channel, "c", events, reply_to="q", record=records) == DELIVERED
            known = (await records.delivered("c", "a")).message_ids
            more = told([Started(answer_id="a", text="One ", message_ids=known), TextDelta("and two."), end()])
            assert await outboxes.deliver(channel, "c", more, reply_to="q", record=records) == DELIVERED

    run_virtually(main())
    assert shown(platform) == "One and two."
    assert len(run_virtually(records.delivered("c", "a")).message_ids) == 1
    assert run_virtually(records.superseded("c", "a")) == []


def test_a_storage_that_fails_costs_nothing_else() -> None:
    class Failing(Records):
        async def supersede(self, chat: str, answer_id: str) -> None:
            raise StorageError("away")

        async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
            raise StorageError("away")

        async def forget_delivery(self, chat: str, message_id: str) -> None:
            raise StorageError("away")

    platform = Platform()
    events = [Started(answer_id="a"), *said(SECRET[:40]), Relabelled(), *said(ANSWER[:40]), end()]
    assert delivered(platform, Failing(), events) == DELIVERED
    assert shown(platform).split() == "".join(ANSWER[:40]).split()


def test_a_reply_of_few_messages_has_those_that_are_left() -> None:
    """Follow-ups of Discord that are deleted count all the same."""
    platform, records = Platform(), Records()
    limits = Limits(message_units=200, upload_bytes=10_000_000, most_messages=6)
    events = [Started(answer_id="a"), *said(SECRET[:40]), Relabelled(), *said(ANSWER * 3), end()]
    assert delivered(platform, records, events, limits) == DELIVERED
    assert len(platform.chat("c").messages) - len(platform.chat("c").all_files) <= 6
    assert platform.chat("c").files["answer.md"].decode().split() == "".join(ANSWER * 3).split()

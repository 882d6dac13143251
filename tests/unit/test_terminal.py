"""A terminal prints what has been added; nothing in an answer can steer it."""

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.app import phrases
from adapters.delivery.channel import Frame, ThinkingView
from adapters.delivery.outbox import Outboxes
from adapters.terminal.channel import TerminalChannel
from bots.messages import Attached, Ended, Failed, Notice, QueueUpdate, ReplyEvent, Started, TextDelta, ThinkingDelta
from inference.api import Timings, Usage
from tests.servers.simulated import Records, told

PIECES = ["word ", "\n", "```python\n", "```\n", "- item\n", "> quote\n", "**bold** ", "<b>", "é", "\n\n", "x = 1\n"]


class Screen:
    """What a terminal without colours shows."""

    def __init__(self, *, colour: bool = False, folder: Path = Path("nowhere")) -> None:
        self.text = ""
        self.channel = TerminalChannel(self._write, colour=colour, width=80, folder=folder)

    def _write(self, text: str) -> None:
        self.text += text


async def delivered(*events: ReplyEvent) -> str:
    screen = Screen()
    async with Outboxes(phrases=phrases()) as outboxes:
        await outboxes.deliver(screen.channel, "c", told(list(events)), reply_to=None, record=Records())
    return screen.text


def ended(reason: str = "stop") -> Ended:
    usage = Usage(completion_tokens=3)
    return Ended(reason=reason, usage=usage, timings=Timings(total_s=1.5), model="m")  # type: ignore[arg-type]


async def test_an_answer_and_its_small_print() -> None:
    assert await delivered(Started(answer_id="a"), TextDelta("Hello "), TextDelta("you"), ended()) == (
        "Hello you\nm · 3 tokens · 1.5 s\n\n"
    )


async def test_reasoning_then_the_answer() -> None:
    text = await delivered(Started(answer_id="a"), ThinkingDelta("hm"), ThinkingDelta(" hm"), TextDelta("yes"), ended())
    assert text.startswith("hm hm\nThought")


async def test_failures_and_notices() -> None:
    assert "It broke." in await delivered(Started(answer_id="a"), TextDelta("so far"), Failed("It broke."))
    assert await delivered(Notice("Set.")) == "Set.\n"


@pytest.mark.parametrize("piece", ["\x1b[2J", "\x07", "\x9b31m", "\x1b]0;title\x07", "\r", "\x08"])
async def test_control_characters_of_an_answer_do_not_reach_the_terminal(piece: str) -> None:
    text = await delivered(Started(answer_id="a"), TextDelta(f"a{piece}b"), ended())
    assert all(character.isprintable() or character == "\n" for character in text)


async def test_the_place_in_the_queue_is_said_once() -> None:
    screen = Screen()
    frame = Frame(status="2nd in the queue", growing=True)
    message_id = await screen.channel.send(frame, reply_to=None, nonce="n")
    await screen.channel.edit(message_id, frame)
    assert screen.text == "2nd in the queue\n"
    assert await screen.channel.find("n") == message_id


async def test_hidden_reasoning_is_a_line() -> None:
    screen = Screen(colour=True)
    view = ThinkingView("", 3, True, "Thought for 3 s")
    await screen.channel.send(Frame(markdown="yes", thinking=view), reply_to=None, nonce="n")
    assert "Thought for 3 s" in screen.text


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=30))
async def test_whatever_grows_is_printed_once(pieces: list[str]) -> None:
    """Frames as the delivery makes them: the text so far, an open block closed for now."""
    screen = Screen()
    message_id = ""
    for text in accumulate(pieces):
        closed = f"{text.rstrip(chr(10))}\n```" if text.count("```") % 2 else text
        frame = Frame(markdown=closed, growing=True)
        if message_id:
            await screen.channel.edit(message_id, frame)
        else:
            message_id = await screen.channel.send(frame, reply_to=None, nonce="n")
    whole = "".join(pieces)
    await screen.channel.edit(message_id, Frame(markdown=whole))
    assert screen.text.rstrip("\n") == whole.rstrip("\n")


async def test_waiting_is_told() -> None:
    text = await delivered(Started(answer_id="a"), QueueUpdate(2, 8.0), TextDelta("yes"), ended())
    assert "yes" in text


async def test_a_file_is_saved_and_never_over_another(tmp_path: Path) -> None:
    screen = Screen(folder=tmp_path)
    async with Outboxes(phrases=phrases()) as outboxes:
        for data in (b"1", b"2"):
            events = told([Attached("../stats.png", data, "Your week.", private=True, otherwise="no")])
            await outboxes.deliver(screen.channel, "c", events, reply_to=None, record=Records())
    first, second = tmp_path / "stats.png", tmp_path / "stats-2.png"
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert screen.text.startswith(f"Your week.\nSaved as {first}\n")
    assert first.stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_cannot_be_written_ends_nothing() -> None:
    screen = Screen()
    async with Outboxes(phrases=phrases()) as outboxes:
        events = told([Attached("stats.png", b"1", "Your week.")])
        await outboxes.deliver(screen.channel, "c", events, reply_to=None, record=Records())
    assert screen.text == "Your week.\n"

"""What a reply looks like at a moment, without a platform or a loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.channel import Frame, Limits
from adapters.delivery.composing.attachments import text_file, whole_answer
from adapters.delivery.composing.frame_builder import FrameBuilder
from bots.messages import (
    Action,
    CaptionReady,
    Ended,
    Failed,
    QueueUpdate,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingMode,
)
from inference.api import Timings, Usage
from tests.servers.simulated import PHRASES, plain

END = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", actions=(Action.REGENERATE,))


def measure(frame: Frame) -> int:
    return len(plain(frame))


def assembled(*events: ReplyEvent | float, units: int = 400) -> FrameBuilder:
    """After these events; a number lets so many seconds pass."""
    assembler, now = FrameBuilder(Limits(message_units=units, upload_bytes=10**6), measure, PHRASES), 0.0
    for event in events:
        if isinstance(event, int | float):
            now += event
        else:
            assembler.apply(event, now)
    return assembler


def frames(assembler: FrameBuilder, now: float = 100.0) -> list[Frame]:
    return [placed.frame for part in assembler.parts for placed in part.messages(now, 0)]


def test_a_placeholder_can_be_stopped() -> None:
    assert frames(assembled(Started(answer_id="a"))) == [Frame(status="Starting", growing=True, actions=(Action.STOP,))]
    [frame] = frames(assembled(Started(answer_id="a"), QueueUpdate(3, None)))
    assert frame.status == "In the queue, 3, None s"


def test_the_seconds_of_thinking_are_counted_singly_then_in_fives() -> None:
    assembler = assembled(Started(answer_id="a"), 1.0, ThinkingDelta("hm"))
    shown = [
        frame.thinking.seconds for now in (1.5, 4.2, 10.9, 12, 17) for frame in frames(assembler, now) if frame.thinking
    ]
    assert shown == [0, 3, 9, 10, 15]
    [part] = assembler.parts
    assert part.changes_at(4.2) == pytest.approx(5.0)
    assert part.changes_at(12.0) == pytest.approx(16.0)


def test_live_thinking_shows_its_end_when_the_person_wants_to_see_it() -> None:
    [frame] = frames(assembled(ThinkingDelta("start " + "hm " * 500 + "end")))
    assert frame.thinking is not None
    assert frame.thinking.text.startswith("…")
    assert frame.thinking.text.endswith("end")
    [hidden] = frames(assembled(Started(answer_id="a", thinking_mode="hide"), ThinkingDelta("hm")))
    assert hidden.thinking is not None
    assert hidden.thinking.text == ""


def test_the_end_has_its_footer_and_buttons_on_the_last_message_only() -> None:
    *others, last = frames(assembled(Started(answer_id="a"), TextDelta("word " * 200), END))
    assert len(others) >= 2
    assert all(frame == Frame(markdown=frame.markdown) for frame in others)
    assert last.footer == "tiny, stop"
    assert last.actions == (Action.REGENERATE,)


def test_a_footer_without_room_gets_a_message_of_its_own() -> None:
    sentence = "It broke, and this is a long story. " * 6
    text = "x" * 340
    shown = frames(assembled(TextDelta(text), Failed(sentence)))
    assert [frame.markdown for frame in shown] == [text, ""]
    assert [frame.failure for frame in shown] == ["", sentence]


@settings(derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.builds(TextDelta, st.text(max_size=400)),
            st.builds(ThinkingDelta, st.text(max_size=400)),
            st.builds(CaptionReady, st.text("abc ", min_size=1, max_size=100)),
            st.builds(QueueUpdate, st.integers(1, 9), st.none()),
            st.floats(0, 20),
        ),
        max_size=20,
    ),
    st.sampled_from(["show", "hide", "file"]),
    st.sampled_from(["show", "hide", "file"]),
)
def test_every_frame_is_within_its_limit(
    events: list[ReplyEvent | float], before: ThinkingMode, after: ThinkingMode
) -> None:
    end = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", thinking=after)
    started = Started(answer_id="a", thinking_mode=before)
    for story in ([started, *events], [started, *events, end]):
        for frame in frames(assembled(*story)):
            assert measure(frame) <= 400
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    ended = assembled(started, *events, end)
    assert getattr(ended.parts[0], "text", str)().endswith(said)


def test_files() -> None:
    code = "x = 1\n" * 50
    named = {file.name: file.data for file in whole_answer(f"```python\n{code}```\n\n```\n{code}```", 10**6)}
    assert list(named) == ["answer.md", "code-1.py", "code-2.txt"]
    assert named["code-1.py"] == code.encode()
    assert [file.name for file in whole_answer(f"```dockerfile\n{code}```", 10**6)] == ["answer.md", "Dockerfile"]


@settings(derandomize=True)
@given(st.text(max_size=300), st.integers(4, 50))
def test_a_file_that_is_too_large_comes_in_parts(text: str, largest: int) -> None:
    parts = list(text_file("answer", "md", text, largest))
    assert "".join(part.data.decode() for part in parts) == text
    assert all(len(part.data) <= largest for part in parts)
    assert len({part.name for part in parts}) == len(parts)


def test_lone_surrogates_can_be_filed() -> None:
    [file] = text_file("answer", "md", "a\ud800b", 100)
    assert file.data == "a\ufffdb".encode()


def test_measures_each_frame_about_once() -> None:
    calls = 0

    def counting(frame: Frame) -> int:
        nonlocal calls
        calls += 1
        return len(frame.markdown)

    check: Callable[[Frame], int] = counting
    assembler = FrameBuilder(Limits(message_units=4000), check, PHRASES)
    assembler.apply(Started(answer_id="a"), 0.0)
    [part] = assembler.parts
    for _ in range(300):
        assembler.apply(TextDelta("word "), 0.0)
        part.messages(0.0, 0)
    assert calls < 350

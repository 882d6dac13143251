"""Random replies under random faults arrive whole. `SOAK=1` runs 10,000 of them instead of a sample."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from adapters.delivery.channel import Limits
from adapters.delivery.composing.frame_builder import FrameBuilder
from adapters.delivery.outbox import Outboxes
from bots.messages import (
    CaptionReady,
    Ended,
    Failed,
    Notice,
    QueueUpdate,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
)
from bots.ports import FILES_FROM
from inference.api import Timings, Usage
from tests.commonmark import examples
from tests.servers.simulated import (
    PHRASES,
    Chat,
    Faults,
    Platform,
    Records,
    Rules,
    SimulatedChannel,
    run_virtually,
    told,
)
from tests.unit.test_chunking import PIECES, unclosed_fences

REPLIES = 10_000 if os.environ.get("SOAK") else 200
AT_ONCE = 25

CODE = {
    "python": "def f(n: int) -> int:\n    return n if n < 2 else f(n - 1) + f(n - 2)\n\n",
    "javascript": "const f = (n) => (n < 2 ? n : f(n - 1) + f(n - 2));\nconsole.log(`${f(10)}`);\n",
    "typescript": "type Pair<T> = [T, T];\nconst swap = <T,>([a, b]: Pair<T>): Pair<T> => [b, a];\n",
    "rust": 'fn main() {\n    let words: Vec<&str> = "a b".split(\' \').collect();\n    println!("{words:?}");\n}\n',
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}\n',
    "c": "#include <stdio.h>\nint main(void) {\n    int *p = NULL;\n    return p == NULL && 1 > 0;\n}\n",
    "cpp": "template <typename T>\nauto sum(std::vector<T> const& xs) -> T { return xs.empty() ? T{} : xs[0]; }\n",
    "java": 'class Main {\n    public static void main(String[] args) {\n        System.out.println("hi");\n    }\n}\n',
    "csharp": 'var names = new List<string> { "a" };\nConsole.WriteLine($"{names[0]}");\n',
    "kotlin": 'fun main() {\n    listOf(1, 2).forEach { println("$it") }\n}\n',
    "swift": 'let xs = [1, 2].map { $0 * 2 }\nprint("\\(xs)")\n',
    "ruby": 'def hi(name) = puts "hi #{name}"\n[1, 2].each { |x| hi x }\n',
    "php": "<?php\n$xs = ['a' => 1];\necho \"{$xs['a']}\\n\";\n",
    "bash": 'for f in *.txt; do\n  echo "$(wc -l < "$f")" # `count`\ndone\n',
    "sql": "SELECT a.*, COUNT(*) AS n\nFROM a JOIN b ON a.id = b.id\nWHERE a.x > 1 -- comment\nGROUP BY 1;\n",
    "html": '<!doctype html>\n<p class="a">&lt;b&gt; <b>x</b></p>\n',
    "css": "a > b::before {\n  content: '\\201C';\n}\n",
    "yaml": "a:\n  - b: 1\n    c: |\n      text\n---\n",
    "haskell": "main :: IO ()\nmain = mapM_ print $ takeWhile (< 10) [x * 2 | x <- [1 ..]]\n",
    "markdown": "# Title\n\n- item\n\n````\n```text\ninner\n```\n````\n",
}
PROSE = [
    "Here is what you asked for, with **some emphasis**, a `name` and [a link](https://example.org/path_a). ",
    "A sentence that says nothing much and goes on a little. ", "مرحبا بالعالم، هذا نص طويل قليلا. ", "שלום עולם. ",
    "一些没有空格的中文文本。", "हिन्दी में कुछ शब्द। ", "👩\u200d👩\u200d👧 🇩🇪 👍🏽 e\u0301 ",
    "2 * 3 * 4 = 24, a_b_c, <think>, @everyone. ",
    "\n\n", "\n\n", "\n", "\n\n## A heading\n\n", "\n- an item\n- another\n  - nested\n    text of it\n",
    "\n1. first\n2. second\n",
    "\n> a quote\n> goes on\n\n", "\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\n", "\n---\n",
]  # fmt: skip
FENCES = ["```", "```", "````", "~~~", "`````"]
END = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny")


def answer(dice: random.Random) -> str:
    """A text as a model might write it, or one that no model should."""
    length = int(10 ** dice.uniform(0, 4))
    kind = dice.random()
    if kind < 0.02:
        return "x" * 30_000
    if kind < 0.1 and examples():
        return "\n\n".join(dice.choices(examples(), k=1 + length // 30))
    if kind < 0.3:
        return "".join(dice.choices(PIECES, k=1 + length // 8))
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        parts.append(_code_block(dice) if dice.random() < 0.15 else dice.choice(PROSE))
    return "".join(parts)[: length + 50]


def _code_block(dice: random.Random) -> str:
    language, code = dice.choice(list(CODE.items()))
    fence = "`````" if language == "markdown" else dice.choice(FENCES)
    code *= dice.randint(1, 8)
    if dice.random() < 0.2:
        lines = "".join(f"  {line}\n" for line in f"{fence}{language}\n{code}{fence}".split("\n"))
        return f"\n- item:\n\n{lines}\n"
    return f"\n{fence}{language}\n{code}{fence}\n"


def story(text: str, dice: random.Random, answer_id: str) -> Iterator[ReplyEvent | float]:
    """The events of one reply, with pauses."""
    if dice.random() < 0.2:
        yield Notice("A notice before.", private=dice.random() < 0.5)
    yield Started(answer_id=answer_id)
    if dice.random() < 0.3:
        yield QueueUpdate(2, 8.0)
        yield dice.uniform(0, 5)
    if dice.random() < 0.3:
        yield ThinkingDelta("hm " * dice.randint(1, 200))
        yield dice.uniform(0, 15)
    if dice.random() < 0.1:
        yield CaptionReady("a dog on a beach")
    position, pause = 0, dice.choice([0.0, 0.03, 0.2])
    while position < len(text):
        size = dice.randint(1, max(8, len(text) // 60))
        yield TextDelta(text[position : position + size])
        yield pause
        position += size
    yield Failed("It broke.") if dice.random() < 0.1 else END


def expected(events: list[ReplyEvent | float], channel: SimulatedChannel) -> tuple[list[str], str]:
    """The chunks of the reply when everything is there at once, and the whole text."""
    assembler = FrameBuilder(channel.limits, channel.measure, PHRASES)
    for event in events:
        if not isinstance(event, int | float):
            assembler.apply(event, 0.0)
    assembler.close(0.0)
    markdown = [placed.frame.markdown for part in assembler.parts for placed in part.messages(0.0, 0)]
    return markdown, "".join(getattr(part, "text", str)() for part in assembler.parts)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(REPLIES // AT_ONCE))
def test_replies_arrive_whole_whatever_happens(seed: int) -> None:
    dice = random.Random(seed)
    platform = Platform(
        Rules(
            chat_interval_s=dice.choice([0, 1.0, 1.5]), burst=dice.choice([1, 3]), group_calls=dice.choice([0, 0, 30])
        ),
        Faults.drawn(dice),
        seed,
    )
    limits = Limits(message_units=dice.choice([400, 1000, 2000]), upload_bytes=10**7, typing_s=dice.choice([0, 5]))
    told_in: dict[str, list[tuple[str, str, list[ReplyEvent | float]]]] = {}
    for n in range(AT_ONCE):
        text = answer(dice)
        name = f"c{dice.randrange(AT_ONCE)}"
        told_in.setdefault(name, []).append((f"a{n}", text, list(story(text, dice, f"a{n}"))))
    records = Records()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES, dice=random.Random(seed)) as outboxes, asyncio.TaskGroup() as tasks:
            for name, replies in told_in.items():
                for reply_id, _, events in replies:
                    channel = SimulatedChannel(platform, name, limits)
                    tasks.create_task(outboxes.deliver(channel, name, told(events), reply_to=reply_id, record=records))

    run_virtually(main())
    for name, replies in told_in.items():
        _check_chat(platform.chat(name), name, replies, SimulatedChannel(platform, name, limits), records)


@pytest.mark.timeout(3_600)
def test_a_long_answer_without_a_line_break() -> None:
    """A megabyte in the soak, a tenth of it otherwise: the one makes thousands of edits."""
    platform = Platform(faults=Faults(unsent=0.1, lost_after=0.1, penalty=0.05))
    text = "x" * (1_000_000 if REPLIES >= 10_000 else 100_000)
    limits = Limits(message_units=4_000, upload_bytes=10**7)
    channel, records = SimulatedChannel(platform, "c", limits), Records()

    async def main() -> None:
        async with Outboxes(phrases=PHRASES, dice=random.Random(0)) as outboxes:
            events = told([Started(answer_id="a"), TextDelta(text), END])
            await outboxes.deliver(channel, "c", events, reply_to=None, record=records)

    run_virtually(main())
    assert "".join(message.frames[-1].markdown for message in platform.chat("c").visible) == text
    assert platform.chat("c").all_files == [text.encode()]


def _check_chat(
    chat: Chat,
    name: str,
    replies: list[tuple[str, str, list[ReplyEvent | float]]],
    channel: SimulatedChannel,
    records: Records,
) -> None:
    assert chat.calls_in_ban == 0
    assert chat.most_in_flight <= 1
    assert chat.refused == 0
    for _, _, frame in chat.frames:
        assert channel.measure(frame) <= channel.limits.message_units
        assert not unclosed_fences(frame.markdown)
    notices = 0
    for reply_id, text, events in replies:
        chunks, whole = expected(events, channel)
        assert whole.endswith(text)
        ids = _messages(records, name, reply_id)
        shown = [message for message in chat.visible if message.id in ids]
        assert [message.id for message in shown] == ids, "in order, each once"
        own = chunks[len(chunks) - len(ids) :]
        assert [message.frames[-1].markdown for message in shown] == own
        notices += len(chunks) - len(ids)
        for before, after in pairwise(shown):
            begun = next(time for time, message_id, _ in chat.frames if message_id == after.id)
            late = [frame for time, message_id, frame in chat.frames if message_id == before.id and time > begun]
            assert all(frame == before.frames[-1] for frame in late), "a frozen chunk was edited"
        if len(ids) > channel.limits.max_chunks:
            assert whole.encode("utf-8", "replace").replace(b"\xef\xbf\xbd", b"?") in [
                data.replace(b"\xef\xbf\xbd", b"?") for data in chat.all_files
            ]
    assert len(chat.visible) == notices + sum(len(_messages(records, name, reply_id)) for reply_id, _, _ in replies)


def _messages(records: Records, chat: str, reply_id: str) -> list[str]:
    """Those of its text, in order; its files are recorded behind them."""
    positions = records.positions[chat, reply_id]
    return [message_id for position, message_id in sorted(positions.items()) if position < FILES_FROM]

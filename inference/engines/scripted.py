"""An engine without weights: it answers from a file, at the speed that the file says.

`scripted:FILE` names a JSON-lines file; each line is `{"match": regex, "answer": text, "tokens_per_s": 30,
"first_token_s": 0.1}`. The first `match` found in the newest user turn wins; without a match the turn is said back. A
line `{"loading_s": 60}` makes the start last that long, and `"fails": "why"` beside it ends it so. For tests, load and
acceptance on every platform.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from inference.api import ChatRequest, Message, ModelInfo, TooLong, Unavailable
from inference.checkpoints.revisions import of_file
from inference.engines.lengths import count_within
from inference.engines.port import Closed, Opened, Output, Piece
from inference.reasoning.formats import FORMATS, Format
from inference.reasoning.splitter import Splitter, reclassified

# A token is at most eight characters of a word with the blanks before it: about what real tokenizers make of prose.
_TOKEN = re.compile(r"\s*\S{1,8}|\s+")
_FIELDS = {"match", "answer", "tokens_per_s", "first_token_s"}
DEFAULT_TOKENS_PER_S = 30.0
DEFAULT_FIRST_TOKEN_S = 0.1
# Shorter sleeps than this are not kept by event loops; faster scripts send several tokens at once.
_TICK_S = 0.004
_LOADING_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class ScriptLine:
    match: re.Pattern[str]
    answer: str
    tokens_per_s: float = DEFAULT_TOKENS_PER_S
    first_token_s: float = DEFAULT_FIRST_TOKEN_S


@dataclass(frozen=True, slots=True)
class Start:
    """How long the start lasts, and why it fails, if it does."""

    loading_s: float = 0.0
    fails: str = ""


def parse_line(number: int, text: str) -> ScriptLine | Start:
    """Raises Unavailable with the line's number and what is wrong with it."""
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values and set(values) <= {"loading_s", "fails"}:
            return Start(float(values.get("loading_s", 0.0)), str(values.get("fails", "")))
        if unknown := set(values) - _FIELDS:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
        line = ScriptLine(
            re.compile(values["match"], re.IGNORECASE),
            str(values["answer"]),
            float(values.get("tokens_per_s", DEFAULT_TOKENS_PER_S)),
            float(values.get("first_token_s", DEFAULT_FIRST_TOKEN_S)),
        )
        if line.tokens_per_s <= 0 or line.first_token_s < 0:
            raise ValueError("tokens_per_s must be above 0 and first_token_s at least 0")
    except KeyError as error:
        raise Unavailable(f"line {number} of the script lacks {error}") from error
    except (ValueError, TypeError, re.error) as error:
        raise Unavailable(f"line {number} of the script: {error}") from error
    return line


def tokens(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return _TOKEN.findall(text)


async def _count(messages: Sequence[Message]) -> int:
    return sum(len(tokens(message.content)) + 4 for message in messages)


def _rest(answer: str, prefix: str) -> str:
    """What of `answer` is still to be said after `prefix`."""
    if answer.startswith(prefix):
        return answer.removeprefix(prefix)
    # Reasoning was cut, or closed before its end, and is handed on in other marks than the script's.
    thought, said, inside = _apart(prefix)
    thoughts, whole, _ = _apart(answer)
    if not thoughts:
        return answer
    if inside:
        begun = thoughts.lstrip().startswith(thought.lstrip())
        told = len(thoughts) - len(thoughts.lstrip()) + len(thought.lstrip()) if begun else len(thoughts)
        return answer[answer.index(thoughts) + told :]
    return whole.removeprefix(said)


def _format(answer: str) -> Format | None:
    """The family in whose marks the script's answer is written."""
    return next((format for format in FORMATS if answer.lstrip().startswith(format.opening)), None)


def _apart(text: str) -> tuple[str, str, bool]:
    """Reasoning, answer, and whether the text ends inside the reasoning."""
    splitter = Splitter(orphans=True)
    parts = reclassified(splitter.feed(text) + splitter.close())
    thought, said = ("".join(words for kind, words in parts if kind == wanted) for wanted in ("thinking", "answer"))
    return thought, said, splitter.thinking


async def _clock(line: ScriptLine, count: int) -> AsyncGenerator[int, None]:
    """Yields how many of `count` tokens are out, whenever there are more."""
    await asyncio.sleep(line.first_token_s)
    now = asyncio.get_running_loop().time
    started, sent = now(), 0
    while sent < count:
        sent = min(count, max(sent, int((now() - started) * line.tokens_per_s)) + 1)
        yield sent
        if sent < count:
            await asyncio.sleep(max(_TICK_S, sent / line.tokens_per_s - (now() - started)))


class ScriptedEngine:
    """Plays the lines of a file; `slots` of them at once."""

    def __init__(self, path: Path, *, slots: int = 8, context_tokens: int = 8192) -> None:
        self._path = path
        self._slots = slots
        self._lines: list[ScriptLine] = []
        self.steps = 0
        self.progress = ""
        self.share: float | None = None
        self.lost = False
        self.is_being_replaced = False
        self._info = ModelInfo(name=f"scripted:{path.name}", context_tokens=context_tokens)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def slots(self) -> int:
        return self._slots

    async def start(self) -> None:
        try:
            text = await asyncio.to_thread(self._path.read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the script {self._path} cannot be read: {error}") from error
        rows = enumerate(text.split("\n"), 1)
        parsed = [parse_line(number, row) for number, row in rows if row.strip()]
        self._lines = [line for line in parsed if isinstance(line, ScriptLine)]
        revision = await asyncio.to_thread(of_file, self._path)
        self._info = replace(self._info, reference=self._info.name, revision=revision)
        for start in parsed:
            if isinstance(start, Start):
                await self._last(start)

    async def _last(self, start: Start) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        while (passed := now() - began) < start.loading_s:
            self.share = passed / start.loading_s
            await asyncio.sleep(min(_LOADING_TICK_S, start.loading_s - passed))
        if start.fails:
            raise Unavailable(start.fails)

    async def close(self) -> None:
        pass

    async def check(self) -> None:
        pass

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        prompt_tokens = await self.count_tokens(request.messages) + len(tokens(request.prefix))
        if prompt_tokens >= self._info.context_tokens:
            raise TooLong(self._info.context_tokens, prompt_tokens)
        line = self._line_for(request.messages)
        answer = tokens(_rest(line.answer, request.prefix))
        limit = min(request.sampling.max_new_tokens, self._info.context_tokens - prompt_tokens)
        yield Opened(prompt_tokens, format=_format(line.answer))
        sent = 0
        async with aclosing(_clock(line, min(len(answer), limit))) as counts:
            async for ready in counts:
                self.steps += 1
                # One by one, as real engines do: a budget ends at its token also on a machine that is late.
                for token in answer[sent:ready]:
                    yield Piece(token, 1)
                sent = ready
        yield Closed("length" if len(answer) > limit else "stop", sent)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await count_within(messages, self._info.context_tokens, _count)

    def _line_for(self, messages: Sequence[Message]) -> ScriptLine:
        newest = next((message.content for message in reversed(messages) if message.role == "user"), "")
        found = next((line for line in self._lines if line.match.search(newest)), None)
        return found or ScriptLine(re.compile(""), newest)

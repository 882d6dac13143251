"""Splits a model's text into reasoning and answer while it is being written. Pure: no clock, no asyncio.

Reasoning models write `<think>…</think>` before the answer. Three habits are handled: the tags are there; the chat
template opened the reasoning in the prompt, so that the text starts inside it; the closing tag never comes. A tag is a
tag only where a model would put it: the opening one at the very beginning, the closing one outside of code. Anywhere
else it is text and stays as it was written.
"""

from __future__ import annotations

import re
from typing import Literal

Part = tuple[Literal["thinking", "answer"], str]

OPEN = "<think>"
CLOSE = "</think>"
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def open_prefix(prompt: str, prefix: str) -> str:
    """The text to put after `prompt` so that the model goes on from `prefix`.

    `prefix` is what the model said, `<think>reasoning</think>answer` or the answer alone. A template that has opened
    the reasoning already must not open it twice, and an answer without reasoning must not start inside it.
    """
    if not prefix or not opened_by(prompt):
        return prefix
    if prefix.startswith(OPEN):
        return prefix.removeprefix(OPEN).lstrip("\n")
    return f"\n{CLOSE}\n\n{prefix}"


def opened_by(prompt: str) -> bool:
    """Whether the chat template ends the prompt inside the reasoning, as newer DeepSeek-R1 templates do."""
    return prompt.rstrip().endswith(OPEN)


class Splitter:
    """Feed it deltas, it returns the parts; text that may yet become a tag is held back until the next delta."""

    def __init__(self, *, inside: bool = False) -> None:
        self._state: Literal["start", "thinking", "after", "answer"] = "thinking" if inside else "start"
        self._held = ""
        self._line = ""
        self._fence = ""

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside the reasoning."""
        return self._state == "thinking"

    def feed(self, delta: str) -> list[Part]:
        """Returns what is certain now, in order, without empty parts."""
        self._held += delta
        parts: list[Part] = []
        while (part := self._step()) is not None:
            parts.append(part)
        return _merged(parts)

    def close(self) -> list[Part]:
        """Returns what was held back: the text is over."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            return _merged([("thinking", held)])
        return _merged([("answer", "" if self._state == "after" else held)])

    def _step(self) -> Part | None:
        if self._state == "start":
            return self._start()
        if self._state == "thinking":
            return self._think()
        if self._state == "after":
            return self._after()
        text, self._held = self._held, ""
        return ("answer", text) if text else None

    def _start(self) -> Part | None:
        seen = self._held.lstrip()
        if seen.startswith(OPEN):
            self._held = seen.removeprefix(OPEN)
            self._state = "thinking"
            return "thinking", ""
        if OPEN.startswith(seen):
            return None
        self._state = "answer"
        return "answer", ""

    def _after(self) -> Part | None:
        """The blank lines between reasoning and answer belong to neither."""
        self._held = self._held.lstrip()
        if not self._held:
            return None
        self._state = "answer"
        return "answer", ""

    def _think(self) -> Part | None:
        at = self._held.find(CLOSE)
        if at < 0:  # what may become the tag stays
            return self._take(len(self._held) - _beginning_at_the_end(self._held))
        if at > 0:
            return self._take(at)
        if self._in_code():
            return self._take(len(CLOSE))
        self._held = self._held[len(CLOSE) :]
        self._state = "after"
        return "thinking", ""

    def _take(self, count: int) -> Part | None:
        text, self._held = self._held[:count], self._held[count:]
        for line in text.splitlines(keepends=True):
            self._line += line
            if line.endswith("\n"):
                self._end_line()
        return ("thinking", text) if text else None

    def _end_line(self) -> None:
        match = _FENCE.match(self._line)
        if match and not self._fence:
            self._fence = match[1]
        elif match and match[1].startswith(self._fence) and not self._line[match.end() :].strip():
            self._fence = ""
        self._line = ""

    def _in_code(self) -> bool:
        """A tag alone on its line closes even an unclosed fence: to show reasoning as answer is the lesser evil."""
        if not self._line.strip():
            return False
        return bool(self._fence) or self._line.count("`") % 2 == 1


def _beginning_at_the_end(text: str) -> int:
    """How many of the last characters of `text` begin the closing tag."""
    return next((size for size in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:size])), 0)


def _merged(parts: list[Part]) -> list[Part]:
    merged: list[Part] = []
    for kind, text in parts:
        if merged and merged[-1][0] == kind:
            merged[-1] = kind, merged[-1][1] + text
        elif text:
            merged.append((kind, text))
    return merged

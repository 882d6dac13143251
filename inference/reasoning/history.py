"""Earlier turns as they go to the model: without their reasoning, also where it was once taken for the answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inference.api import Message
from inference.reasoning.formats import FORMATS
from inference.reasoning.splitter import Splitter, reclassified

_ENDS = tuple(format.closing.lower() for format in FORMATS if format.may_lack_opening)


def without_reasoning(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same turns; of an answer that holds the end of reasoning, only what is no reasoning.

    The end of reasoning may lack its beginning, which the server of a model had opened. In code it is text.
    """
    return tuple(
        replace(message, content=_answer(message.content)) if _holds_end(message) else message for message in messages
    )


def _holds_end(message: Message) -> bool:
    if message.role != "assistant":
        return False
    content = message.content.lower()
    return any(end in content for end in _ENDS)


def _answer(content: str) -> str:
    splitter = Splitter(orphans=True)
    parts = reclassified(splitter.feed(content) + splitter.close())
    return "".join(text for kind, text in parts if kind == "answer")

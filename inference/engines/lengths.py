"""Counting that costs no more for a text that is far too long than for one that is a little too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from inference.api import Message

# Tokens of prose have four or five characters. Where a context's worth of these many fits, all is counted after all.
# A message has a token of its template at least.
_CHARACTERS_A_TOKEN = 16
# Where a text is cut, a token may fall into several.
_SLACK = 16


async def count_within(
    messages: Sequence[Message], context_tokens: int, count: Callable[[Sequence[Message]], Awaitable[int]]
) -> int:
    """The tokens of the prompt: exact where it may fit the context, otherwise estimated by a beginning that does not.

    An estimate is always greater than `context_tokens`.
    """
    if (beginning := _beginning(messages, context_tokens)) is None:
        return await count(messages)
    tokens = await count(beginning)
    if tokens <= context_tokens + _SLACK:
        return await count(messages)
    size, whole = (max(1, sum(len(message.content) for message in part)) for part in (beginning, messages))
    return tokens * whole // size


def may_be_far_too_long(messages: Sequence[Message], context_tokens: int) -> bool:
    """Whether `count_within` looks at a beginning first."""
    size = sum(len(message.content) + _CHARACTERS_A_TOKEN for message in messages)
    return size > context_tokens * _CHARACTERS_A_TOKEN


def _beginning(messages: Sequence[Message], context_tokens: int) -> list[Message] | None:
    """As many messages and characters as are worth counting; None where that is all."""
    if not may_be_far_too_long(messages, context_tokens):
        return None
    left, cut = context_tokens * _CHARACTERS_A_TOKEN, []
    for message in messages:
        left -= _CHARACTERS_A_TOKEN
        cut.append(replace(message, content=message.content[: max(0, left)]))
        left -= len(message.content)
        if left <= 0:
            break
    return cut

"""What of a conversation goes to the model: the newest turns that fit its context, in whole pairs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bots.conversation.prompt import messages
from bots.ports import Turn
from inference.api import Message, TooLong

CountTokens = Callable[[Sequence[Message]], Awaitable[int]]
# Turns read from the store for one answer; more than any context holds of a real conversation.
MAX_TURNS = 200
# Of a small context at most this share is kept free for the answer, and as much for the reasoning before it.
_ANSWER_SHARE = 4
# Characters. A question with fewer for each token that it may have is rarely too long.
_SHORT_TOKEN = 2


def prompt_limit(context_tokens: int, max_new_tokens: int, thinking_budget: int | None = 0) -> int:
    """The longest prompt in tokens that leaves room for the answer, and for the reasoning (None: without a limit)."""
    most = context_tokens // _ANSWER_SHARE
    thinking = most if thinking_budget is None else min(thinking_budget, most)
    return context_tokens - min(max_new_tokens, most) - thinking


async def fitting(turns: Sequence[Turn], limit: int, alone: int, count: CountTokens) -> tuple[Message, ...]:
    """The newest of `turns` (the last one is the question) whose prompt has at most `limit` tokens.

    Older turns are dropped in pairs, so that what is left begins with a question. The question may have as many tokens
    as `alone`, where that is more, if nothing goes before it.

    Raises:
        TooLong: the question alone is longer.
    """
    most, size = max(limit, alone), len(turns[-1].prompt or turns[-1].text)
    if size > most * _SHORT_TOKEN and (tokens := await count(messages(turns[-1:]))) > most:
        # Found with one count, and not with one for each step below.
        raise TooLong(most, tokens)
    starts = [index for index, turn in enumerate(turns) if turn.role == "user"]
    # Prompts grow with every turn, so the longest one that fits is found by halving.
    low, high = 0, len(starts) - 1
    tokens = await count(messages(turns[starts[0] :]))
    if tokens <= limit:
        return messages(turns[starts[0] :])
    while low < high:
        middle = (low + high) // 2
        tokens = await count(messages(turns[starts[middle] :]))
        low, high = (low, middle) if tokens <= limit else (middle + 1, high)
    kept = messages(turns[starts[low] :])
    tokens = await count(kept)
    if tokens > most:
        raise TooLong(most, tokens)
    return kept

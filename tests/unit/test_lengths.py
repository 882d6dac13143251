"""Counting long texts: what is counted of them, and what comes of it."""

from collections.abc import Sequence

import pytest

from inference.api import Message
from inference.engines.lengths import count_within


class Words:
    """Counts words, and how many messages and characters it was given."""

    def __init__(self) -> None:
        self.messages = self.characters = 0

    async def count(self, messages: Sequence[Message]) -> int:
        self.messages += len(messages)
        self.characters += sum(len(message.content) for message in messages)
        return sum(len(message.content.split()) for message in messages)


def turns(*texts: str) -> list[Message]:
    return [Message("user", text) for text in texts]


async def test_what_can_fit_is_counted_exactly() -> None:
    words = Words()
    assert await count_within(turns("a b", "c " * 50), 100, words.count) == 52
    assert words.characters == 103


@pytest.mark.parametrize("size", [10_000, 1_000_000])
async def test_a_text_that_is_far_too_long_costs_as_much_as_its_beginning(size: int) -> None:
    words = Words()
    tokens = await count_within(turns("hi", "word " * size, "and more"), 100, words.count)
    assert words.characters <= 1600
    assert tokens == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("text", ["two words", ""])
async def test_more_messages_than_a_context_has_tokens_cost_as_much_as_the_first_of_them(text: str) -> None:
    words = Words()

    async def count(messages: Sequence[Message]) -> int:
        return await words.count(messages) + 4 * len(messages)

    assert await count_within(turns(*[text] * 20_000), 100, count) > 100
    assert words.messages <= 100


async def test_a_long_text_of_few_tokens_is_counted_after_all() -> None:
    words = Words()
    assert await count_within(turns("word" + " " * 100_000 + "word"), 100, words.count) == 2


async def test_an_estimate_is_more_than_the_context() -> None:
    words = Words()
    assert await count_within(turns("word " * 321), 100, words.count) > 100

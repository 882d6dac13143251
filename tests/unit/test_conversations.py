"""The laws of what goes to the model, and of what a request may be."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.conversation.context_window import fitting, prompt_limit
from bots.conversation.prompt import messages
from bots.ports import Turn
from inference.api import Message, Sampling, TooLong

TURNS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=0, max_size=12)


def conversation(lengths: list[tuple[int, int]], question: int) -> list[Turn]:
    """Question and answer of these lengths in words, and one more question."""
    turns = []
    for number, (asked, answered) in enumerate(lengths):
        turns.append(Turn(id=f"q{number}", chat="c", person="p", role="user", text=f"{number} " + "q " * asked))
        turns.append(Turn(id=f"a{number}", chat="c", person="p", role="assistant", text="a " * answered))
    return [*turns, Turn(id="last", chat="c", person="p", role="user", text="last " * question)]


async def count(parts: Sequence[Message]) -> int:
    return sum(len(part.content.split()) + 3 for part in parts)


@given(TURNS, st.integers(1, 40), st.integers(4, 400), st.integers(0, 400))
async def test_the_longest_end_that_fits(lengths: list[tuple[int, int]], question: int, limit: int, alone: int) -> None:
    turns = conversation(lengths, question)
    tails = [messages(turns[index:]) for index, turn in enumerate(turns) if turn.role == "user"]
    fits = [tail for tail in tails if await count(tail) <= limit]
    if not fits and question + 3 > alone:
        with pytest.raises(TooLong) as error:
            await fitting(turns, limit, alone, count)
        assert (error.value.limit, error.value.tokens) == (max(limit, alone), question + 3)
        return
    assert await fitting(turns, limit, alone, count) == (fits or tails[-1:])[0]


async def test_a_question_that_is_too_long_is_counted_once_and_no_turn_with_it() -> None:
    counted = []

    async def watched(parts: Sequence[Message]) -> int:
        counted.append(len(parts))
        return await count(parts)

    with pytest.raises(TooLong):
        await fitting(conversation([(3, 3)] * 100, 5000), 400, 400, watched)
    assert counted == [1]


@given(TURNS)
def test_user_and_assistant_take_turns(lengths: list[tuple[int, int]]) -> None:
    roles = [message.role for message in messages(conversation(lengths, 1))]
    assert roles[0] == roles[-1] == "user"
    assert all(a != b for a, b in pairwise(roles))


@given(st.integers(256, 10**6), st.integers(1, 4096))
def test_the_answer_keeps_a_part_of_any_context(context: int, max_new_tokens: int) -> None:
    limit = prompt_limit(context, max_new_tokens)
    assert limit >= context * 3 // 4
    assert context - limit <= max_new_tokens


@given(st.integers(256, 10**6), st.integers(1, 4096), st.none() | st.integers(0, 32_768))
def test_the_reasoning_keeps_as_much_as_an_answer_may(context: int, max_new_tokens: int, budget: int | None) -> None:
    answer = context - prompt_limit(context, max_new_tokens)
    thinking = prompt_limit(context, max_new_tokens) - prompt_limit(context, max_new_tokens, budget)
    assert thinking == min(context // 4, context if budget is None else budget)
    assert answer + thinking <= context // 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0.0},
        {"presence_penalty": math.inf},
        {"seed": -1},
        {"min_new_tokens": 501},
        {"stop": ("",)},
        {"thinking_budget": -1},
    ],
    ids=str,
)
def test_a_sampling_outside_its_ranges_names_the_field(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]

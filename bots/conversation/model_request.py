"""What the model is asked: with which prompt and seed, how its answer begins, and what is left of its budgets."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bots.conversation import context_window, ledger, prompt
from bots.ports import Conversations, Turn
from bots.profile.preferences import Profile
from inference.api import Inference, Message, ModelInfo, Sampling, Usage

_SEEDS = 2**32 - 1


def sampling(profile: Profile, *, anew: bool) -> Sampling:
    """The person's, with the seed that is going to be used; `anew`: a fixed one would only repeat an answer."""
    wanted = profile.sampling()
    return replace(wanted, seed=secrets.randbelow(_SEEDS)) if anew or wanted.seed is None else wanted


def worded(question: Turn, info: ModelInfo) -> Turn:
    """The question in the words that this kind of model wants; one that was put so before stays as it is."""
    wanted = prompt.for_text(question.text, info)
    return question if question.prompt or wanted == question.text else replace(question, prompt=wanted)


def about_pictures(question: Turn, captions: Sequence[str], info: ModelInfo) -> Turn:
    """The question with what its pictures show, or with what the captioner answers to it."""
    if not captions:
        return question
    return replace(
        question,
        prompt=prompt.for_pictures(question.prompt or question.text, captions, answered=info.captioner_answers),
    )


def opening(question: Turn, info: ModelInfo) -> str:
    """How a new answer is made to begin. A model that reasons first begins its answer itself."""
    return "" if info.reasoning or not info.holds_prefix else prompt.opening(question.prompt)


def prefix(text: str, thinking: str, *, cut_off: bool) -> str:
    """What was said, in the form of `ChatRequest.prefix`; reasoning that was `cut_off` by a crash goes on."""
    if not thinking:
        return text
    # On a line of its own it is a tag, whatever code the reasoning left open.
    return f"<think>{thinking}" if cut_off and not text else f"<think>{thinking.rstrip()}\n</think>\n\n{text}"


def seen_by(person: str, turns: Sequence[Turn]) -> list[Turn]:
    """The turns as this account may know them.

    Of others, linked ones too, these are the answer that this account replied to and its question, as far as everybody
    in the chat can see them. What was said there before may have been deleted, or said before this account came. The
    same holds for what the question quotes.
    """
    return [_as_seen_by(person, turn) for at, turn in enumerate(turns) if _is_near(person, turns[at : at + 3])]


def _is_near(person: str, turns: Sequence[Turn]) -> bool:
    """Whether the first of these is this account's, or of the pair of turns right before one of its questions."""
    return len(turns) < 3 or any(turn.person == person for turn in turns)


def _as_seen_by(person: str, turn: Turn) -> Turn:
    if turn.person == person:
        return turn
    if not turn.hidden:
        if turn.role == "assistant":
            return turn
        text, worded = prompt.without_quotations(turn.text), prompt.without_quotations(turn.prompt)
        return replace(turn, text=text, prompt=worded)
    return replace(turn, text=prompt.UNSEEN if turn.role == "user" else prompt.UNSEEN_ANSWER, prompt="", captions=())


async def messages(
    question: Turn,
    person: str,
    wanted: Sampling,
    said: str,
    storage: Conversations,
    inference: Inference,
) -> tuple[Message, ...]:
    """The question with the newest turns before it that leave room for the answer, which goes on from what was `said`.

    Args:
        person: the account that asks.

    Raises:
        TooLong: the question alone leaves none.
    """
    earlier: Sequence[Turn] = ()
    if question.parent_id is not None:
        earlier = seen_by(person, await storage.branch(question.parent_id, context_window.MAX_TURNS))
    info = inference.info
    alone = room = context_window.prompt_limit(info.context_tokens, wanted.max_new_tokens)
    if said:
        room -= await _tokens(said, inference.count_tokens)
    elif info.reasoning:
        room = context_window.prompt_limit(info.context_tokens, wanted.max_new_tokens, wanted.thinking_budget)
    return await context_window.fitting([*earlier, question], room, alone, inference.count_tokens)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of the budgets of an answer that was interrupted, and what it took until then."""

    sampling: Sampling
    spent: Usage


async def remaining(
    asked: ledger.LedgerRequest, text: str, thinking: str, count: context_window.CountTokens
) -> Remaining:
    """At least a token is left, because the text did not end by itself. What was kept is tokenised again."""
    before, budget = asked.sampling, asked.sampling.thinking_budget
    said = await _tokens(text[asked.before :], count)
    # What an older answer had reasoned already, which this one continues, is not of this one.
    thought = await _tokens(thinking, count)
    sampling = replace(
        before,
        max_new_tokens=max(1, before.max_new_tokens - said),
        min_new_tokens=max(0, min(before.min_new_tokens, before.max_new_tokens) - said),
        thinking_budget=None if budget is None else max(0, budget - thought),
    )
    return Remaining(sampling, Usage(completion_tokens=said, thinking_tokens=0 if asked.before else thought))


async def _tokens(text: str, count: context_window.CountTokens) -> int:
    """The tokens of a text by itself, without those of the template."""
    if not text:
        return 0
    # As a question: some templates refuse to begin with an answer, others leave the reasoning out of one.
    return await count([Message("user", text)]) - await count([Message("user", "")])

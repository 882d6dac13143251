"""How an answer is cut into calls so that llama.cpp's presence penalty counts the answer alone."""

from typing import Any

from inference.api import Sampling
from inference.engines.llamacpp.presence_penalty import PresencePenalty
from inference.engines.port import Closed

PENALISED = Sampling(presence_penalty=1.5, seed=7)


def chunk(text: str, token: int, predicted: int) -> dict[str, Any]:
    return {"__verbose": {"content": text, "tokens": [token], "tokens_predicted": predicted, "stop": False}}


def bonuses(call: dict[str, Any]) -> dict[int, float]:
    return dict(call["logit_bias"])


def test_what_the_prompt_alone_holds_gets_back_what_it_loses() -> None:
    call = PresencePenalty(PENALISED, [1, 2, 2, 3], [3, 4], most=9).call()
    assert call["prompt"] == [1, 2, 2, 3, 3, 4]
    assert bonuses(call) == {1: 1.5, 2: 1.5}


def test_a_call_is_cut_where_a_token_of_the_prompt_is_said_first() -> None:
    presence = PresencePenalty(PENALISED, [1, 2], [], most=9)
    presence.call()
    assert not presence.hear(chunk("a", 5, 1))
    assert presence.hear(chunk("b", 2, 2))
    call = presence.call()
    assert call["prompt"] == [1, 2, 5, 2]
    assert (call["n_predict"], call["seed"], bonuses(call)) == (7, 8, {1: 1.5})
    assert not presence.hear(chunk("b", 2, 1)), "it has been said before"
    assert presence.whole(Closed("stop", 3)) == Closed("stop", 5)


def test_text_that_is_held_back_is_waited_for() -> None:
    presence = PresencePenalty(PENALISED, [1, 2], [], most=9)
    presence.call()
    assert not presence.hear(chunk("", 2, 1))
    assert presence.hear(chunk("ab", 5, 2))
    assert presence.call()["prompt"] == [1, 2, 2, 5]


def test_ids_that_were_not_told_are_text() -> None:
    presence = PresencePenalty(PENALISED, [1, 2], [], most=9)
    presence.call()
    assert presence.hear(chunk("😀", 2, 3))
    assert presence.parts == [[1, 2], "😀"]


def test_the_last_token_needs_no_further_call() -> None:
    presence = PresencePenalty(PENALISED, [1, 2], [], most=1)
    presence.call()
    assert not presence.hear(chunk("b", 2, 1))


def test_the_first_call_tells_what_was_cached() -> None:
    presence = PresencePenalty(PENALISED, [1, 2], [], most=9)
    presence.call()
    presence.hear({"prompt_progress": {"cache": 40}})
    presence.hear(chunk("b", 2, 1))
    presence.call()
    presence.hear({"prompt_progress": {"cache": 43}})
    assert presence.whole(Closed("stop", 1, 43)).cached_tokens == 40

"""A presence penalty that counts the answer alone, made of llama.cpp's, which counts the prompt too.

What the prompt holds and the answer does not yet hold gets as much added as the penalty takes away. So a call is right
until the answer says one of those tokens; there it is cut, and the next call goes on without the bonus of that token.
As many calls are made as tokens of the prompt come up in the answer. Pure: no library is called here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.api import Sampling
from inference.engines.port import Closed

_SEEDS = 2**32 - 1


class PresencePenalty:
    """One answer, over all the calls that it takes.

    Args:
        prompt: token ids of the prompt.
        said: token ids of the text that the answer goes on from, which count as said.
        most: how many tokens the answer may have.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], said: Sequence[int], *, most: int) -> None:
        self._unsaid = set(prompt) - set(said)
        # llama.cpp divides by the repetition penalty before it subtracts this one.
        self._bonus = sampling.presence_penalty * sampling.repetition_penalty
        self._seed = sampling.seed
        self._most = most
        self._calls = 0
        self._due = False
        self._before = 0
        self._predicted = 0
        self.parts: list[list[int] | str] = [[*prompt, *said]]
        """The prompt and all that was said: ids, or text where llama.cpp told no ids (characters of several tokens)."""
        self.cut = False
        self._cached = 0

    def call(self) -> dict[str, Any]:
        """The fields of the next call; whatever in `parts` is text must have become ids."""
        self._before += self._predicted
        self._predicted, self._due, self.cut = 0, False, False
        ids = [token for part in self.parts for token in part]
        self._unsaid.difference_update(token for part in self.parts[1:] for token in part)
        # Another seed for each, or the noise of the first tokens would come again.
        seed = {} if self._seed is None else {"seed": (self._seed + self._calls) % _SEEDS}
        self._calls += 1
        return seed | {
            "prompt": ids,
            "n_predict": self._most - self._before,
            "logit_bias": [[token, self._bonus] for token in sorted(self._unsaid)],
            # With these, every chunk tells the ids of its tokens.
            "return_tokens": True,
            "verbose": True,
        }

    def hear(self, chunk: Mapping[str, Any]) -> bool:
        """Notes what a chunk says; returns whether the call must end with it.

        It ends only where text was sent: what is held back, since it may become a stop string, would be lost.
        """
        if self._calls == 1 and (progress := chunk.get("prompt_progress")):
            self._cached = int(progress["cache"])
        told = chunk.get("__verbose") or {}
        tokens = told.get("tokens") or []
        if not tokens or told.get("stop"):
            return False
        text, new = str(told.get("content", "")), int(told["tokens_predicted"]) - self._predicted
        self._predicted += new
        self.parts.append(list(tokens) if len(tokens) == new else text)
        self._due = self._due or not self._unsaid.isdisjoint(tokens)
        self.cut = self._due and bool(text) and self._before + self._predicted < self._most
        return self.cut

    def whole(self, closed: Closed) -> Closed:
        """The end of the last call as the end of all."""
        return Closed(closed.reason, self._before + closed.completion_tokens, self._cached)

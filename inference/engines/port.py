"""What the service asks of an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from inference.api import ChatRequest, Message, ModelInfo, Unavailable


class Died(Unavailable):
    """This engine can do no more: it must be replaced."""


@dataclass(frozen=True, slots=True)
class Opened:
    """First of all: the engine has the prompt.

    Args:
        thinking: the text starts inside the reasoning.
        counted: `prompt_tokens` is no estimate.
    """

    prompt_tokens: int
    thinking: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Piece:
    """More text, made of `tokens` tokens (0 while half a character waits for its rest)."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Closed:
    """Last of all: why the text ended, and what it took in tokens.

    `prompt_tokens` is there when they were counted better than at the beginning.
    """

    reason: Literal["stop", "length"]
    completion_tokens: int
    cached_tokens: int = 0
    prompt_tokens: int = 0


Output = Opened | Piece | Closed


class Engine(Protocol):
    """Text in, text out; knows nothing of fairness, reasoning or people."""

    @property
    def info(self) -> ModelInfo:
        """Valid after `start`."""
        ...

    @property
    def slots(self) -> int:
        """How many requests it decodes in one batch."""
        ...

    async def start(self) -> None:
        """Loads the model, off the event loop.

        Raises:
            Unavailable: it cannot be loaded.
        """
        ...

    async def close(self) -> None: ...

    def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """Yields `Opened`, `Piece`s and `Closed`; closing the generator stops the decoding within one step.

        `request.prefix` counts as already said and is not yielded again; `max_new_tokens` counts what is yielded.

        Raises:
            TooLong, Unavailable; Died when no request will succeed any more; OutOfMemory when this one is too large.
        """
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int: ...

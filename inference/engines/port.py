"""What the service asks of an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

from inference.api import ChatRequest, Message, ModelInfo, OutOfMemory, Sampling, Unavailable
from inference.reasoning.formats import Format


class Died(Unavailable):
    """This engine can do no more: it must be replaced."""


class TooLarge(OutOfMemory):
    """There was no memory for this request alone: no other one has to do with it."""


class RequestRejected(Unavailable):
    """The engine is sound and cannot answer this request: its template refuses it, its logits are no numbers, …"""


@dataclass(frozen=True, slots=True)
class Opened:
    """First of all: the engine has the prompt.

    Args:
        thinking: the text starts inside the reasoning; None if nobody can tell before it ends.
        counted: `prompt_tokens` is no estimate.
        format: how the model writes its reasoning, where that is known.
        orphans: reasoning may end that nothing has opened: nobody has seen how the prompt ends, or the model has
            reasoned before although its template did not want it to.
    """

    prompt_tokens: int
    thinking: bool | None = False
    counted: bool = True
    format: Format | None = None
    orphans: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """Work was done for this request, such as a part of its prompt being read; there is nothing to show for it yet."""


@dataclass(frozen=True, slots=True)
class Replacing:
    """The engine has died, or its servers are away: the answer goes on when there is one, which may take as long as a
    start."""


@dataclass(frozen=True, slots=True)
class Piece:
    """More text, made of `tokens` tokens (0 while half a character waits for its rest).

    `thinking`: a server has said that it is reasoning, whose marks are not in the text.
    """

    text: str
    tokens: int
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """Last of all: why the text ended, and what it took in tokens.

    `prompt_tokens` is there when they were counted better than at the beginning.
    """

    reason: Literal["stop", "length"]
    completion_tokens: int
    cached_tokens: int = 0
    prompt_tokens: int = 0


Output = Opened | Progress | Replacing | Piece | Closed


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

    @property
    def steps(self) -> int:
        """A counter that grows with all work for anybody: parts of prompts, tokens, bytes of a server.

        Two equal readings mean that nothing was done between them; that is how a supervisor measures silence.
        """
        ...

    @property
    def progress(self) -> str:
        """What the start is busy with; empty where there is nothing to tell."""
        ...

    @property
    def share(self) -> float | None:
        """How much of the start is done, from 0 to 1; None where nobody can tell."""
        ...

    @property
    def lost(self) -> bool:
        """The engine has died and could not be replaced yet."""
        ...

    @property
    def is_being_replaced(self) -> bool:
        """The engine has died and requests wait for another one; always False for an engine without a supervisor."""
        ...

    async def start(self) -> None:
        """Loads the model, off the event loop.

        Raises:
            Unavailable: it cannot be loaded.
        """
        ...

    async def close(self) -> None: ...

    async def check(self) -> None:
        """Returns if a request can succeed; asked after an error or a silence that may be one request's own.

        May take as long as what runs before it: the caller bounds it, and reads `steps` meanwhile.

        Raises:
            any exception: the engine must be replaced.
        """
        ...

    def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """Yields `Opened`, `Piece`s and `Closed`; closing the generator stops the decoding within one step.

        `Progress` and `Replacing` may come anywhere before `Closed`.

        `request.prefix` counts as already said and is not yielded again; `max_new_tokens` counts what is yielded.
        Reasoning in the prefix stands between `<think>` and `</think>`, or as the model wrote it; the engine writes it
        into the prompt in the marks of the model's family.

        Raises:
            TooLong, Rejected: this request fails, and no other. OutOfMemory: there was no memory for it; TooLarge if it
            was tried alone. Died: no request will succeed any more. Anything else: nobody knows, so that `check` is
            asked.
        """
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int: ...


async def answer_one_token(engine: Engine) -> None:
    """The check of engines with weights. Raises what `generate` raises."""
    sampling = Sampling(max_new_tokens=1, temperature=0, thinking_budget=None)
    request = ChatRequest(id="check", messages=(Message("user", "Hi"),), sampling=sampling, owner="")
    async with aclosing(engine.generate(request)) as outputs:
        async for _ in outputs:
            pass

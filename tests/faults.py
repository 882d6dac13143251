"""Faults on purpose: one method fails for one person, while everybody else's calls go through.

Whose call it is follows from its arguments, or else from whom the task acted for last.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from bots.ports import Storage, Turn
from inference.api import CaptionRequest, ChatRequest, Inference, Loading, Message, ModelInfo

_ACTS_FOR: ContextVar[str | None] = ContextVar("acts_for", default=None)
"""Whom this task acts for, and those that it begins."""


def methods(protocol: type) -> set[str]:
    """The names that somebody can call on what implements the protocol."""
    return {
        name
        for each in protocol.__mro__
        for name, value in vars(each).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }


@dataclass
class Fault:
    """`method` fails once for its person with what `error` makes."""

    method: str
    error: Callable[[], Exception]
    hits: int = 0


@dataclass
class Faults:
    """By person (a number that is in every name of theirs), or by method for everybody, so many times."""

    of: Mapping[str, Fault]
    on: bool = True
    everybody: dict[str, int] = field(default_factory=dict)
    error: Callable[[], Exception] = Exception

    def trip(self, method: str, *concerning: object) -> None:
        """Raises the fault of the person whom the call concerns, if this is the method."""
        if self.everybody.get(method):
            self.everybody[method] -= 1
            raise self.error()
        person = self._whose(concerning)
        fault = self.of.get(person or "")
        if self.on and fault is not None and fault.method == method and not fault.hits:
            fault.hits += 1
            raise fault.error()

    def awaits(self, method: str) -> bool:
        """Whether whom this task acts for has that fault, and has not met it yet."""
        fault = self.of.get(_ACTS_FOR.get() or "")
        return self.on and fault is not None and fault.method == method and not fault.hits

    def _whose(self, concerning: tuple[object, ...]) -> str | None:
        named: set[str] = {person for person in re.findall(r"\b\d{6}\b", repr(concerning)) if person in self.of}
        if len(named) == 1:
            (person,) = named
            _ACTS_FOR.set(person)
            return person
        return None if named else _ACTS_FOR.get()

    def storage(self, kept: Storage) -> Storage:
        """The storage, as the program with these faults has it."""
        return cast(Storage, _Storage(self, kept))


class _Storage:
    def __init__(self, faults: Faults, kept: Storage) -> None:
        self._faults, self._kept = faults, kept

    def keep_soon(self, answer: Turn) -> None:
        self._faults.trip("keep_soon", answer)
        self._kept.keep_soon(answer)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kept, name)
        if name not in methods(Storage):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._faults.trip(name, args, kwargs)
            return await found(*args, **kwargs)

        return call


class FaultyInference:
    """An inference service in which requests of some people fail.

    `stream` fails before its first event, `stream in the middle` behind its first text.
    """

    def __init__(self, faults: Faults, whole: Inference) -> None:
        self._faults, self._whole = faults, whole

    @property
    def info(self) -> ModelInfo:
        return self._whole.info

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Any, None]:
        self._faults.trip("stream", request.owner)
        async with aclosing(self._whole.stream(request)) as events:
            async for event in events:
                yield event
                if type(event).__name__ == "Text":
                    self._faults.trip("stream in the middle", request.owner)

    def cancel(self, request_id: str) -> None:
        self._faults.trip("cancel", request_id)
        self._whole.cancel(request_id)

    async def caption(self, request: CaptionRequest) -> Any:
        self._faults.trip("caption", request.owner)
        return await self._whole.caption(request)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        self._faults.trip("count_tokens", messages)
        return await self._whole.count_tokens(messages)

    async def forget_captions(self) -> None:
        self._faults.trip("forget_captions")
        await self._whole.forget_captions()

    def loading(self, what: Literal["model", "pictures"] = "model") -> Loading | None:
        self._faults.trip("loading")
        # For whom `ready` is to fail, the model is still being loaded.
        return Loading() if self._faults.awaits("ready") else self._whole.loading(what)

    async def ready(self) -> None:
        self._faults.trip("ready")
        await self._whole.ready()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

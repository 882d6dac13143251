"""Messages to token ids by llama.cpp's own HTTP server, which offers what its library has nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp

from inference.api import Message, Unavailable
from inference.engines.placeholders import Placeholders
from inference.engines.port import RequestRejected
from inference.engines.surrogates import encodable
from inference.reasoning.prefix import PrefixPiece

_TIMEOUT = aiohttp.ClientTimeout(total=60)


class LlamaPrompts:
    """The prompts of one model.

    Args:
        address: of the library's server on loopback, `key` opens it.
    """

    def __init__(self, address: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = aiohttp.ClientSession(address, headers=headers, timeout=_TIMEOUT)
        self._heads: dict[str, int] = {}

    async def close(self) -> None:
        await self._http.close()

    async def template(self, messages: Sequence[Message]) -> tuple[list[str], list[Message]]:
        """The template's own text around the messages, and these in its order: see `Placeholders.apart`."""
        marks = Placeholders(messages)
        reply = await self.post("/apply-template", {"messages": marks.turns()})
        return marks.apart(str(reply["prompt"]))

    async def encode(self, template: Sequence[str], messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt: control tokens count in the template alone, in people's text they are text."""
        ids = await self._ids(template[0], first=True, special=True)
        for message, after in zip(messages, template[1:], strict=True):
            ids += await self.plain(message.content)
            ids += await self._ids(after, special=True)
        return ids

    async def head(self, template: Sequence[str]) -> int:
        """The tokens of the template before any message, which all prompts share."""
        text = template[0]
        if text not in self._heads:
            self._heads = {text: len(await self._ids(text, first=True, special=True))}
        return self._heads[text]

    async def said(self, said: Sequence[PrefixPiece]) -> list[int]:
        """Token ids of what the model wrote: its own marks are control tokens again."""
        return [id for piece in said for id in await self._ids(piece.text, special=piece.mark)]

    async def control(self, text: str) -> list[int]:
        """Token ids of text in which control tokens count."""
        return await self._ids(text, special=True)

    async def plain(self, text: str) -> list[int]:
        """Token ids of text in which no control token counts."""
        return await self._ids(text, special=False)

    async def _ids(self, text: str, *, special: bool, first: bool = False) -> list[int]:
        if not text:
            return []
        body = {"content": encodable(text), "add_special": first, "parse_special": special}
        ids: list[int] = (await self.post("/tokenize", body))["tokens"]
        return ids

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if self._http.closed:
            raise Unavailable("the engine is not running")
        try:
            try:
                return await self._once(method, path, body)
            except aiohttp.ServerDisconnectedError:
                # It closes connections that were idle for 5 s, and did so while this was on its way.
                return await self._once(method, path, body)
        except (aiohttp.ClientError, TimeoutError, ValueError, RuntimeError) as error:
            raise Unavailable(f"llama.cpp did not answer {path}: {error}") from error

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        async with self._http.request(method, path, json=body) as response:
            reply: dict[str, Any] = await response.json()
        if response.status != 200:
            kind = RequestRejected if response.status == 400 else Unavailable
            raise kind(f"llama.cpp refused {path}: {reply.get('error', response.status)}")
        return reply

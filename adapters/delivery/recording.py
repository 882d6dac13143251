"""Records under the chat's own name what went out by an outbox that is called otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from bots.ports import Delivered, Deliveries


class RecordedIn(Deliveries):
    """`record`, in which every chat is this one."""

    def __init__(self, record: Deliveries, chat: str) -> None:
        self._record = record
        self._chat = chat

    async def delivered(self, chat: str, answer_id: str) -> Delivered:
        return await self._record.delivered(self._chat, answer_id)

    async def answer_at(self, chat: str, message_id: str) -> str | None:
        return await self._record.answer_at(self._chat, message_id)

    async def record_delivery(self, chat: str, answer_id: str, position: int, message_id: str) -> None:
        await self._record.record_delivery(self._chat, answer_id, position, message_id)

    async def recorded(self) -> None:
        await self._record.recorded()

    async def supersede(self, chat: str, answer_id: str) -> None:
        await self._record.supersede(self._chat, answer_id)

    async def superseded(self, chat: str, answer_id: str) -> Sequence[str]:
        return await self._record.superseded(self._chat, answer_id)

    async def forget_delivery(self, chat: str, message_id: str) -> None:
        await self._record.forget_delivery(self._chat, message_id)

    async def record_shown(self, chat: str, answer_id: str) -> None:
        await self._record.record_shown(self._chat, answer_id)

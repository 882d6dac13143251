"""People on the wire-level Discord: what they write, call and press, and what only they see of an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.discord import DiscordServer
    from tests.servers.discord_world import Room


class Refusal(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: int, words: str, **more: float) -> None:
        super().__init__(words)
        self.status, self.body = status, {"code": code, "message": words, **more}


@dataclass(eq=False)
class Interaction:
    """One use of a command or button: how it was acknowledged, and what only the person sees."""

    server: DiscordServer
    id: str
    token: str
    room: Room
    on: dict[str, Any] | None = None
    """The message whose button was pressed."""
    is_borrowed: bool = False
    """A person took the bot along to this place."""
    follow_ups: int = 0
    made: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    acknowledged_after_s: float = 0.0
    kind: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    original: dict[str, Any] | None = None
    private: list[dict[str, Any]] = field(default_factory=list)
    expired: bool = False

    async def acknowledged(self, token: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.kind or token != self.token:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        if time.monotonic() - self.began > 3:
            raise Refusal(404, 10062, "Unknown interaction")
        self.acknowledged_after_s = time.monotonic() - self.began
        self.kind, self.data = body["type"], body.get("data") or {}
        if self.kind == 4:
            self._add(self.data)
        about = {"id": self.id, "type": 2, "response_message_loading": self.kind == 5}
        return {
            "interaction": about | {"response_message_id": self.server.new_id(), "response_message_ephemeral": True}
        }

    async def called(self, method: str, rest: list[str], body: dict[str, Any], uploads: list[dict[str, Any]]) -> Any:
        if self.expired:
            raise Refusal(401, 50027, "Invalid Webhook Token")
        match method, *rest:
            case "PATCH", "messages", "@original" if self.original is None and self.kind == 5:
                return self._add(body, uploads, private=bool(self.data.get("flags", 0) & 64))
            case "GET", "messages", "@original":
                return self.original or {"id": self.server.new_id(), "flags": 128 if self.kind == 5 else 0}
            case _, "messages", "@original" if method == "DELETE":
                self.kind = 6
                return None
            case "PATCH", "messages", message_id:
                return await self._edited(message_id, body, uploads)
            case "DELETE", "messages", message_id:
                return await self._deleted(message_id)
            case ("POST",):
                is_response = self.original is None and self.kind == 5
                if not is_response:
                    self._count_follow_up()
                return self._add(body, uploads, private=bool(body.get("flags", 0) & 64))
        raise Refusal(404, 10015, "Unknown Webhook")

    def _count_follow_up(self) -> None:
        if self.is_borrowed and self.follow_ups == 5:
            raise Refusal(400, 40094, "This interaction has hit the maximum number of follow up messages")
        self.follow_ups += 1

    async def _deleted(self, message_id: str) -> None:
        """Only this interaction's own messages; a follow-up that is gone counts all the same."""
        message = next((each for each in self.made if each["id"] == message_id), None)
        if message is None:
            raise Refusal(404, 10008, "Unknown Message")
        for messages in (self.made, self.private, self.room.messages):
            messages[:] = [each for each in messages if each is not message]
        await self.server.notify()

    async def _edited(self, message_id: str, body: dict[str, Any], uploads: list[dict[str, Any]]) -> dict[str, Any]:
        """Of this interaction's messages, or the one whose button was pressed."""
        if message_id == "@original":
            pressed = self.on["id"] if self.on else ""
            message_id = self.original["id"] if self.original else pressed
        elif not any(message["id"] == message_id for message in self.made):
            raise Refusal(404, 10008, "Unknown Message")
        message = next((each for each in self.private if each["id"] == message_id), None)
        message = message or self.room.message(message_id)
        if message is None:
            raise Refusal(404, 10008, "Unknown Message")
        kept = [str(each["id"]) for each in body.pop("attachments", message["attachments"])]
        files = [each for each in message["attachments"] if each["id"] in kept] + self._attached(uploads)
        if body or not files:
            check_length({"content": message["content"]} | body, bool(files))
        message.update({name: value for name, value in body.items() if name in ("content", "components", "flags")})
        message["attachments"] = files
        message["history"].append(message["content"])
        message["times"].append(time.monotonic())
        await self.server.notify()
        return message

    def _attached(self, uploads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self.server.attach(file["filename"], file["data"], "") for file in uploads]

    def _add(
        self, body: dict[str, Any], uploads: list[dict[str, Any]] | None = None, private: bool | None = None
    ) -> dict[str, Any]:
        private = bool(body.get("flags", 0) & 64) if private is None else private
        check_length(body, bool(uploads))
        more = {"components": body.get("components", []), "flags": body.get("flags", 0)}
        more["attachments"] = self._attached(uploads or [])
        message = self.server.message_of(self.room, self.server.bot, body.get("content", ""), **more)
        (self.private if private else self.room.messages).append(message)
        self.made.append(message)
        if self.original is None and self.kind == 5:
            self.original = message
        return message


@dataclass(eq=False)
class Person:
    """Somebody who writes, presses and calls commands."""

    server: DiscordServer
    user: dict[str, Any]
    permissions: int = 0
    roles: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.user["id"])

    @property
    def name(self) -> str:
        return str(self.user["username"])

    async def says(self, room: Room, text: str, *, to: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Writes a message; "@bot" in it mentions the bot, `to` is the message that it replies to."""
        if to is not None:
            more["message_reference"] = {"message_id": to["id"]}
            if to["author"]["id"] == self.server.bot["id"]:
                more["mentions"] = []
        text = text.replace("@bot", f"<@{self.server.bot['id']}>")
        return await self.server.say(room, self.user, text, **more)

    async def forwards(self, room: Room, message: dict[str, Any], source: Room, **more: Any) -> dict[str, Any]:
        """Hands a message of another room on, as Discord's clients do: without words of one's own."""
        kept = ("type", "content", "embeds", "attachments", "components", "flags", "timestamp", "edited_timestamp")
        snapshot = {name: message[name] for name in kept if name in message}
        reference = {"type": 1, "message_id": message["id"], "channel_id": source.id}
        more |= {"message_reference": reference, "message_snapshots": [{"message": snapshot}]}
        return await self.server.say(room, self.user, "", **more)

    async def calls(self, room: Room, name: str, /, **options: Any) -> Interaction:
        """Uses a slash command: "settings temperature" with value=0.3."""
        command, *sub = name.split(" ")
        filled, attached = [], {}
        for option, value in options.items():
            if isinstance(value, dict):
                attached[value["id"]] = value
                filled.append({"name": option, "type": 11, "value": value["id"]})
            else:
                kind = 10 if isinstance(value, float) else 4 if isinstance(value, int) else 3
                filled.append({"name": option, "type": kind, "value": value})
        for part in reversed(sub):
            filled = [{"name": part, "type": 1, "options": filled}]
        data: dict[str, Any] = {"id": self.server.new_id(), "name": command, "type": 1, "options": filled}
        if attached:
            data["resolved"] = {"attachments": attached}
        return await self.server.interact(self, room, 2, data)

    async def submits(self, form: Interaction, values: dict[str, str]) -> Interaction:
        """Sends off the form that was opened, with these values by label; the other fields stay as they are."""
        rows = []
        for row in form.data["components"]:
            field = row["component"]
            value = values.get(row["label"], field.get("value", ""))
            rows.append({"type": 18, "component": {"type": 4, "custom_id": field["custom_id"], "value": value}})
        data = {"custom_id": form.data["custom_id"], "components": rows}
        return await self.server.interact(self, form.room, 5, data)

    async def chooses(self, room: Room, name: str, message: dict[str, Any]) -> Interaction:
        """Chooses what to do with a message, in its menu."""
        data = {"id": self.server.new_id(), "name": name, "type": 3, "target_id": message["id"]}
        return await self.server.interact(
            self, room, 2, data | {"resolved": {"messages": {message["id"]: dict(message)}}}
        )

    async def presses(self, room: Room, message: dict[str, Any], label: str) -> Interaction:
        """Presses a button that the message shows now."""
        button = next(each for each in buttons(message) if each["label"] == label)
        data = {"custom_id": button["custom_id"], "component_type": 2}
        return await self.server.interact(self, room, 3, data, message=dict(message))


def buttons(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in message.get("components", ()):
        yield from row["components"]


def check_length(body: dict[str, Any], has_files: bool) -> None:
    content = body.get("content")
    if content is not None and len(content) > 2000:
        raise Refusal(400, 50035, "Invalid Form Body: Must be 2000 or fewer in length.")
    if not (content or "").strip() and not has_files and not body.get("components"):
        raise Refusal(400, 50006, "Cannot send an empty message")

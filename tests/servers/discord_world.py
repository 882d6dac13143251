"""What there is on the simulated Discord, as the API and the gateway describe it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

_EPOCH_MS = 1_420_070_400_000


@dataclass(eq=False)
class Room:
    """A channel: a text channel of the server, a thread in one, or somebody's direct messages."""

    id: str
    name: str
    guild: str = ""
    kind: int = 0
    parent: str = ""
    owner: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    """What the bot may not do here: "send", "edit", "attach", "history", "threads"."""
    archived: bool = False
    locked: bool = False
    typings: int = 0
    slow_s: float = 0.0
    """How long a message holds up the next one."""
    slow_until: float = 0.0

    def message(self, message_id: str) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["id"] == message_id), None)


class World:
    """Servers with their channels, and the bot."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self._numbers = itertools.count(1)
        self.clock_s = 0.0
        """How far its clock is ahead of ours."""
        self.bot = self.user("Partyline", bot=True)
        self.guilds = [self.new_id()]

    def new_id(self) -> str:
        """A snowflake: the time in it is what the library reads."""
        return str(((int((time.time() + self.clock_s) * 1000) - _EPOCH_MS) << 22) + next(self._numbers) % 2**22)

    def user(self, name: str, *, bot: bool = False) -> dict[str, Any]:
        more = {"avatar": None, "discriminator": "0", "global_name": name, "public_flags": 0}
        return {"id": self.new_id(), "username": name, "bot": bot, **more}

    def member(self, user: dict[str, Any]) -> dict[str, Any]:
        return {"user": user, "roles": [], "joined_at": now(), "deaf": False, "mute": False, "flags": 0}

    def application(self) -> dict[str, Any]:
        keys = {"description": "", "icon": None, "bot_public": True, "bot_require_code_grant": False}
        owner = self.user("owner")
        return {"id": self.bot["id"], "name": "Partyline", "owner": owner, "verify_key": "", "flags": 0, **keys}

    def channel_of(self, room: Room) -> dict[str, Any]:
        common = {"id": room.id, "type": room.kind, "name": room.name, "last_message_id": None, "flags": 0}
        if room.kind == 1:
            return common | {"recipients": [{**self.user("someone"), "id": room.owner}]}
        channel = common | {"guild_id": room.guild, "position": 0, "permission_overwrites": [], "nsfw": False}
        if room.kind != 11:
            return channel | {"parent_id": None}
        times = {"archived": room.archived, "locked": room.locked, "auto_archive_duration": 1440}
        thread = {
            "parent_id": room.parent,
            "owner_id": room.owner or self.bot["id"],
            "message_count": 0,
            "member_count": 1,
        }
        thread["thread_metadata"] = times | {"archive_timestamp": now()}
        return channel | thread

    def message_of(self, room: Room, author: dict[str, Any], content: str, **more: Any) -> dict[str, Any]:
        mentioned = [self.bot] if f"<@{self.bot['id']}>" in content else []
        message = {
            "id": self.new_id(),
            "channel_id": room.id,
            "author": author,
            "content": content,
            "timestamp": now(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": mentioned,
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "type": 0,
            "history": [content],
            **more,
        }
        reference = more.get("message_reference")
        if reference and "message_snapshots" not in more:
            message["type"] = 19
            message["message_reference"] = {"channel_id": room.id, **reference}
            message["referenced_message"] = room.message(reference["message_id"])
        return message

    def delivered(self, room: Room, message: dict[str, Any]) -> dict[str, Any]:
        if not room.guild:
            return message
        return message | {"guild_id": room.guild, "member": self.member(message["author"])}

    def guild_now(self, guild: str = "") -> dict[str, Any]:
        guild = guild or self.guilds[0]
        rooms = [room for room in self.rooms.values() if room.guild == guild]
        return {
            "id": guild,
            "name": "The test server",
            "owner_id": self.bot["id"],
            "roles": [{"id": guild, "name": "@everyone", "permissions": str(2**40)}],
            "emojis": [],
            "stickers": [],
            "features": [],
            "channels": [self.channel_of(room) for room in rooms if room.kind != 11],
            "threads": [self.channel_of(room) for room in rooms if room.kind == 11],
            "members": [self.member(self.bot)],
            "member_count": 3,
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "premium_tier": 0,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "system_channel_flags": 0,
            "preferred_locale": "en-US",
        }


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())

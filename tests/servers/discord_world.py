"""What there is on the simulated Discord, as the API and the gateway describe it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

_EPOCH_MS = 1_420_070_400_000
VOICE, FORUM, PUBLIC_THREAD, PRIVATE_THREAD = 2, 15, 11, 12
THREADS = (PUBLIC_THREAD, PRIVATE_THREAD)
_VIEW, _HISTORY = 1 << 10, 1 << 16
_ALL = 2**40 - 1 - (1 << 3)
"""What the bot may do where nothing is said: everything but what an administrator may."""
CONTENTS = 1 << 15
"""The intent without which messages come empty, but for those that mention the bot and direct ones."""


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
    """What the bot may not do here: "view", "send", "edit", "attach", "history", "threads"."""
    invited: bool = False
    """The bot is a member of this thread; private ones are shown to their members alone."""
    aloof: bool = False
    """Direct messages of other people, in which the bot takes no part."""
    archived: bool = False
    archived_at: str = ""
    locked: bool = False
    typings: int = 0
    slow_s: float = 0.0
    """How long a message holds up the next one."""
    slow_until: float = 0.0

    @property
    def is_thread(self) -> bool:
        return self.kind in THREADS

    @property
    def is_seen(self) -> bool:
        """Whether a bot of this server is told of it and may read in it."""
        return self.kind != PRIVATE_THREAD or self.invited

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
        self._began = now()
        self.joined: dict[str, str] = {}
        """When the bot was let in."""
        self.roles: dict[str, list[dict[str, Any]]] = {}

    def new_id(self) -> str:
        """A snowflake: the time in it is what the library reads."""
        return str(((int((time.time() + self.clock_s) * 1000) - _EPOCH_MS) << 22) + next(self._numbers) % 2**22)

    def user(self, name: str, *, bot: bool = False) -> dict[str, Any]:
        more = {"avatar": None, "discriminator": "0", "global_name": name, "public_flags": 0}
        return {"id": self.new_id(), "username": name, "bot": bot, **more}

    def is_member(self, room: Room) -> bool:
        """Whether the bot is let in where this room is; elsewhere a person took it along, and only its tokens work."""
        return room.guild in self.guilds if room.guild else not room.aloof

    def member(self, user: dict[str, Any], joined_at: str = "") -> dict[str, Any]:
        joined_at = joined_at or self._began
        return {"user": user, "roles": [], "joined_at": joined_at, "deaf": False, "mute": False, "flags": 0}

    def application(self) -> dict[str, Any]:
        keys = {"description": "", "icon": None, "bot_public": True, "bot_require_code_grant": False}
        owner = self.user("owner")
        return {"id": self.bot["id"], "name": "Partyline", "owner": owner, "verify_key": "", "flags": 0, **keys}

    def channel_of(self, room: Room) -> dict[str, Any]:
        common = {"id": room.id, "type": room.kind, "name": room.name, "last_message_id": self._last(room), "flags": 0}
        if room.kind == 1:
            return common | {"recipients": [{**self.user("someone"), "id": room.owner}]}
        channel = common | {"guild_id": room.guild, "position": 0, "permission_overwrites": [], "nsfw": False}
        if not room.is_thread:
            voice = {"bitrate": 64_000, "user_limit": 0} if room.kind == VOICE else {}
            return channel | voice | {"parent_id": None, "permission_overwrites": self._overwrites(room)}
        times = {"archived": room.archived, "locked": room.locked, "auto_archive_duration": 1440}
        thread = {
            "parent_id": room.parent,
            "owner_id": room.owner or self.bot["id"],
            "message_count": 0,
            "member_count": 1,
        }
        thread["thread_metadata"] = times | {"archive_timestamp": room.archived_at or now()}
        if room.invited:
            thread["member"] = self.thread_member(room)
        return channel | thread

    def thread_member(self, thread: Room) -> dict[str, Any]:
        return {"id": thread.id, "user_id": self.bot["id"], "join_timestamp": now(), "flags": 0}

    def _last(self, room: Room) -> str | None:
        """Of a forum it is the newest post."""
        if room.kind == FORUM:
            return max((each.id for each in self.rooms.values() if each.parent == room.id), key=int, default=None)
        return room.messages[-1]["id"] if room.messages else None

    def _overwrites(self, room: Room) -> list[dict[str, Any]]:
        denied = _VIEW * ("view" in room.forbidden) | _HISTORY * ("history" in room.forbidden)
        return [{"id": room.guild, "type": 0, "allow": "0", "deny": str(denied)}] if denied else []

    def archive(self, thread: Room) -> None:
        thread.archived, thread.archived_at = True, self.time()

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
            "times": [time.monotonic()],
            **more,
        }
        reference = more.get("message_reference")
        if reference and "message_snapshots" not in more:
            message["type"] = 19
            message["message_reference"] = {"channel_id": room.id, **reference}
            replied = room.message(reference["message_id"])
            # What that one replies to in its turn is not told.
            message["referenced_message"] = replied and {k: v for k, v in replied.items() if k != "referenced_message"}
        return message

    def delivered(self, room: Room, message: dict[str, Any]) -> dict[str, Any]:
        if not room.guild:
            return message
        return message | {
            "guild_id": room.guild,
            "member": self.member(message["author"], self.joined.get(room.guild, "")),
        }

    def readable(self, room: Room, message: dict[str, Any], intents: int) -> dict[str, Any]:
        """The message as an application with these intents gets it, over the gateway as by REST."""
        mentioned = any(user["id"] == self.bot["id"] for user in message["mentions"])
        if intents & CONTENTS or not room.guild or mentioned or message["author"]["id"] == self.bot["id"]:
            return message
        return message | {"content": "", "attachments": [], "embeds": [], "components": []}

    def time(self) -> str:
        return now(self.clock_s)

    def role(self, name: str) -> str:
        """A new role of the first server."""
        made = {"id": self.new_id(), "name": name, "permissions": "0"}
        self.roles.setdefault(self.guilds[0], []).append(made)
        return str(made["id"])

    def join(self) -> str:
        """The bot is let in on another server."""
        self.guilds.append(self.new_id())
        self.joined[self.guilds[-1]] = self.time()
        return self.guilds[-1]

    def guild_now(self, guild: str = "") -> dict[str, Any]:
        guild = guild or self.guilds[0]
        rooms = [room for room in self.rooms.values() if room.guild == guild]
        threads = [room for room in rooms if room.is_thread and room.is_seen and not room.archived]
        return {
            "id": guild,
            "name": "The test server",
            "owner_id": "1",
            "roles": [{"id": guild, "name": "@everyone", "permissions": str(_ALL)}, *self.roles.get(guild, ())],
            "emojis": [],
            "stickers": [],
            "features": [],
            "channels": [self.channel_of(room) for room in rooms if not room.is_thread],
            "threads": [self.channel_of(room) for room in threads],
            "members": [self.member(self.bot, self.joined.get(guild, ""))],
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


def now(ahead_s: float = 0.0) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + ahead_s))

"""Discord on the wire: the gateway and the REST API as far as a bot sees them, with limits, faults and people.

discord.py connects to it unmodified. What a real client would show is in `Room.messages`; everything that was called
is in `DiscordServer.calls`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from tests.servers.discord_gateway import TOKEN, Gateway
from tests.servers.discord_people import Interaction, Person, Refusal, check_length
from tests.servers.discord_world import CONTENTS, PRIVATE_THREAD, PUBLIC_THREAD, Room, now

__all__ = ["TOKEN", "DiscordServer", "Faults", "Limit"]

_EDITABLE = ("content", "components", "flags", "attachments", "embeds")
_ROUTE = re.compile(r"/api/v10(/channels/(\d+)/.*|/.*)")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bucket for each channel: so many calls in a window that slides."""

    calls: int = 5
    window_s: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Probabilities for each message call: an error before or after it is applied, and a connection that breaks."""

    before: float = 0.0
    after: float = 0.0
    dropped: float = 0.0


@dataclass
class Call:
    method: str
    path: str
    at: float
    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)


class DiscordServer(Gateway):
    """The server's side. `edits`, `sends` and `faults` may be changed while it runs."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.edits = self.sends = Limit(calls=10_000)
        self.faults = Faults()
        self.latency_s = 0.0
        self.responds = asyncio.Event()
        """While it is not set, message calls are applied and nobody hears of it."""
        self.responds.set()
        self.lost_acknowledgements = 0
        """So many more connections break before the acknowledgement that comes over them is read."""
        self.unheard_acknowledgements = 0
        """So many more break after that, and nobody hears that it was taken."""
        self.broken_reads = 0
        """So many more connections break when a channel's history is asked for."""
        self.breaks: list[str] = []
        """For each of these, the connection of the next call with that in its path breaks."""
        self.silent_until = 0.0
        """Until then, in the loop's time, every message call of the account is refused."""
        self.calls: list[Call] = []
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.commands: list[dict[str, Any]] = []
        self.port = 0
        self.people: dict[str, Person] = {}
        self._dice = random.Random(seed)
        self._recent: dict[tuple[str, str], deque[float]] = {}
        self._interactions: dict[str, Interaction] = {}
        self._nonces: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[DiscordServer]:
        app = web.Application(client_max_size=2**25)
        app.router.add_get("/gateway", self.connected)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_route("*", "/api/v10/{path:.*}", self._rest)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await self.close_connections()
            await runner.cleanup()

    # The world, as a test tells it

    def room(self, name: str = "general", **more: Any) -> Room:
        made = Room(self.new_id(), name, **{"guild": self.guilds[0], **more})
        self.rooms[made.id] = made
        return made

    def direct(self, person: Person, *, aloof: bool = False) -> Room:
        """Somebody's direct messages with the bot, or with somebody else."""
        made = Room(self.new_id(), person.name, kind=1, owner=person.id, aloof=aloof)
        self.rooms[made.id] = made
        return made

    def person(self, name: str, permissions: int = 0) -> Person:
        made = Person(self, self.user(name), permissions)
        self.people[made.id] = made
        return made

    def attach(self, name: str, data: bytes, kind: str = "image/png") -> dict[str, Any]:
        """Uploads a file; what a message has of it."""
        key = f"{self.new_id()}-{name}"
        self.files[key] = data
        url = f"{self.address}/files/{key}"
        return {"id": self.new_id(), "filename": name, "size": len(data), "url": url, "proxy_url": url} | (
            {"content_type": kind} if kind else {}
        )

    async def until(self, wanted: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Waits until `wanted` returns something true, and returns that."""
        async with asyncio.timeout(timeout_s), self.changed:
            while not (found := wanted()):
                await self.changed.wait()
            return found

    async def say(self, room: Room, author: dict[str, Any], content: str, **more: Any) -> dict[str, Any]:
        """Posts a message and tells the bot about it."""
        message = self.message_of(room, author, content, **more)
        room.messages.append(message)
        await self.dispatch("MESSAGE_CREATE", self.delivered(room, message))
        return message

    async def delete(self, room: Room, message_id: str) -> None:
        room.messages = [message for message in room.messages if message["id"] != message_id]
        gone = {"id": message_id, "channel_id": room.id} | ({"guild_id": room.guild} if room.guild else {})
        await self.dispatch("MESSAGE_DELETE", gone)

    async def purge(self, room: Room) -> None:
        """Deletes all messages at once, as moderators do."""
        gone = {"ids": [message["id"] for message in room.messages], "channel_id": room.id, "guild_id": room.guild}
        room.messages = []
        await self.dispatch("MESSAGE_DELETE_BULK", gone)

    async def invite(self, thread: Room) -> None:
        """Adds the bot to a thread."""
        thread.invited = True
        added = {"id": thread.id, "guild_id": thread.guild, "member_count": 2}
        added["added_members"] = [self.thread_member(thread)]
        await self.dispatch("THREAD_MEMBERS_UPDATE", added)

    async def interact(self, person: Person, room: Room, kind: int, data: dict[str, Any], **more: Any) -> Interaction:
        """Sends an interaction and returns at once."""
        member, message = self.is_member(room), more.get("message")
        made = Interaction(self, self.new_id(), f"secret-{self.new_id()}", room, message, not member)
        self._interactions[made.id] = self._interactions[made.token] = made
        payload = {
            "id": made.id,
            "token": made.token,
            "type": kind,
            "version": 1,
            "application_id": self.bot["id"],
            "channel_id": room.id,
            "channel": self.channel_of(room),
            "data": data,
            "locale": "en-US",
            "entitlements": [],
            "attachment_size_limit": 10_485_760,
            "app_permissions": str(2**40),
            "authorizing_integration_owners": {"0": room.guild or "0"} if member else {"1": person.id},
            "context": 0 if room.guild else 1 if member else 2,
            **more,
        }
        if room.guild:
            payload |= {"guild_id": room.guild, "guild": {"id": room.guild, "features": [], "locale": "en-US"}}
            payload["member"] = self.member(person.user) | {"permissions": str(person.permissions)}
        else:
            payload["user"] = person.user
        await self.dispatch("INTERACTION_CREATE", payload)
        return made

    # The REST API

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, asyncio.get_running_loop().time())
        self.calls.append(call)
        try:
            call.body, uploads = await _body(request)
            await asyncio.sleep(self.latency_s)
            response = await self._answered(request, call, uploads)
        except Refusal as refusal:
            response = _json(refusal.body, status=refusal.status)
        call.status = response.status
        await self.notify()
        return response

    async def _answered(self, request: web.Request, call: Call, uploads: list[dict[str, Any]]) -> web.Response:
        by_token = "/interactions/" in call.path or "/webhooks/" in call.path
        if not by_token and request.headers.get("Authorization") != f"Bot {TOKEN}":
            raise Refusal(401, 0, "401: Unauthorized")
        if call.path.endswith("/callback") and self.lost_acknowledgements and request.transport:
            self.lost_acknowledgements -= 1
            request.transport.close()
            return web.Response()
        if call.method == "GET" and call.path.endswith("/messages") and self.broken_reads and request.transport:
            self.broken_reads -= 1
            request.transport.close()
            return web.Response()
        if (broken := next((part for part in self.breaks if part in call.path), None)) and request.transport:
            self.breaks.remove(broken)
            request.transport.close()
            return web.Response()
        is_message = "/messages" in call.path and call.method in ("POST", "PATCH")
        if is_message and (penalty := self._penalty(call)):
            return penalty
        fault = self._dice.random() if is_message else 1.0
        if fault < self.faults.before:
            return _json({"message": "500"}, status=500)
        answer = await self._route(call, uploads, dict(request.query))
        if call.path.endswith("/callback") and self.unheard_acknowledgements and request.transport:
            self.unheard_acknowledgements -= 1
            request.transport.close()
        if is_message:
            await self.responds.wait()
        if fault < self.faults.before + self.faults.after:
            return _json({"message": "502"}, status=502)
        if fault < self.faults.before + self.faults.after + self.faults.dropped and request.transport:
            request.transport.close()
        if answer is None:
            return web.Response(status=204)
        return _json(answer, headers={"Via": "1.1 google", **self._headers(call)})

    def _bucket(self, call: Call) -> tuple[tuple[str, str], Limit]:
        found = _ROUTE.match(call.path)
        channel = found[2] if found and found[2] else call.path
        return (call.method, channel), self.edits if call.method == "PATCH" else self.sends

    def _penalty(self, call: Call) -> web.Response | None:
        key, limit = self._bucket(call)
        now, recent = asyncio.get_running_loop().time(), self._recent.setdefault(key, deque())
        while recent and recent[0] <= now - limit.window_s:
            recent.popleft()
        everywhere = now < self.silent_until
        if len(recent) < limit.calls and not everywhere:
            recent.append(now)
            return None
        retry = self.silent_until - now if everywhere else recent[0] + limit.window_s - now
        body = {"message": "You are being rate limited.", "retry_after": retry, "global": everywhere}
        headers = {"Via": "1.1 google", "Retry-After": f"{retry:.3f}", "X-RateLimit-Scope": "user"}
        return _json(body, status=429, headers=headers)

    def _headers(self, call: Call) -> dict[str, str]:
        key, limit = self._bucket(call)
        recent = self._recent.get(key)
        if not recent:
            return {}
        reset = recent[0] + limit.window_s - asyncio.get_running_loop().time()
        return {
            "X-RateLimit-Limit": str(limit.calls),
            "X-RateLimit-Remaining": str(limit.calls - len(recent)),
            "X-RateLimit-Reset": f"{time.time() + reset:.3f}",
            "X-RateLimit-Reset-After": f"{max(0.0, reset):.3f}",
            "X-RateLimit-Bucket": "edits" if call.method == "PATCH" else "sends",
        }

    async def _route(self, call: Call, uploads: list[dict[str, Any]], query: dict[str, str]) -> Any:
        parts = call.path.removeprefix("/api/v10/").split("/")
        match call.method, *parts:
            case "GET", "users", "@me":
                return self.bot
            case "GET", *_, "applications", "@me":
                return self.application()
            case "GET", "guilds", guild, "members", user if guild in self.guilds and user in self.people:
                return self.member(self.people[user].user) | {"roles": self.people[user].roles}
            case "GET", "gateway", "bot":
                start = {"total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1}
                return {"url": self.gateway, "shards": self.shards, "session_start_limit": start}
            case "PUT", "applications", _, *_, "commands":
                self.commands = list(call.body.get("list", []))
                return [
                    {"description": ""} | command | {"id": self.new_id(), **self._made()} for command in self.commands
                ]
            case "POST", "interactions", interaction, token, "callback":
                return await self._interactions[interaction].acknowledged(token, call.body)
            case _, "webhooks", _, token, *rest:
                return await self._interactions[token].called(call.method, rest, call.body, uploads)
            case _, "channels", channel, *rest if channel in self.rooms:
                return await self._in_room(self.rooms[channel], call.method, rest, call.body, uploads, query)
        raise Refusal(404, 10003, "Unknown Channel" if parts[0] == "channels" else f"no route {call.path}")

    def _made(self) -> dict[str, Any]:
        return {"application_id": self.bot["id"], "version": self.new_id(), "default_member_permissions": None}

    async def _in_room(
        self,
        room: Room,
        method: str,
        rest: list[str],
        body: dict[str, Any],
        uploads: list[dict[str, Any]],
        query: dict[str, str],
    ) -> Any:
        match method, *rest:
            case ("GET",):
                self._permit(room, "view")
                return self.channel_of(room)
            case "GET", "threads", "archived", "public":
                self._permit(room, "history")
                return self._archived(room, PUBLIC_THREAD)
            case "GET", "users", "@me", "threads", "archived", "private":
                self._permit(room, "history")
                return self._archived(room, PRIVATE_THREAD)
            case ("PATCH",):
                if room.locked:
                    raise Refusal(403, 50013, "Missing Permissions")
                room.archived = bool(body.get("archived", room.archived))
                return self.channel_of(room)
            case "GET", "messages":
                self._permit(room, "history")
                return self._history(room, query)
            case "GET", "messages", message_id:
                return self._found(room, message_id)
            case "POST", "typing":
                room.typings += 1
                return None
            case "POST", "messages":
                return await self.post(room, body, uploads)
            case "PATCH", "messages", message_id:
                self._permit(room, "edit")
                return await self.edit(room, message_id, body)
            case "DELETE", "messages", message_id:
                self._found(room, message_id)
                return await self.delete(room, message_id)
            case "POST", "messages", message_id, "threads":
                return await self._open_thread(room, message_id, body["name"])
        raise Refusal(404, 0, f"no route {rest}")

    async def post(self, room: Room, body: dict[str, Any], uploads: list[dict[str, Any]]) -> dict[str, Any]:
        """A message of the bot's."""
        self._permit(room, "send")
        if uploads:
            self._permit(room, "attach")
        if room.archived:
            raise Refusal(400, 50083, "Thread is archived")
        known = self._nonces.get((room.id, str(body.get("nonce"))))
        if known is not None and body.get("enforce_nonce"):
            return known
        self._check_slow_mode(room)
        reference = body.get("message_reference")
        if reference and "history" in room.forbidden:
            raise Refusal(400, 160002, "You cannot reply without permission to read message history")
        check_length(body, bool(uploads))
        files = [self.attach(file["filename"], file["data"], "") for file in uploads]
        more = {name: body[name] for name in ("components", "flags", "nonce", "message_reference") if name in body}
        message = self.message_of(room, self.bot, body.get("content", ""), attachments=files, **more)
        message["allowed_mentions"] = body.get("allowed_mentions")
        room.messages.append(message)
        if "nonce" in body:
            self._nonces[room.id, str(body["nonce"])] = message
        await self.dispatch("MESSAGE_CREATE", self.delivered(room, message))
        return message

    @staticmethod
    def _check_slow_mode(room: Room) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s < room.slow_until:
            left = {"retry_after": room.slow_until - now_s}
            raise Refusal(429, 20016, "This action cannot be performed due to slowmode rate limit", **left)
        room.slow_until = now_s + room.slow_s

    async def edit(self, room: Room, message_id: str, body: dict[str, Any]) -> dict[str, Any]:
        message = self._found(room, message_id)
        if room.archived:
            raise Refusal(400, 50083, "Thread is archived")
        check_length(body, bool(message["attachments"]))
        message.update({name: value for name, value in body.items() if name in _EDITABLE})
        message["edited_timestamp"] = now()
        message.setdefault("history", []).append(message["content"])
        message.setdefault("times", []).append(time.monotonic())
        await self.notify()
        return message

    def _found(self, room: Room, message_id: str) -> dict[str, Any]:
        if (message := room.message(message_id)) is None:
            raise Refusal(404, 10008, "Unknown Message")
        return message

    def _permit(self, room: Room, what: str) -> None:
        if not self.is_member(room) or not room.is_seen or "view" in room.forbidden:
            raise Refusal(403, 50001, "Missing Access")
        if what in room.forbidden:
            raise Refusal(403, 50007 if room.kind == 1 else 50013, "Missing Permissions")

    def _history(self, room: Room, query: dict[str, str]) -> list[dict[str, Any]]:
        """The newest first; with `after`, those that follow it most closely."""
        limit, after, before = int(query.get("limit", 50)), query.get("after"), query.get("before")
        intents = self.intents[-1] if self.intents else CONTENTS
        found = [self.readable(room, message, intents) for message in room.messages]
        if after is not None:
            return [message for message in found if int(message["id"]) > int(after)][:limit][::-1]
        return [message for message in found[::-1] if before is None or int(message["id"]) < int(before)][:limit]

    def _archived(self, room: Room, kind: int) -> dict[str, Any]:
        found = [each for each in self.rooms.values() if each.parent == room.id and each.kind == kind]
        found = sorted((each for each in found if each.archived and each.is_seen), key=lambda each: each.archived_at)
        members = [self.thread_member(each) for each in found if each.invited]
        return {"threads": [self.channel_of(each) for each in found[::-1]], "members": members, "has_more": False}

    async def _open_thread(self, room: Room, message_id: str, name: str) -> dict[str, Any]:
        self._permit(room, "threads")
        if message_id in self.rooms:
            raise Refusal(400, 160004, "A thread has already been created for this message")
        thread = Room(message_id, name, guild=room.guild, kind=11, parent=room.id, owner=self.bot["id"])
        self.rooms[thread.id] = thread
        await self.dispatch("THREAD_CREATE", self.channel_of(thread) | {"newly_created": True})
        return self.channel_of(thread)

    async def _file(self, request: web.Request) -> web.Response:
        self.fetched.append(request.match_info["name"])
        return web.Response(body=self.files[self.fetched[-1]])


async def _body(request: web.Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON body and the uploaded files."""
    if request.content_type == "multipart/form-data":
        body: dict[str, Any] = {}
        uploads: list[dict[str, Any]] = []
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "payload_json":
                body = json.loads(await part.text())
            elif isinstance(part, BodyPartReader):
                uploads.append({"filename": part.filename, "data": await part.read()})
        return body, uploads
    raw = await request.read()
    said = json.loads(raw) if raw else {}
    return (said, []) if isinstance(said, dict) else ({"list": said}, [])


def _json(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Without a charset: the library reads nothing else as JSON."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(data).encode(), status=status, headers=headers)

"""A Bot API server on loopback, as the real python-telegram-bot and `partyline run` talk to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import BodyPartReader, web

from tests.servers.telegram_people import Person
from tests.servers.telegram_world import ME, ApiError, Chat, Faults, Rules, World

TOKEN = "4711:AAE-secret-of-the-tests"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
T = TypeVar("T")


class TelegramServer:
    """Serves a `World`, which outlives it: `kill` and `start` again on the same port."""

    def __init__(self, rules: Rules | None = None, faults: Faults | None = None, seed: int = 0) -> None:
        self.world = World(rules, faults, seed)
        self.port = 0
        self.methods: list[str] = []
        """The names of all calls, in order."""
        self.failures: dict[str, list[str]] = {}
        """What the next calls of a method meet: "429" or "drop"; of "file", downloads."""
        self.holds: dict[str, asyncio.Event] = {}
        """Calls of these methods that write are applied no sooner than that, whether or not somebody still waits."""
        self.always_200 = False
        """Errors are told by `ok` and `error_code` alone."""
        self.holds_polls = True
        self.folder: Path | None = None
        """Where files are kept by a server that runs with --local, which hands out paths instead of files."""
        self.redirect = ""
        """Where every download is sent on to."""
        self.query_numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._news = asyncio.Event()
        self._polls = 0
        """How many there have been."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/bot{token}/{method}", self._call)
        app.router.add_get("/file/bot{token}/{path:.+}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """Every connection breaks; what was said and not yet confirmed is kept."""
        if self._runner is not None:
            for handler in self._runner.server.connections if self._runner.server else ():
                if handler.transport is not None:
                    handler.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    # What people do

    def person(self, name: str = "Ann", user_id: int = 1001) -> Person:
        return Person(self, {"id": user_id, "is_bot": False, "first_name": name})

    def group(self, title: str = "Friends", *, forum: bool = False, topics: Sequence[int] = ()) -> Chat:
        """A supergroup, as most groups are today; with `topics` if it is a forum."""
        return self._chat(-1_001_000_000_000, "supergroup", title, forum, set(topics))

    def small_group(self, title: str = "Friends") -> Chat:
        """A group of the old kind, which becomes a supergroup when somebody wants more of it."""
        return self._chat(-1_000, "group", title)

    def channel(self, title: str = "News") -> Chat:
        return self._chat(-1_002_000_000_000, "channel", title)

    def _chat(self, below: int, *what: Any) -> Chat:
        chat_id = below - len(self.world.chats)
        chat = self.world.chats[chat_id] = Chat(chat_id, *what)
        return chat

    def upgrade(self, group: Chat) -> Chat:
        """The group becomes a supergroup; the bot is told with `tell_upgrade`, or when it still writes to the group."""
        supergroup = self.group(group.title)
        group.migrated_to = supergroup.id
        return supergroup

    def tell_upgrade(self, group: Chat, supergroup: Chat, *, old: bool = True, new: bool = True) -> None:
        """One service message in each of the two."""
        for chat, told, fields in (
            (group, old, {"migrate_to_chat_id": supergroup.id}),
            (supergroup, new, {"migrate_from_chat_id": group.id}),
        ):
            if told:
                number = self.world.next_message_id(chat)
                self.happen(message={"message_id": number, "date": int(time.time()), "chat": chat.view(), **fields})

    def happen(self, **event: Any) -> int:
        number = self.world.happen(**event)
        self._news.set()
        return number

    async def bring_updates(self) -> None:
        """Posts pending updates to the webhook, once each, until one is not taken."""
        async with aiohttp.ClientSession() as session:
            while self.world.updates:
                update = self.world.updates[0]
                headers = {SECRET_HEADER: self.world.webhook.get("secret_token", "")}
                async with session.post(self.world.webhook["url"], json=update, headers=headers) as response:
                    if response.status != 200:
                        return
                self.world.pending(update["update_id"] + 1, 100)

    # HTTP

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.methods.append(method)
        try:
            if request.match_info["token"] != TOKEN:
                raise ApiError(401, "Unauthorized")
            arguments, file = await _arguments(request)
            self._fail(request, method)
            result = await self._answer(request, method, arguments, file)
        except ApiError as error:
            body = {"ok": False, "error_code": error.code, "description": error.description}
            if error.parameters:
                body["parameters"] = error.parameters
            return web.json_response(body, status=200 if self.always_200 else error.code)
        return web.json_response({"ok": True, "result": result})

    def _fail(self, request: web.Request, method: str) -> None:
        if planned := self.failures.get(method):
            if planned.pop(0) == "drop":
                _break(request)
            raise ApiError(429, "Too Many Requests: retry after 1", retry_after=1)

    async def _answer(
        self, request: web.Request, method: str, arguments: dict[str, Any], file: tuple[str, bytes] | None
    ) -> Any:
        if method in _WRITES:
            return await self._write(request, method, arguments, file)
        match method:
            case "getMe":
                return ME
            case "getUpdates":
                return await self._updates(arguments)
            case "getFile":
                return self._file_info(arguments["file_id"])
            case "answerCallbackQuery":
                return self.world.answer_query(arguments["callback_query_id"], arguments.get("text", ""))
            case "getChatMember":
                user = {"id": int(arguments["user_id"]), "is_bot": False, "first_name": "?"}
                admin = user["id"] in self.world.chat(int(arguments["chat_id"])).admins
                return {"status": "creator", "user": user, "is_anonymous": True} if admin else _MEMBER | {"user": user}
            case "setMyCommands":
                scope = json.loads(arguments.get("scope", '{"type": "default"}'))["type"]
                self.world.commands[scope, arguments.get("language_code", "")] = json.loads(arguments["commands"])
                return True
            case "setWebhook":
                self.world.webhook = dict(arguments)
                return True
            case "deleteWebhook":
                self.world.webhook = {}
                return True
            case "sendChatAction":
                self.world.chat(int(arguments["chat_id"])).typings += 1
                return True
        raise ApiError(404, "Not Found")

    async def _write(
        self, request: web.Request, method: str, arguments: dict[str, Any], file: tuple[str, bytes] | None
    ) -> Any:
        world, faults, chat_id = self.world, self.world.faults, int(arguments["chat_id"])
        await asyncio.sleep(faults.latency_s)
        if (applied := self.holds.get(method)) is not None:
            await applied.wait()
        world.count_call(chat_id, time.monotonic())
        if world.dice.random() < faults.lost_before:
            _break(request)
        result: Any
        match method:
            case "sendMessage" | "sendDocument":
                result = world.send(chat_id, arguments, file)
            case "sendMessageDraft":
                result = world.draft(chat_id, arguments)
            case "editMessageText":
                result = world.edit(chat_id, arguments)
            case "editMessageReplyMarkup":
                result = world.edit(chat_id, arguments, markup_only=True)
            case _:
                result = world.delete(chat_id, int(arguments["message_id"]))
        self._news.set()
        if world.dice.random() < faults.lost_after:
            _break(request)
        return result

    async def _updates(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        if self.world.webhook.get("url"):
            raise ApiError(409, "Conflict: can't use getUpdates method while webhook is active")
        offset = int(arguments["offset"]) if "offset" in arguments else None
        self._polls += 1
        own = self._polls
        self._news.set()
        try:
            async with asyncio.timeout(float(arguments.get("timeout", 0)) if self.holds_polls else 0):
                while own == self._polls:
                    if pending := self.world.pending(offset, int(arguments.get("limit", 100))):
                        return pending
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        # The newest one is served, and the one before it is told so.
        raise ApiError(409, "Conflict: terminated by other getUpdates request; only one bot instance may run")

    def _file_info(self, file_id: str) -> dict[str, Any]:
        if file_id not in self.world.files:
            raise ApiError(400, "Bad Request: invalid file_id")
        path = f"photos/{file_id}.png"
        if self.folder is not None:
            path = str(self.folder / path)
        return {"file_id": file_id, "file_unique_id": file_id, "file_path": path}

    async def _file(self, request: web.Request) -> web.Response:
        self._fail(request, "file")
        if self.redirect:
            return web.Response(status=302, headers={"Location": self.redirect})
        name = request.match_info["path"].removeprefix("photos/").removesuffix(".png")
        if request.match_info["token"] != TOKEN or name not in self.world.files or self.folder is not None:
            return web.Response(status=404)
        return web.Response(body=self.world.files[name])


async def until(look: Callable[[], T | bool | None]) -> T:
    """What `look` sees, as soon as it sees something."""
    while True:
        if seen := look():
            return seen  # type: ignore[return-value]
        await asyncio.sleep(0.01)


@asynccontextmanager
async def telegram(
    rules: Rules | None = None, faults: Faults | None = None, seed: int = 0
) -> AsyncIterator[TelegramServer]:
    server = TelegramServer(rules, faults, seed)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


_MEMBER = {"status": "member"}
_WRITES = {
    "sendMessage",
    "sendMessageDraft",
    "sendDocument",
    "editMessageText",
    "editMessageReplyMarkup",
    "deleteMessage",
}


def _break(request: web.Request) -> None:
    """The connection is gone, and nobody knows whether the call was applied."""
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


async def _arguments(request: web.Request) -> tuple[dict[str, Any], tuple[str, bytes] | None]:
    file = None
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        arguments |= await request.json()
    elif request.content_type != "multipart/form-data":
        arguments |= await request.post()
    else:  # by hand: `post` leaves its file open where the client is killed while it sends
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.filename is None:
                arguments[part.name or ""] = await part.text()
            else:
                file = (part.filename, bytes(await part.read()))
    return arguments, file

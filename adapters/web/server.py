"""The page's HTTP server: the page itself, uploads, files, and the socket on which everything else happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from aiohttp import BodyPartReader, WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.delivery.phrases import Phrases
from adapters.delivery.ports import DeliveryPort, Responder
from adapters.delivery.renderers.highlighting import Colourist
from adapters.delivery.renderers.html import pygments_css, render_html
from adapters.web.background_tasks import BackgroundTasks
from adapters.web.channel import protocol
from adapters.web.channel.channel import PICTURE
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.history import History
from adapters.web.channel.protocol import MAX_FRAME_BYTES
from adapters.web.channel.setting_views import SettingsPanel
from adapters.web.channel.subscribers import Subscriber, Subscribers
from adapters.web.files import math_font
from adapters.web.files.colouring import render_coloured
from adapters.web.files.math_font import MathFont
from adapters.web.files.previews import MEDIA_TYPE, Thumbnails
from adapters.web.files.uploads import MAX_PICTURE_BYTES, MAX_PICTURES, TOO_MANY, Upload, UploadRefused, Uploads
from adapters.web.posts.guests import Guests
from adapters.web.posts.posts import Posts
from adapters.web.posts.private_files import PrivateFiles
from adapters.web.security import origins
from adapters.web.security.connection_limits import ConnectionLimits
from adapters.web.security.door import Door, TooManyNew, Visitor
from adapters.web.security.identity import Identities, new_key
from adapters.web.sessions.event_handler import PageEventHandler
from adapters.web.sessions.guest_data import GuestData
from adapters.web.sessions.inbound import MOST_IN_HAND, Inbound
from adapters.web.sessions.sessions import Example, Sessions
from bots.access.gate import Unheard
from bots.names import skeleton
from bots.ports import Deliveries, Inbox, StorageError
from bots.profile.personal import PersonalData
from bots.profile.preferences import UserError as NotLetIn
from inference.api import Interrupted, ModelInfo
from inference.untrusted.bounded_json import loads
from inference.untrusted.connections import ConnectionBounds, check_body, listening
from inference.untrusted.forms import next_part

_STATIC = Path(__file__).parent / "static"
_FILES = {file.name: file for file in _STATIC.iterdir() if file.suffix in {".css", ".js", ".svg"}}
_PAGES = {True: (_STATIC / "index.html").read_bytes(), False: (_STATIC / "enter.html").read_bytes()}
_HEARTBEAT_S = 20.0
_CLOSING_S = 2.0
_PARTING_S = 10.0
_MANY_TABS = "You have this page open many times. Please close some of its tabs, and this one comes to life."
# Each visitor keeps a socket open, and a browser loads the files over six connections; hundreds may come at once.
# A proxy's are many people's: of those, each visitor's are counted (Seats).
_CONNECTIONS = ConnectionBounds(without_request=1024, total=4096, per_address=1024)
_MAX_PASSWORD_BYTES = 4096
FORGET_EVERY_S = 10.0
_PASSWORD_S = 10.0
_PASSWORD_VALUES = 10
_CHUNK_BYTES = 64 * 1024
_TAKE_S = 30.0
"""How long somebody may take for a piece of a file."""
_FORM_S = 300.0
_FORMS_OF_ADDRESS = 256
_MANY_FORMS = "Many of your pictures are still on their way. Please attach this one again in a moment."
_MAX_PARTS = 2 * MAX_PICTURES
_NO_FORM = (ValueError, HttpProcessingError, ConnectionError)
_MAX_FORM_BYTES = MAX_PICTURES * MAX_PICTURE_BYTES + 2**20


class WebServer:
    """The local page.

    Args:
        record: where the delivery notes which post shows which answer.
        inbox: keeps what people did until it is answered.
        phrases: the sentences for what was interrupted and for what went wrong.
        posts: keeps the channel's posts, files and names.
        info: about the model as it is now: a service may come back with another one.
        loaded: returns when the model can answer; what `info` says until then is a guess.
        commands: (name without the slash, summary) of what the message box completes.
        host: where to listen; loopback, unless somebody else takes care of who may come.
        keeps: told what the page holds of people in memory.
        port: 0 takes a free one.
        hostnames: further names by which the page may be called, beside loopback's.
        key: signs the identities of people; empty: one that is made once and stored with the posts.
        password: what whoever enters must know; empty: anybody may enter.
        proxies: addresses and networks of proxies, which say where a request comes from and whether it came over TLS.
        new_guests: how many new guests one address may bring at once, and again over ten minutes; 0: any number.
        at_once: answers under way at the same time, waiting ones included.
        grace_s: how long a closed page may take to come back (a reload) before its answers are stopped.
    """

    def __init__(
        self,
        *,
        bot: Responder,
        outboxes: DeliveryPort,
        record: Deliveries,
        inbox: Inbox,
        phrases: Phrases,
        posts: Posts,
        panel: SettingsPanel,
        info: Callable[[], ModelInfo],
        examples: Sequence[Example] = (),
        commands: Sequence[tuple[str, str]] = (),
        host: str = "127.0.0.1",
        port: int = 8080,
        hostnames: Collection[str] = (),
        grace_s: float = 6.0,
        keeps: Callable[[PersonalData], None] = lambda _: None,
        key: str = "",
        password: str = "",
        proxies: Collection[str] = (),
        new_guests: int = 0,
        loaded: Callable[[], Awaitable[None]] | None = None,
        at_once: int = MOST_IN_HAND,
    ) -> None:
        self._bot = bot
        self._outboxes = outboxes
        self._record = record
        self._inbox = inbox
        self._phrases = phrases
        self._posts = posts
        self._panel = panel
        self._info = info
        self._examples = examples
        self._commands = commands
        self._host = host
        self._port = port
        self._hostnames = hostnames
        self._grace_s = grace_s
        self._keeps = keeps
        self._key = key
        self._password = password
        self._proxies = proxies
        self._new_guests = new_guests
        self._loaded = loaded
        self._at_once = at_once
        self._thumbnails = Thumbnails()
        self._uploads = Uploads(self._thumbnails)
        self._sockets: set[web.WebSocketResponse] = set()
        self._seats = ConnectionLimits()
        self._forms = ConnectionLimits(address=_FORMS_OF_ADDRESS)
        self._code_css = ""
        self._math_font = MathFont()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The page is served inside; yields its address ("http://127.0.0.1:8080/").

        Raises:
            OSError: the port is taken.
        """
        audience = Subscribers()
        colourist = Colourist()
        board = ChannelLog(self._posts, audience, render_html, colour=partial(render_coloured, colourist=colourist))
        await board.open()
        self._keeps(GuestData(board, audience, self._uploads, self._posts))
        self._code_css = await asyncio.to_thread(_code_css)
        await asyncio.to_thread(skeleton, "")  # reads its table
        async with AsyncExitStack() as stack:
            stack.push_async_callback(colourist.close)
            stack.push_async_callback(self._thumbnails.close)
            stack.push_async_callback(board.leave)
            tasks = await stack.enter_async_context(BackgroundTasks())
            in_hand: set[str] = set()
            inbound = Inbound(tasks, lambda: len(in_hand), self._at_once, lambda: audience.pace_s)
            answers = PageEventHandler(
                bot=self._bot,
                outboxes=self._outboxes,
                record=self._record,
                inbox=self._inbox,
                phrases=self._phrases,
                panel=self._panel,
                board=board,
                posts=self._posts,
                audience=audience,
                tasks=tasks,
                in_hand=in_hand,
                freed=inbound.look,
            )
            await answers.recover()
            identities = Identities(self._key or await self._posts.key(new_key()), self._password)
            door = Door(identities, self._proxies, self._new_guests)
            for work in (board.write_behind, board.follow, board.add_colours):
                tasks.keep(work)
            for work in (audience.tell_presence, audience.tell_crowd, partial(self._tell_model, audience)):
                tasks.keep(work)
            tasks.keep(partial(self._forget_old, audience.handouts))
            yield await self._listen(stack, self._visits(answers, inbound), door)

    async def _forget_old(self, handouts: PrivateFiles) -> None:
        """Files that nobody takes are held for their time, and not until the next one comes."""
        while True:
            await asyncio.sleep(FORGET_EVERY_S)
            self._uploads.forget_old()
            handouts.forget_old()

    async def _tell_model(self, audience: Subscribers) -> None:
        """Pages that were opened while the model was loaded hear which one it is."""
        if self._loaded is not None:
            with suppress(Interrupted):  # it will not be loaded
                await self._loaded()
                audience.broadcast("model", protocol.model(self._info()))

    def _visits(self, answers: PageEventHandler, inbound: Inbound) -> Sessions:
        return Sessions(
            answers=answers,
            audience=answers.audience,
            board=answers.board,
            history=History(answers.board, self._posts),
            guests=Guests(self._posts),
            posts=self._posts,
            uploads=self._uploads,
            info=self._info,
            examples=self._examples,
            commands=self._commands,
            grace_s=self._grace_s,
            inbound=inbound,
        )

    async def _listen(self, stack: AsyncExitStack, visits: Sessions, door: Door) -> str:
        app = self._application(visits, door)
        bounds = replace(_CONNECTIONS, shared=self._proxies)
        port = await stack.enter_async_context(
            listening(app, self._host, self._port, bounds=bounds, shutdown_timeout=_CLOSING_S)
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}/"

    def _application(self, visits: Sessions, door: Door) -> web.Application:
        app = web.Application(middlewares=[origins.guard(self._host, self._hostnames, door.is_secure)])
        app.on_response_prepare.append(origins.add_headers)
        app.on_shutdown.append(self._close_sockets)
        app[_VISITS], app[_DOOR] = visits, door
        app.router.add_get("/", self._page)
        app.router.add_post("/enter", self._enter)
        app.router.add_get("/ws", self._socket)
        app.router.add_post("/upload", self._upload)
        app.router.add_get("/files/{id}", self._file)
        app.router.add_get("/static/code.css", self._code)
        app.router.add_get(f"/static/{math_font.NAME}", self._formula_font)
        app.router.add_get("/static/{name}", _static)
        return app

    async def _page(self, request: web.Request) -> web.StreamResponse:
        door = request.app[_DOOR]
        visitor = door.visitor(request)
        may_enter = door.may_enter(request, visitor)
        comes = may_enter and _is_opened(request)
        try:
            if comes:
                door.welcome(visitor)
        except TooManyNew:
            if _is_browsed(request):
                raise
            comes = False
        response = web.Response(body=_PAGES[may_enter], content_type="text/html", charset="utf-8")
        if comes:
            door.remember(response, visitor)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _enter(self, request: web.Request) -> web.Response:
        """Takes the password; a JSON object, so that no form of another site can send one."""
        check_body(request, _MAX_PASSWORD_BYTES)
        door = request.app[_DOOR]
        visitor = door.visitor(request)
        try:
            async with asyncio.timeout(_PASSWORD_S):
                said = loads(await request.content.read(_MAX_PASSWORD_BYTES), values=_PASSWORD_VALUES)
            password = said["password"] if isinstance(said, dict) else None
        except (ValueError, LookupError, TimeoutError):
            password = None
        if not isinstance(password, str) or request.content_type != "application/json":
            raise web.HTTPBadRequest(text='Send {"password": ...} as JSON.\n')
        sentence = door.refusal(visitor, password)
        response = web.json_response({"sentence": sentence}, status=403 if sentence else 200)
        response.headers["Cache-Control"] = "no-store"
        if not sentence:
            door.welcome(visitor)
            door.enter(response, visitor)
        return response

    async def _formula_font(self, request: web.Request) -> web.StreamResponse:
        font = await self._math_font.read()
        if not font:
            raise web.HTTPNotFound(text="There is no such file.\n")
        response = web.StreamResponse(headers={"Cache-Control": "max-age=86400"})
        response.content_type, response.content_length = "font/woff", len(font)
        return await _sent(request, response, font)

    async def _code(self, _: web.Request) -> web.Response:
        return web.Response(text=self._code_css, content_type="text/css", headers={"Cache-Control": "no-cache"})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        door = request.app[_DOOR]
        visitor = door.entered(request)
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPBadRequest(text="This is the address of the page's socket.\n")
        with self._seats.taken(visitor.person, visitor.address) as may_stay:
            door.welcome(visitor)
            socket = web.WebSocketResponse(
                heartbeat=_HEARTBEAT_S,
                max_msg_size=MAX_FRAME_BYTES,
                autoping=False,  # they count like messages, so whoever reads those sees them
                compress=True,
                timeout=_PARTING_S if may_stay else _CLOSING_S,
            )
            door.remember(socket, visitor)
            try:
                await socket.prepare(request)
            except ConnectionError:  # the other side has gone
                return web.Response(status=400)
            if not may_stay:  # of a handshake that is refused, a page would not hear why
                with suppress(ConnectionError):
                    await socket.send_str(protocol.error(_MANY_TABS))
                await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many tabs")
                return socket
            self._sockets.add(socket)
            try:
                listener = Subscriber(
                    visitor.person,
                    visitor.address,
                    deltas="deltas" in request.query,
                    batches="batches" in request.query,
                    is_regular=door.is_regular(visitor),
                )
                await request.app[_VISITS].receive(socket, listener)
            finally:
                self._sockets.discard(socket)
        return socket

    async def _close_sockets(self, _: web.Application) -> None:
        # At once: a tab that is silent takes the library's whole patience, and a stop has little time.
        await asyncio.gather(*(socket.close(code=1012, message=b"restarting") for socket in list(self._sockets)))

    async def _upload(self, request: web.Request) -> web.Response:
        visitor = request.app[_DOOR].entered(request)
        request.app[_DOOR].welcome(visitor)
        response = await self._uploaded(request, visitor)
        request.app[_DOOR].remember(response, visitor)
        return response

    async def _uploaded(self, request: web.Request, visitor: Visitor) -> web.Response:
        check_body(request, _MAX_FORM_BYTES)
        try:
            await request.app[_VISITS].uploads_of(visitor.person)
        except (NotLetIn, Unheard) as error:  # before any of it is read
            return web.json_response({"sentence": str(error)}, status=403)
        except StorageError as error:  # the page tries again by itself
            raise web.HTTPServiceUnavailable(text="The database is away.\n") from error
        try:
            with self._forms.taken(visitor.person, visitor.address) as may_send:
                if not may_send:
                    return web.json_response({"sentence": _MANY_FORMS}, status=429)
                async with asyncio.timeout(_FORM_S):
                    pictures = await self._received(request, visitor)
        except TimeoutError:
            return web.json_response({"sentence": "The pictures took too long to arrive."}, status=408)
        except UploadRefused as error:
            return web.json_response({"sentence": str(error)}, status=413)
        except _NO_FORM:  # or the page was left meanwhile, and nobody reads this
            return web.json_response({"sentence": "The picture did not arrive whole; please try again."}, status=400)
        found = [{"id": each.id, "name": each.picture.name, "picture": each.preview is not None} for each in pictures]
        return web.json_response({"pictures": found})

    async def _received(self, request: web.Request, visitor: Visitor) -> list[Upload]:
        """The pictures of a multipart form, each kept before the next one is read; all of them or none.

        Raises:
            Refused: one is too large, or there are too many; what follows it is not read.
        """
        if not request.content_type.startswith("multipart/"):
            raise web.HTTPUnsupportedMediaType(text="Pictures come as multipart/form-data.\n")
        pictures: list[Upload] = []
        with ExitStack() as undoing:
            parts = 0
            form = await request.multipart()
            while (part := await next_part(form)) is not None:
                parts += 1
                if parts > _MAX_PARTS:
                    raise UploadRefused(TOO_MANY)
                if not isinstance(part, BodyPartReader) or not part.filename:
                    continue
                if len(pictures) == MAX_PICTURES:
                    raise UploadRefused(TOO_MANY)
                read = partial(part.read_chunk, _CHUNK_BYTES)
                pictures.append(await self._uploads.add(visitor.person, part.filename, read, visitor.address))
                undoing.callback(self._uploads.drop, visitor.person, pictures[-1].id)
            undoing.pop_all()
        return pictures

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        handouts = request.app[_VISITS].audience.handouts
        visitor = request.app[_DOOR].entered(request)
        own = handouts.get(visitor.person, file_id)
        stored = own or await self._posts.file(file_id)
        if stored is None:
            raise web.HTTPNotFound(text="There is no such file.\n")
        headers = {"Cache-Control": "no-store" if own else _CACHED}
        if stored.media_type not in _SHOWN:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(stored.name)}"
        response = web.StreamResponse(headers=headers)
        response.content_type, response.content_length = stored.media_type, len(stored.data)
        return await _sent(request, response, stored.data)


_VISITS = web.AppKey("visits", Sessions)
_DOOR = web.AppKey("door", Door)
# A post's pictures; not for long, because a person may erase them.
_CACHED = "private, max-age=3600"
_SHOWN = (MEDIA_TYPE, PICTURE)


async def _sent(request: web.Request, response: web.StreamResponse, data: bytes) -> web.StreamResponse:
    """Send a body in pieces, each when the one before it was taken: as a whole it would be copied for every request."""
    with suppress(ConnectionError):  # the other side has gone
        await response.prepare(request)
        pieces = range(0, len(data) if request.method == "GET" else 0, _CHUNK_BYTES)
        try:
            for start in pieces:
                async with asyncio.timeout(_TAKE_S):
                    await response.write(data[start : start + _CHUNK_BYTES])
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
    return response


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound(text="There is no such file.\n")
    return web.FileResponse(_FILES[name], headers={"Cache-Control": "no-cache"})


def _is_opened(request: web.Request) -> bool:
    """Whether somebody opens the page: not a probe, nor another site that names it as the address of a picture."""
    return request.method != "HEAD" and request.headers.get("Sec-Fetch-Dest", "document") == "document"


def _is_browsed(request: web.Request) -> bool:
    """Whether a browser shows it. What looks if the page lives, a proxy's check among them, must not be refused."""
    return "text/html" in request.headers.get("Accept", "")


def _code_css() -> str:
    dark = f"@media (prefers-color-scheme: dark) {{\n{pygments_css(True)}\n}}\n"
    return pygments_css(False) + "\n" + dark

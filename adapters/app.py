"""The composition root: the one place that knows which parts make the program. Importing it loads no model library."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.delivery.permitted import Permitted
from adapters.delivery.phrases import Phrases
from adapters.files.charts import draw
from adapters.process.stopping import PART_WITHIN_S, PLATFORMS_WITHIN_S, Bounded, Budget, within
from adapters.retention import sweeping
from adapters.storage.memory.storage import MemoryStorage
from bots import wording
from bots.access.allow_list import Access
from bots.access.standing import Standings
from bots.bot import Bot
from bots.people.account import Account
from bots.ports import Storage
from bots.profile.personal import Quotas, Retention
from bots.profile.preferences import SettingBounds as PersonBounds
from config.settings import ConfigError, DiscordSettings, Settings, TelegramSettings, WebSettings
from inference.api import Service, Unavailable
from inference.checkpoints.references import without_user
from inference.engine_factory import PREFIX, captioner_for, engine_for, keeps_python_busy
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.openai.server import ServerOptions
from inference.engines.port import Engine
from inference.engines.scripted import ScriptedEngine
from inference.processes.gc_freeze import frozen_allocations
from inference.processes.malloc_trim import trimming
from inference.queueing.admission import AdmissionBounds as ServiceBounds
from inference.serving.service import LocalInference
from inference.serving.supervisor import SupervisedEngine
from inference.untrusted.hosts import is_loopback

log = logging.getLogger(__name__)

Ready = Callable[[str], None]
_LOOK_EVERY_S = 2.0
"""How often a start looks for a database that is away."""

if TYPE_CHECKING:
    from adapters.delivery.outbox import Outboxes
    from adapters.storage.database.database import Database


_LIBRARIES_AFTER_S = 0.2
_REFUSED_AT_ONCE = 16
"""So many people of the page may be on their way to a refusal beside all whose requests are taken. What they are told
is as urgent as the end of an answer, and twenty of these are shown in a second."""
_TOLD_WITHIN_S = 1.5
"""How long a program whose model cannot be loaded lives on, so that who waits for an answer reads that."""
_SHOWN_WITHIN_S = 1.0
"""How long the last frames of answers that have ended may take; the rest is shown after the next start."""


@dataclass(frozen=True, slots=True)
class App:
    """The running program, without its platforms."""

    bot: Bot
    inference: Service
    storage: Storage


@dataclass(frozen=True, slots=True)
class Running:
    """The platforms are served: a line about each. `loaded` returns when the model can answer."""

    lines: list[str]
    loaded: Callable[[], Awaitable[None]]


@asynccontextmanager
async def in_memory(settings: Settings, ready: Ready) -> AsyncIterator[App]:
    """The bot over a store that forgets, for one answer, while its model is loaded; `ready` is told its name then.

    Raises:
        Unavailable: in a group.
    """
    async with _inference(settings, ready) as inference:
        storage = MemoryStorage()
        yield App(_bot(inference, storage, settings), inference, storage)


@asynccontextmanager
async def on_disk(settings: Settings, ready: Ready) -> AsyncIterator[App]:
    """The bot over the configured database, without a platform, while its model is loaded.

    `ready` is told the model's name then.

    Raises:
        StorageError.
        Unavailable: in a group.
    """
    from adapters.storage.database.database import open_database
    from adapters.storage.sql.storage import SqlStorage

    async with open_database(settings.database) as database, _inference(settings, ready) as inference:
        storage = SqlStorage(database)
        async with storage.behind.running():
            yield App(_bot(inference, storage, settings), inference, storage)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Running]:
    """Every configured platform, serving, while the model is loaded: who writes meanwhile is told, and answered then.

    It waits for a service or a database server that is away, with a line in the log every few seconds.

    On leaving, no platform takes anything new, and answers that are being written get `inference.drain_s` to finish;
    those that do not are left for the next start. Each part has a bounded time to end.

    Raises:
        ConfigError: no platform is switched on, or one that this version does not have.
        LeaseLost: in a group: another process took over, because this one stood still.
        Unavailable: in a group: the model cannot be loaded.
        StorageError, OSError: the database or the port.
    """
    _check_platforms(settings)
    async with AsyncExitStack() as stack:
        with frozen_allocations():
            running = await _started(settings, stack)
        yield running


async def _started(settings: Settings, stack: AsyncExitStack) -> Running:
    """Starts the program's parts, each to be left with the stack."""
    from adapters.delivery.outbox import Outboxes
    from adapters.storage.leases import hold_lease, new_process
    from adapters.storage.sql.storage import SqlStorage

    inference = _made_inference(settings, patient=True)
    stack.push_async_callback(within, PART_WITHIN_S, "the model", inference.close)
    delivery: Outboxes | None = None

    async def told() -> None:
        """Who waits for the model reads why it does not come, before the program ends."""
        if delivery is not None:
            await delivery.drained(_TOLD_WITHIN_S)

    connected = asyncio.Event()
    if not keeps_python_busy(settings.model):
        connected.set()
    loading = _loading(inference, after=connected, failed=told)
    begin = await stack.enter_async_context(Bounded("the model's start", loading))
    await stack.enter_async_context(trimming())
    database = await _patiently_opened(settings, stack)
    process = await asyncio.to_thread(new_process)
    lease = await stack.enter_async_context(Bounded("the lease", hold_lease(database, process)))
    storage = SqlStorage(database, process)
    await stack.enter_async_context(Bounded("the last writes", storage.behind.running()))
    bot = _bot(inference, storage, settings)
    delivery = Outboxes(phrases=phrases(), permitted=lease.held)
    outboxes = await stack.enter_async_context(Bounded("the delivery", delivery))
    app = App(bot, inference, storage)
    await stack.enter_async_context(Bounded("the sweep", sweeping(bot.account.privacy.expire)))
    stopping = asyncio.Event()
    platforms = []
    if settings.web.enabled:
        waiting = settings.inference.max_waiting + settings.inference.slots
        platforms.append(_web(app, settings.web, outboxes, database, waiting))
    if settings.discord.token.get_secret_value():
        platforms.append(_discord(app, settings.discord, outboxes, stopping, lease.held))
    if settings.telegram.token.get_secret_value():
        platforms.append(_telegram(app, settings.telegram, outboxes, stopping, lease.held))
    budget = Budget(PLATFORMS_WITHIN_S)
    lines = [await stack.enter_async_context(Bounded("a platform", each, budget)) for each in platforms]
    stack.push_async_callback(outboxes.drained, _SHOWN_WITHIN_S)

    async def drain(kind: type[BaseException] | None, *_: object) -> None:
        stopping.set()
        # A process that ends because it has failed or lost its lease keeps nothing from those who take over.
        await inference.drain(settings.inference.drain_s if kind is None else 0.0)

    stack.push_async_exit(drain)
    connected.set()
    begin(_load_libraries())
    return Running(lines, inference.ready)


async def _load_libraries() -> None:
    """What renders answers: not before the platforms have asked for what there is to answer."""
    from adapters.delivery.renderers.preload import load_libraries

    await asyncio.sleep(_LIBRARIES_AFTER_S)
    await asyncio.to_thread(load_libraries)


@asynccontextmanager
async def _loading(
    inference: Service,
    loaded: Callable[[], None] = lambda: None,
    after: asyncio.Event | None = None,
    failed: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """The model is loaded inside of this, beside what else is begun with the function that is yielded.

    Raises:
        Unavailable: in a group, which ends what is done inside: the model cannot be loaded.
    """
    begun = list[asyncio.Task[None]]()

    async def load() -> None:
        if after is not None:
            await after.wait()
        try:
            await inference.start()
        except Unavailable:
            if failed is not None:
                await failed()
            raise
        loaded()

    async with asyncio.TaskGroup() as tasks:

        def begin(work: Coroutine[Any, Any, None]) -> None:
            begun.append(tasks.create_task(work))

        begin(load())
        yield begin
        for task in begun:
            task.cancel()


async def _patiently_opened(settings: Settings, stack: AsyncExitStack) -> Database:
    """The database, whose server is waited for while it is away. Raises StorageError."""
    from adapters.storage.database.database import open_database
    from adapters.storage.errors import DatabaseAway

    while True:
        try:
            return await stack.enter_async_context(Bounded("the database", open_database(settings.database)))
        except DatabaseAway as error:
            log.warning("waiting for the database: %s", error)
            await asyncio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def serving_inference(settings: Settings, key: str) -> AsyncIterator[tuple[str, Service]]:
    """The inference service over HTTP, for several bot processes; yields its address at once and its `start` to call.

    It answers `/healthz` and `/readyz` while the model loads. On leaving, answers get `inference.drain_s` to finish.

    Raises:
        ConfigError: the model is itself such a service.
        Unavailable, OSError: the model or the port.
    """
    from inference.http.server.clients import Client
    from inference.http.server.routes import InferenceServer, ServerBounds

    if settings.model.startswith(PREFIX):
        raise ConfigError([f"model: {without_user(settings.model)} is a service already; serve the model behind it"])
    options = settings.serve
    bounds = ServerBounds(
        host=options.host,
        port=options.port,
        request_bytes=options.max_request_mb * 2**20,
        read_s=options.read_s,
        hostnames=options.hostnames,
    )
    clients = [
        Client(name=name, key=key.get_secret_value().encode(), names_users=name in options.clients_with_users)
        for name, key in options.clients.items()
    ]
    inference = _local_inference(settings)
    try:
        async with trimming(), InferenceServer(inference, key, bounds, clients).serving() as address:
            try:
                yield address, inference
            finally:
                await inference.drain(settings.inference.drain_s)
    finally:
        await within(PART_WITHIN_S, "the model", inference.close)


def _web(
    app: App, settings: WebSettings, outboxes: Outboxes, database: Database, waiting: int
) -> AbstractAsyncContextManager[str]:
    """The page, serving while the context is open; its address. `waiting`: what the service takes on."""
    from adapters.storage.sql.web_posts import SqlPosts
    from adapters.web.posts.posts import StoredFile, decode, encode
    from adapters.web.server import WebServer
    from adapters.web.sessions.settings_panel import PreferencesPanel
    from bots.commands.registry import COMMANDS, EXAMPLES

    server = WebServer(
        bot=app.bot,
        outboxes=outboxes,
        record=app.storage,
        inbox=app.storage,
        phrases=phrases(),
        posts=SqlPosts(database, encode=encode, decode=decode, make_file=StoredFile),
        panel=PreferencesPanel(app.bot),
        info=lambda: app.inference.info,
        loaded=app.inference.ready,
        examples=EXAMPLES,
        commands=[(command.name, command.summary) for command in COMMANDS],
        host=settings.host,
        port=settings.port,
        hostnames=settings.hostnames,
        key=settings.secret.get_secret_value(),
        password=settings.password.get_secret_value(),
        proxies=settings.proxies,
        new_guests=settings.new_guests,
        keeps=app.bot.account.privacy.keeps,
        at_once=waiting + _REFUSED_AT_ONCE,
    )
    return server.serving()


def _discord(
    app: App, settings: DiscordSettings, outboxes: Outboxes, stopping: asyncio.Event, permitted: Permitted
) -> AbstractAsyncContextManager[str]:
    """Discord, served while the context is open; a line about it."""
    from adapters.discord.platform import serving as serving_discord

    return serving_discord(app.bot, outboxes, app.storage, settings, stopping, permitted)


async def sync_discord(settings: Settings, guild: int) -> list[str]:
    """Tells Discord the bot's commands; lines about that. No model is loaded for it. Raises Unavailable."""
    from adapters.delivery.outbox import Outboxes
    from adapters.discord.platform import sync_commands

    storage = MemoryStorage()
    unused = LocalInference(ScriptedEngine(Path()), clock=time.monotonic)
    bot = _bot(unused, storage, settings)
    return await sync_commands(bot, Outboxes(phrases=phrases()), storage, settings.discord, guild)


def _telegram(
    app: App, settings: TelegramSettings, outboxes: Outboxes, stopping: asyncio.Event, permitted: Permitted
) -> AbstractAsyncContextManager[str]:
    """The Telegram bot, serving while the context is open; its name."""
    from adapters.telegram.platform import serving

    return serving(settings, app.bot, app.storage, outboxes, stopping, permitted)


def phrases() -> Phrases:
    """The bot's own sentences around an answer, for the delivery."""
    return Phrases(
        waiting=wording.waiting,
        loading=wording.loading,
        starting=wording.starting,
        thinking=wording.thinking,
        footer=wording.footer,
        empty=wording.empty,
        interrupted=wording.interrupted,
        broken=wording.broken,
        unshown=wording.unshown,
        superseded=wording.superseded,
        rest_in_file=wording.rest_in_file,
    )


def _check_platforms(settings: Settings) -> None:
    tokens = settings.discord.token, settings.telegram.token
    if not settings.web.enabled and not any(token.get_secret_value() for token in tokens):
        raise ConfigError(["no platform is switched on: set PARTYLINE_WEB__ENABLED=true for the local page"])
    if settings.web.enabled:
        _check_page(settings.web)


def _check_page(web: WebSettings) -> None:
    """Refuses to open the page to everybody by accident, and warns where a proxy may do so."""
    if web.hostnames and not web.proxies and is_loopback(web.host):
        log.warning(
            "whoever comes to %s through a proxy counts as one address, TLS is not known of: name it in web.proxies",
            ", ".join(web.hostnames),
        )
    if web.password.get_secret_value() or web.open:
        return
    if not is_loopback(web.host):
        raise ConfigError(
            [
                f"web.host: whoever reaches {web.host} could use the page: set PARTYLINE_WEB__PASSWORD, "
                "or PARTYLINE_WEB__OPEN=true if that is what you want"
            ]
        )
    if web.hostnames:
        log.warning("whoever reaches %s can use the page: web.password is not set", ", ".join(web.hostnames))


@asynccontextmanager
async def _inference(settings: Settings, ready: Ready) -> AsyncIterator[Service]:
    inference = _made_inference(settings)
    try:
        async with _loading(inference, lambda: ready(inference.info.name)):
            yield inference
    finally:
        await inference.close()


def _made_inference(settings: Settings, *, patient: bool = False) -> Service:
    """The service, here or elsewhere, not started; a `patient` start waits for one elsewhere. Raises Unavailable."""
    if settings.model.startswith(PREFIX):
        from inference.http.client import RemoteInference

        return RemoteInference(
            settings.model.removeprefix(PREFIX),
            settings.inference.api_key.get_secret_value(),
            clock=time.monotonic,
            patience_s=settings.inference.deadline_s,
            patient=patient,
        )
    return _local_inference(settings, patient=patient)


def _local_inference(settings: Settings, *, patient: bool = True) -> LocalInference:
    """A `patient` start waits for servers that do not listen yet. Raises Unavailable."""
    options = settings.inference

    def engine() -> Engine:
        return engine_for(
            settings.model,
            LlamaOptions(
                slots=options.slots,
                context_tokens=options.context_tokens,
                batch_tokens=options.batch_tokens,
                threads=options.threads,
                gpu_layers=options.gpu_layers,
                adapter=options.adapter,
            ),
            ServerOptions(
                key=options.api_key.get_secret_value(),
                model=options.server_model,
                slots=options.slots,
                context_tokens=options.context_tokens,
                silence_s=options.silence_s,
                patient=patient,
            ),
        )

    bounds = ServiceBounds(
        max_waiting=options.max_waiting,
        max_waiting_per_owner=options.max_waiting_per_person,
        max_active_per_owner=options.max_active_per_person,
        deadline_s=options.deadline_s,
        weights=options.weights,
    )
    captioner = captioner_for(settings.captioner, device=options.captioner_device, batch=options.captioner_batch)
    supervised = SupervisedEngine(engine, silence_s=options.hang_s)
    return LocalInference(supervised, captioner, bounds=bounds, clock=time.monotonic)


def _bot(inference: Service, storage: Storage, settings: Settings) -> Bot:
    bounds = PersonBounds(
        max_tokens=settings.limits.max_tokens,
        thinking_budget=settings.limits.thinking_budget,
        default_temperature=settings.limits.default_temperature,
        default_top_p=settings.limits.default_top_p,
        default_max_tokens=settings.limits.default_max_tokens,
    )
    return Bot(
        inference,
        storage,
        bounds=bounds,
        now=time.time,
        new_id=lambda: uuid.uuid4().hex,
        own=_account(storage, settings),
        access=Access(**settings.access.model_dump()),
        standings=_standings(settings),
    )


def _standings(settings: Settings) -> Standings:
    """Without a password anybody can be any number of people on the page."""
    is_open = not settings.web.password.get_secret_value()
    trusted = (*settings.access.owners, *settings.access.allowed_users)
    return Standings(trusted=trusted, open_platforms=("web",) if is_open else ())


def _account(storage: Storage, settings: Settings) -> Account:
    retention = settings.retention
    return Account(
        storage,
        now=time.time,
        quotas=Quotas(tokens=settings.quotas.tokens, captions=settings.quotas.captions),
        owners=settings.access.owners,
        retention=Retention(
            days=retention.days,
            usage_days=retention.usage_days,
            event_days=retention.event_days,
            name_days=retention.name_days,
        ),
        draw=draw,
    )

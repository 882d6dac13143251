"""`partyline`: check, ask, bench, chat, demo, discord, run, serve, data.

Exit codes: 0 done, 1 failed (a sentence on stderr), 2 wrong use, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from adapters.data import commands as data
from adapters.process.closed_pipe import is_closed_pipe, until_closed
from adapters.process.log_format import configure, escaped
from adapters.process.stopping import stoppable, terminable
from config.settings import ConfigError, Settings, load
from inference.checkpoints.references import without_user

_STARTED = time.monotonic()
_DEMO = {"model": "demo", "captioner": "demo"}


def main() -> None:
    """The console script."""
    with terminable():
        sys.exit(until_closed(lambda: run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Parses and does one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        settings = load(options.config)
        command: Callable[[argparse.Namespace, Settings], int] = options.command
        _log(settings.log_level)
        return command(options, settings)
    except ConfigError as error:
        for problem in error.problems:
            print(f"partyline: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="partyline", description="One GPU, many chats.")
    top.add_argument("--config", type=Path, metavar="FILE", help="a TOML file (default: partyline.toml, if there)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="print the effective settings and what is missing")
    check.set_defaults(command=_check)
    ask = commands.add_parser("ask", help="one answer on stdout")
    ask.add_argument("text", nargs="?", metavar="TEXT", help="the question or a /command; - reads it from stdin")
    ask.add_argument("--image", type=Path, action="append", default=[], metavar="FILE", help="a picture to look at")
    ask.add_argument("--json", action="store_true", help="one event a line")
    for name, kind in _SETTING_OPTIONS.items():
        ask.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar=kind, help=f"the setting {name}")
    ask.set_defaults(command=_ask)
    chat = commands.add_parser("chat", help="a conversation in this terminal")
    chat.set_defaults(command=_chat)
    demo = commands.add_parser("demo", help="the web page with the embedded models")
    demo.add_argument("--port", type=int, metavar="PORT", help="where to listen (default: web.port)")
    demo.set_defaults(command=_demo)
    for command in (ask, chat):
        command.add_argument("--demo", action="store_true", help="use the embedded models")
    for command in (chat, demo):
        command.add_argument("--data", type=Path, metavar="DIR", help="where the demo keeps what was said and set")
    discord = commands.add_parser("discord", help="sync: tell Discord the bot's commands")
    discord.add_argument("action", choices=["sync"])
    discord.add_argument("--guild", type=int, default=0, metavar="ID", help="on this server alone, at once")
    discord.set_defaults(command=_discord)
    serve = commands.add_parser("run", help="serve the platforms that the configuration names")
    serve.set_defaults(command=_run)
    shared = commands.add_parser("serve", help="the inference service for several bot processes, over HTTP")
    shared.add_argument("--host", metavar="HOST", help="where to listen (default: serve.host)")
    shared.add_argument("--port", type=int, metavar="PORT", help="where to listen (default: serve.port)")
    shared.add_argument("--demo", action="store_true", help="use the embedded models")
    shared.set_defaults(command=_serve_inference)
    bench = commands.add_parser("bench", help="how many people this machine serves at once")
    bench.add_argument("--tokens", type=_number, default=128, metavar="N", help="tokens of an answer (default: 128)")
    bench.add_argument(
        "--people", type=_number, default=256, metavar="N", help="ask with at most so many (default: 256)"
    )
    bench.add_argument("--json", action="store_true", help="the figures as JSON")
    bench.add_argument("--demo", action="store_true", help="use the embedded models")
    bench.set_defaults(command=_bench)
    data.add_to(commands)
    commands.choices["data"].set_defaults(command=_data)
    return top


_SETTING_OPTIONS = {
    "temperature": "0.7",
    "top_p": "0.9",
    "max_tokens": "N",
    "preset": "NAME",
    "top_k": "N",
    "repetition_penalty": "1.1",
    "presence_penalty": "0.5",
    "seed": "N",
    "stop": "WORDS",
}


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.check import report

    lines, missing = report(settings)
    print("\n".join(lines))
    return 1 if missing else 0


def _ask(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.terminal.ask import Question, ask

    text = options.text or ""
    if text == "-":
        text = sys.stdin.read()
    if not text.strip() and not options.image:
        print("partyline: write a question, or add --image FILE; partyline ask --help shows more", file=sys.stderr)
        return 2
    chosen = {name: getattr(options, name) for name in _SETTING_OPTIONS if getattr(options, name) is not None}
    question = Question(text=text, images=tuple(options.image), settings=chosen, json=options.json)
    return _until_done(ask(question, _with_demo(options, settings), _ready))


def _chat(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.terminal.chat import chat

    if options.demo or options.data:
        settings = _demo_settings(settings, options.data)
    return _until_done(chat(settings, _ready))


def _demo(options: argparse.Namespace, settings: Settings) -> int:
    settings = _demo_settings(settings, options.data)
    port = settings.web.port if options.port is None else _port(options.port)
    web = settings.web.model_copy(update={"enabled": True, "port": port})
    return _until_done(_serve(settings.model_copy(update={"web": web})))


def _port(port: int) -> int:
    if not 0 <= port <= 65_535:
        raise ConfigError([f"--port: {port} is outside; allowed: 0 to 65535"])
    return port


def _run(options: argparse.Namespace, settings: Settings) -> int:
    return _until_done(_serve(settings))


def _discord(options: argparse.Namespace, settings: Settings) -> int:
    if not settings.discord.token.get_secret_value():
        raise ConfigError(["discord.token is not set: set DISCORD_TOKEN"])
    return _until_done(_sync_discord(settings, options.guild))


async def _sync_discord(settings: Settings, guild: int) -> int:
    from adapters.app import sync_discord

    print("\n".join(await sync_discord(settings, guild)))
    return 0


def _data(options: argparse.Namespace, settings: Settings) -> int:
    return _until_done(options.work(options, settings))


def _serve_inference(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.serve import serve

    port = settings.serve.port if options.port is None else _port(options.port)
    changes = {"host": options.host or settings.serve.host, "port": port}
    settings = _with_demo(options, settings)
    settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=changes)})
    return _until_done(serve(settings, _ready))


def _bench(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.bench.command import bench

    chosen = {"tokens": options.tokens, "most": options.people, "as_json": options.json}
    return _until_done(bench(_with_demo(options, settings), _ready, **chosen))


def _number(text: str) -> int:
    """Raises ArgumentTypeError, which argparse turns into a sentence."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is no number; allowed: 1 to 10000")
    return int(text)


async def _serve(settings: Settings) -> int:
    async with stoppable(settings.inference.drain_s) as stop:
        from adapters.app import serving

        async with AsyncExitStack() as stack:
            async with stop.ending():
                running = await stack.enter_async_context(serving(settings))
                lines = escaped(" ".join(running.lines))
                print(f"Connected after {_seconds()}, loading {without_user(settings.model)}: {lines}", flush=True)
                await running.loaded()
                _ready(lines, stream=sys.stdout)
            await stop.wanted.wait()
    return 0


def _ready(what: str, stream: Any = None) -> None:
    print(f"Partyline is ready after {_seconds()}: {escaped(what)}", file=stream or sys.stderr, flush=True)


def _seconds() -> str:
    return f"{time.monotonic() - _STARTED:.1f} s"


def _until_done(work: Coroutine[Any, Any, int]) -> int:
    """Runs the program's one coroutine; what stops it becomes a sentence and an exit code."""
    with contextlib.closing(work):  # Ctrl+C may come while this imports
        from adapters.storage.errors import DatabaseFailure
        from inference.api import Interrupted, Unavailable

        try:
            return asyncio.run(work)
        except (Unavailable, Interrupted, DatabaseFailure) as error:
            print(f"partyline: {escaped(str(error))}", file=sys.stderr)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"partyline: {escaped(error.strerror or str(error))}", file=sys.stderr)
        except BaseExceptionGroup as group:
            return _grouped(group)
        return 1


def _grouped(group: BaseExceptionGroup[BaseException]) -> int:
    """Task groups wrap what stopped them; a defect keeps its traceback. Raises BrokenPipeError."""
    from adapters.storage.errors import DatabaseFailure
    from inference.api import Unavailable

    if is_closed_pipe(group):
        raise BrokenPipeError from group
    expected, rest = group.split((ConfigError, Unavailable, DatabaseFailure, OSError))
    if rest is not None or expected is None:
        raise group
    for error in _leaves(expected):
        print(f"partyline: {escaped(str(error))}", file=sys.stderr)
    return 2 if expected.subgroup(ConfigError) else 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _with_demo(options: argparse.Namespace, settings: Settings) -> Settings:
    return settings.model_copy(update=_DEMO) if options.demo else settings


def _demo_settings(settings: Settings, data: Path | None) -> Settings:
    changes: dict[str, Any] = dict(_DEMO)
    if data is not None or "database" not in settings.model_fields_set:
        changes["database"] = str((data or Path("partyline-demo")) / "partyline.sqlite3")
    return settings.model_copy(update=changes)


def _log(level: str) -> None:
    configure(level)
    for chatty in ("aiohttp.access", "alembic", "asyncio", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel("WARNING")
    with contextlib.suppress(AttributeError, ValueError):
        # Model text may hold what a terminal's encoding lacks; nothing may fail for that.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()

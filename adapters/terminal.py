"""The bot in a terminal: one answer (`partyline ask`) or a conversation (`partyline chat`)."""

from __future__ import annotations

import asyncio
import getpass
import json
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from adapters.app import App, in_memory, on_disk
from bots import wording
from bots.bot import Bot
from bots.messages import (
    Captioned,
    Ended,
    Failed,
    Incoming,
    Notice,
    Person,
    Picture,
    ReplyEvent,
    Said,
    Started,
    Thought,
    Waiting,
)
from bots.preferences import Refused
from config.settings import Settings

CHAT = "terminal:here"
Ready = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `partyline ask` was called with; `settings` are a person's settings as they were written."""

    text: str
    images: tuple[Path, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    json: bool = False


async def ask(question: Question, settings: Settings, ready: Ready) -> int:
    """One answer on stdout; returns the exit code. Raises Unavailable."""
    try:
        pictures = tuple([await asyncio.to_thread(_picture, path) for path in question.images])
    except OSError as error:
        print(f"partyline: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    async with in_memory(settings) as app:
        person = Person("terminal:ask", "you")
        try:
            for name, value in question.settings.items():
                await app.bot.change_setting(person.id, name, value)
        except Refused as refusal:
            print(f"partyline: {refusal}", file=sys.stderr)
            return 2
        ready(app.inference.info.name)
        text = question.text if question.text.strip() else "/caption"
        incoming = Incoming(event_id="1", chat=CHAT, author=person, text=text, pictures=pictures)
        show = _Lines() if question.json else _Prose()
        async with aclosing(app.bot.respond(incoming)) as events:
            async for event in events:
                show(event)
        return show.exit_code


def _picture(path: Path) -> Picture:
    return Picture(path.read_bytes(), path.name)


class _Prose:
    """Events as text: the answer on stdout, everything else on stderr."""

    exit_code = 0

    def __call__(self, event: ReplyEvent) -> None:
        match event:
            case Said(text):
                print(text, end="", flush=True)
            case Captioned(text):
                print(text, flush=True)
            case Notice(text, refused=refused):
                print(f"partyline: {text}" if refused else text, file=sys.stderr if refused else sys.stdout, flush=True)
                self.exit_code = int(refused)
            case Failed(sentence):
                print(f"\npartyline: {sentence}", file=sys.stderr, flush=True)
                self.exit_code = 1
            case Ended():
                print(flush=True)


class _Lines:
    """Events as JSON, one a line."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._text = ""

    def __call__(self, event: ReplyEvent) -> None:
        match event:
            case Waiting(position, eta_s):
                self._print("queued", wording.waiting(position, eta_s), position=position, eta_s=eta_s)
            case Thought(text):
                self._print("thinking", text)
            case Said(text):
                self._text += text
                self._print("text", text)
            case Captioned(text):
                self._text += text
                self._print("caption", text)
            case Ended():
                usage, timings = asdict(event.usage), asdict(event.timings)
                self._print("finished", self._text, reason=event.reason, usage=usage, timings=timings)
            case Notice(text, refused=False):
                self._print("text", text)
                self._print("finished", text, reason="stop", usage={}, timings={})
            case Notice(sentence) | Failed(sentence):
                self._print("failed", sentence)
                print(f"partyline: {sentence}", file=sys.stderr)
                self.exit_code = 1

    @staticmethod
    def _print(name: str, text: str, **more: Any) -> None:
        print(json.dumps({"event": name, "text": text, **more}), flush=True)


async def chat(settings: Settings, ready: Ready) -> int:
    """A conversation until the end of input. Raises Unavailable or StorageError."""
    async with on_disk(settings) as app:
        ready(app.inference.info.name)
        print("Write a message; /help lists the commands, @file adds a picture, Ctrl-D ends.")
        await _Conversation(app).hold()
    return 0


class _Conversation:
    """Reads a line, prints the answer; Ctrl-C stops the answer, not the program."""

    def __init__(self, app: App) -> None:
        self._bot: Bot = app.bot
        self._person = Person(f"terminal:{_user()}", _user())
        self._numbers = count(1)
        self._answering = False
        self._interrupted = asyncio.Event()

    async def hold(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        keyboard = _Keyboard(loop)
        async with asyncio.TaskGroup() as tasks:
            stopper = tasks.create_task(self._stop_when_interrupted())
            while (line := await keyboard.line(_prompt())) is not None:
                if line.strip():
                    await self._answer(line)
            stopper.cancel()

    def _interrupt(self) -> None:
        if self._answering:
            self._interrupted.set()
        else:
            print(f"\nCtrl-D ends the program.\n{_prompt()}", end="", flush=True)

    async def _stop_when_interrupted(self) -> None:
        while True:
            await self._interrupted.wait()
            self._interrupted.clear()
            async with aclosing(self._respond("/stop")) as events:
                async for _ in events:
                    pass

    async def _answer(self, line: str) -> None:
        show = _Conversing()
        self._answering = True
        try:
            async with aclosing(self._respond(line)) as events:
                async for event in events:
                    show(event)
        finally:
            self._answering = False

    async def _respond(self, line: str) -> AsyncGenerator[ReplyEvent, None]:
        text, pictures = await asyncio.to_thread(_with_pictures, line)
        event_id = str(next(self._numbers))
        incoming = Incoming(event_id=event_id, chat=CHAT, author=self._person, text=text, pictures=pictures)
        async with aclosing(self._bot.respond(incoming)) as events:
            async for event in events:
                yield event


class _Conversing:
    """Events as a person wants to see them: reasoning and small print dimmed where the terminal can."""

    def __init__(self) -> None:
        self._thinking = False

    def __call__(self, event: ReplyEvent) -> None:
        if self._thinking and not isinstance(event, Thought):
            self._thinking = False
            print("\n")
        match event:
            case Started(text=text):
                print(text, end="", flush=True)
            case Waiting(position, eta_s):
                print(_dim(wording.waiting(position, eta_s)), flush=True)
            case Thought(text):
                self._thinking = True
                print(_dim(text), end="", flush=True)
            case Said(text):
                print(text, end="", flush=True)
            case Captioned(text) | Notice(text):
                print(text, flush=True)
            case Failed(sentence):
                print(f"\n{sentence}", flush=True)
            case Ended():
                print("\n" + _dim(wording.footer(event)), flush=True)


class _Keyboard:
    """Lines of stdin, read in a thread of its own: the only way to wait for a keyboard everywhere."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def line(self, prompt: str) -> str | None:
        """The next line, None at the end of input."""
        threading.Thread(target=self._read, args=(prompt,), daemon=True).start()
        return await self._lines.get()

    def _read(self, prompt: str) -> None:
        try:
            text: str | None = input(prompt)
        except EOFError:
            text = None
        self._loop.call_soon_threadsafe(self._lines.put_nowait, text)


def _with_pictures(line: str) -> tuple[str, tuple[Picture, ...]]:
    """Words such as @holiday.jpg that name a file become pictures."""
    pictures, words = [], []
    for word in line.split(" "):
        path = Path(word[1:]).expanduser() if word.startswith("@") and len(word) > 1 else None
        if path is not None and path.is_file():
            pictures.append(_picture(path))
        else:
            words.append(word)
    return " ".join(words), tuple(pictures)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in a container
        return "you"


def _prompt() -> str:
    return "> " if sys.stdin.isatty() else ""


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if sys.stdout.isatty() else text

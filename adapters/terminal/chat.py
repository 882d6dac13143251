"""`partyline chat`: a conversation in the terminal, slash commands included."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import shutil
import signal
import sys
from contextlib import aclosing
from itertools import count
from pathlib import Path

from adapters.app import App, Ready, on_disk, phrases
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import Ending
from adapters.terminal.ask import picture
from adapters.terminal.channel import TerminalChannel
from adapters.terminal.keyboard import Keyboard
from bots import wording
from bots.messages import Incoming, Person, Picture
from bots.profile.preferences import UserError
from config.settings import Settings

CHAT = "terminal:here"
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".avif", ".tif", ".tiff")
"""What a picture that somebody means is called, also where there is none."""
_ERASED_LINE = "\r\x1b[2K"


async def chat(settings: Settings, ready: Ready) -> int:
    """A conversation until the end of input. Raises StorageError, and Unavailable in a group."""
    keyboard = Keyboard(asyncio.get_running_loop())

    def loaded(model: str) -> None:
        """Somebody may be typing meanwhile."""
        _write(_ERASED_LINE if keyboard.is_read else "")
        ready(model)
        _write(f"{_prompt()}{keyboard.begun}" if keyboard.is_read else "")

    async with on_disk(settings, loaded) as app, Outboxes(phrases=phrases()) as outboxes:
        print("Write a message; /help lists the commands, @file adds a picture, Ctrl-D ends.")
        await _Conversation(app, outboxes, keyboard).hold()
    return 0


class _Conversation:
    """Reads a line, shows the answer; Ctrl-C stops the answer, not the program."""

    def __init__(self, app: App, outboxes: Outboxes, keyboard: Keyboard) -> None:
        self._app = app
        self._outboxes = outboxes
        colour = sys.stdout.isatty()
        self._channel = TerminalChannel(_write, colour=colour, width=shutil.get_terminal_size().columns)
        self._person = Person(f"terminal:{_user()}", _user())
        self._keyboard = keyboard
        self._run_id = secrets.token_hex(8)  # what was said in another run is another event
        self._numbers = count(1)
        self._answering = False
        self._interrupted = asyncio.Event()

    async def hold(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        with self._keyboard.open():
            async with asyncio.TaskGroup() as tasks:
                stopper = tasks.create_task(self._stop_when_interrupted())
                while (line := await self._keyboard.line(_prompt())) is not None:
                    if line.strip():
                        await self._answer(line)
                stopper.cancel()

    def _interrupt(self) -> None:
        if self._answering:
            self._interrupted.set()
        else:
            _write(f"\nCtrl-D ends the program.\n{_prompt()}{self._keyboard.begun}")

    async def _stop_when_interrupted(self) -> None:
        while True:
            await self._interrupted.wait()
            self._interrupted.clear()
            async with aclosing(self._app.bot.respond(self._incoming("/stop"))) as events:
                async for _ in events:
                    pass

    async def _answer(self, line: str) -> None:
        try:
            text, pictures = await asyncio.to_thread(_with_pictures, line)
        except UserError as refusal:
            _write(f"{refusal}\n")
            return
        events = self._app.bot.respond(self._incoming(text, pictures))
        self._answering = True
        try:
            outcome = await self._outboxes.deliver(self._channel, CHAT, events, reply_to=None, record=self._app.storage)
        finally:
            self._answering = False
        if outcome.ending is not Ending.DELIVERED:
            _write(f"\n{wording.unavailable()}\n")

    def _incoming(self, text: str, pictures: tuple[Picture, ...] = ()) -> Incoming:
        event_id = f"{self._run_id}-{next(self._numbers)}"
        return Incoming(event_id=event_id, chat=CHAT, author=self._person, text=text, pictures=pictures, new=True)


def _with_pictures(line: str) -> tuple[str, tuple[Picture, ...]]:
    """Words such as @holiday.jpg that name a file become pictures. Raises Refused."""
    pictures, words = [], []
    for word in line.split(" "):
        path = _file_at(word)
        if path is None:
            if word.startswith("@") and word.lower().endswith(_PICTURES):
                raise UserError(wording.no_file(word[1:]))
            words.append(word)
            continue
        try:
            pictures.append(picture(path))
        except OSError:
            raise UserError(wording.closed_file(path.name)) from None
    return " ".join(words), tuple(pictures)


def _file_at(word: str) -> Path | None:
    """The file that the word names; None for all other words, whatever follows their "@"."""
    if not word.startswith("@") or len(word) == 1:
        return None
    try:
        path = Path(word[1:]).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a home of nobody, a NUL
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no such user
        return "you"


def _prompt() -> str:
    return "> " if sys.stdin.isatty() else ""


def _write(text: str) -> None:
    print(text, end="", flush=True)

"""`partyline ask`: one answer on stdout, as text or as JSON lines."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.app import Ready, in_memory
from adapters.delivery.renderers.terminal import safe
from adapters.process.log_format import escaped
from adapters.terminal.channel import save
from bots import wording
from bots.messages import (
    Attached,
    CaptionReady,
    Ended,
    Failed,
    Incoming,
    Notice,
    Person,
    Picture,
    QueueUpdate,
    Relabelled,
    ReplyEvent,
    TextDelta,
    ThinkingDelta,
)
from bots.profile.preferences import UserError
from config.settings import Settings
from inference.api import Interrupted, Loading


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `partyline ask` was called with; `settings` are a person's settings as they were written."""

    text: str
    images: tuple[Path, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    json: bool = False


async def ask(question: Question, settings: Settings, ready: Ready) -> int:
    """One answer on stdout; returns the exit code. Raises Unavailable, in a group."""
    try:
        pictures = tuple([await asyncio.to_thread(picture, path) for path in question.images])
    except OSError as error:
        print(f"partyline: {escaped(f'{error.filename}: {error.strerror}')}", file=sys.stderr)
        return 2
    async with in_memory(settings, ready) as app:
        person = Person("terminal:ask", "you")
        try:
            for name, value in question.settings.items():
                await app.bot.change_setting(person.id, name, value)
        except UserError as refusal:
            print(f"partyline: {safe(str(refusal))}", file=sys.stderr)
            return 2
        text = question.text if question.text.strip() else "/caption"
        incoming = Incoming(event_id="1", chat="terminal:ask", author=person, text=text, pictures=pictures, new=True)
        show = _Lines() if question.json else _Prose()
        try:
            async with aclosing(app.bot.respond(incoming)) as events:
                async for event in events:
                    if isinstance(event, Attached):
                        path = await asyncio.to_thread(save, Path(), event.name, event.data)
                        event = replace(event, name=str(path))
                    show(event)
        except Interrupted:  # nobody goes on with it after another start
            show(Failed(wording.unavailable()))
        return show.exit_code


def picture(path: Path) -> Picture:
    """Reads a file, whatever is in it. Raises OSError."""
    return Picture(path.read_bytes(), path.name)


class _Prose:
    """Events as text: the answer on stdout, everything else on stderr. Nothing in it can steer a terminal."""

    exit_code = 0

    def __call__(self, event: ReplyEvent) -> None:
        match event:
            case QueueUpdate(0, _, Loading() as awaited):
                print(wording.loading(awaited), file=sys.stderr, flush=True)
            case TextDelta(text):
                print(safe(text), end="", flush=True)
            case Relabelled():
                print("\n", flush=True)
                print(wording.was_thinking(), file=sys.stderr, flush=True)
            case CaptionReady(text):
                print(safe(text), flush=True)
            case Notice(text, refused=refused):
                said = safe(text)
                print(f"partyline: {said}" if refused else said, file=sys.stderr if refused else sys.stdout, flush=True)
                self.exit_code = int(refused)
            case Attached(path, _, text):
                print(*filter(None, (safe(text), f"Saved as {path}")), sep="\n\n", flush=True)
            case Failed(sentence):
                print(f"\npartyline: {safe(sentence)}", file=sys.stderr, flush=True)
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
            case QueueUpdate(0, _, Loading() as awaited):
                self._print("loading", wording.loading(awaited), what=awaited.what, share=awaited.share)
            case QueueUpdate(position, eta_s):
                self._print("queued", wording.waiting(position, eta_s), position=position, eta_s=eta_s)
            case ThinkingDelta(text):
                self._print("thinking", text)
            case TextDelta(text):
                self._text += text
                self._print("text", text)
            case Relabelled():
                self._text = ""
                self._print("relabelled", wording.was_thinking())
            case CaptionReady(text):
                self._text += text
                self._print("caption", text)
            case Ended():
                usage, timings = asdict(event.usage), asdict(event.timings)
                self._print("finished", self._text, reason=event.reason, usage=usage, timings=timings)
            case Notice(text, refused=False):
                self._print("text", text)
                self._print("finished", text, reason="stop", usage={}, timings={})
            case Attached(path, _, text):
                self._print("file", text, path=path)
                self._print("finished", text, reason="stop", usage={}, timings={})
            case Notice(sentence) | Failed(sentence):
                self._print("failed", sentence)
                print(f"partyline: {safe(sentence)}", file=sys.stderr)
                self.exit_code = 1

    @staticmethod
    def _print(name: str, text: str, **more: Any) -> None:
        print(json.dumps({"event": name, "text": text, **more}), flush=True)

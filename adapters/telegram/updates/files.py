"""Files in messages: pictures, texts and what cannot be read; their bytes, fetched within limits of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from telegram import Bot, ExternalReplyInfo, Message
from telegram.error import TelegramError

from adapters.files.text_files import TEXT_BYTES, decoded, fenced, is_text
from adapters.telegram.client.retry import patiently
from bots import wording
from bots.messages import Picture

MAX_BYTES = 20 * 2**20
"""Telegram hands bots no larger files."""
_TIMEOUT_S = 60.0


class PictureLost(Exception):
    """The file did not come; the message names no address, because that holds the token. `sentence` is for people."""

    def __init__(self, why: str, sentence: str = "") -> None:
        super().__init__(why)
        self.sentence = sentence or wording.picture_lost("Telegram")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file on Telegram's servers; `size` in bytes, 0 where it is not known. The name is somebody else's words."""

    file_id: str
    size: int = 0
    name: str = ""
    kind: Literal["picture", "text", "other"] = "picture"


def files_of(message: Message | ExternalReplyInfo) -> tuple[FileRef, ...]:
    """The largest size of a photo, a sticker that stands still, or what was sent as a file or recorded."""
    if message.photo:
        photo = max(message.photo, key=lambda size: size.width * size.height)
        return (FileRef(photo.file_id, photo.file_size or 0),)
    if (document := message.document) is not None:
        name, media_type = document.file_name or "", document.mime_type or ""
        return (FileRef(document.file_id, document.file_size or 0, name, _kind(name, media_type)),)
    sticker = message.sticker
    if sticker is not None and not sticker.is_animated and not sticker.is_video:
        return (FileRef(sticker.file_id, sticker.file_size or 0),)
    for name, sent in (
        ("a voice message", message.voice),
        ("an audio file", message.audio),
        ("a video", message.video),
        ("a video message", message.video_note),
        ("a sticker that moves", sticker),
    ):
        if sent is not None:
            return (FileRef(sent.file_id, sent.file_size or 0, getattr(sent, "file_name", None) or name, "other"),)
    return ()


def _kind(name: str, media_type: str) -> Literal["picture", "text", "other"]:
    if media_type.startswith("image/"):
        return "picture"
    return "text" if is_text(name, media_type) else "other"


def text_of(file: FileRef, data: bytes) -> str:
    """The text file as it stands in a prompt. Raises PictureLost: it is none."""
    if len(data) > TEXT_BYTES:
        raise PictureLost(f"{len(data)} bytes of text are too many", wording.large_file(file.name, TEXT_BYTES))
    if (text := decoded(data)) is None:
        raise PictureLost("it is no text", wording.unreadable_file(file.name))
    return fenced(file.name or "file", text)


async def fetch(bot: Bot, file: FileRef, folder: str = "") -> Picture:
    """The file's bytes, kept in memory alone.

    Args:
        folder: where a server that runs with `--local` keeps its files: it says where on its disk they are.

    Raises:
        PictureLost: it is too large, it did not come in time, or nobody here can read files of that kind.
    """
    if file.kind == "other":
        raise PictureLost("it is neither a picture nor a text", wording.unreadable_file(file.name))
    if file.kind == "text" and file.size > TEXT_BYTES:
        raise PictureLost(f"{file.size} bytes of text are too many", wording.large_file(file.name, TEXT_BYTES))
    if file.size > MAX_BYTES:
        raise PictureLost(f"{file.size} bytes are too many")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await patiently(lambda: bot.get_file(file.file_id))
            path = (found.file_path or "").removeprefix(f"{bot.base_file_url}/")
            if path.startswith("/") and folder:
                return Picture(await asyncio.to_thread(_read, Path(path), Path(folder)), file.name)
            downloads = await asyncio.to_thread(import_module, "adapters.telegram.updates.downloads")
            return Picture(await downloads.download(_address(bot, path)), file.name)
    except TimeoutError:
        raise PictureLost(f"not here in {_TIMEOUT_S:g} s") from None
    except TelegramError as error:
        raise PictureLost(str(error)) from None


def _read(path: Path, folder: Path) -> bytes:
    """A file inside of the folder, wherever links lead. Raises PictureLost."""
    try:
        path = path.resolve(strict=True)
        if not path.is_relative_to(folder.resolve(strict=True)):
            raise PictureLost("the server's file is not in telegram.files_dir")
        if not path.is_file():
            raise PictureLost("the server's path is no file")
        with path.open("rb") as file:
            return _checked(file.read(MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        raise PictureLost(f"the server's file cannot be read: {type(error).__name__}") from None


def _address(bot: Bot, path: str) -> str:
    """Names of files are somebody else's words."""
    if not path:
        raise PictureLost("the server has no path for it")
    return f"{bot.base_file_url}/{quote(path)}"


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise PictureLost(f"more than {MAX_BYTES} bytes came")
    return data

"""Pictures in messages: which files they are, and their bytes, fetched within limits of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

from telegram import Bot, Message
from telegram.error import TelegramError

from adapters.telegram.patience import patiently
from bots.messages import Picture

MAX_BYTES = 20 * 2**20
"""Telegram hands bots no larger files."""
_TIMEOUT_S = 60.0


class PictureLost(Exception):
    """The file did not come; the message names no address, because that holds the token."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file on Telegram's servers; `size` in bytes, 0 where it is not known. The name is somebody else's words."""

    file_id: str
    size: int = 0
    name: str = ""


def files_of(message: Message) -> tuple[FileRef, ...]:
    """The message's picture: the largest size of a photo, an image sent as a file, or a sticker that stands still."""
    if message.photo:
        photo = max(message.photo, key=lambda size: size.width * size.height)
        return (FileRef(photo.file_id, photo.file_size or 0),)
    document = message.document
    if document is not None and (document.mime_type or "").startswith("image/"):
        return (FileRef(document.file_id, document.file_size or 0, document.file_name or ""),)
    sticker = message.sticker
    if sticker is not None and not sticker.is_animated and not sticker.is_video:
        return (FileRef(sticker.file_id, sticker.file_size or 0),)
    return ()


async def fetch(bot: Bot, file: FileRef, folder: str = "") -> Picture:
    """The file's bytes, kept in memory alone.

    Args:
        folder: where a server that runs with `--local` keeps its files: it says where on its disk they are.

    Raises:
        PictureLost: it is too large, or it did not come in time.
    """
    if file.size > MAX_BYTES:
        raise PictureLost(f"{file.size} bytes are too many")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await patiently(lambda: bot.get_file(file.file_id))
            path = (found.file_path or "").removeprefix(f"{bot.base_file_url}/")
            if path.startswith("/") and folder:
                return Picture(await asyncio.to_thread(_read, Path(path), Path(folder)), file.name)
            downloads = await asyncio.to_thread(import_module, "adapters.telegram.downloads")
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

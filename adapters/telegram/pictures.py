"""Pictures in messages: which files they are, and their bytes, fetched within limits of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
from telegram import Bot, Message
from telegram.error import TelegramError

from adapters.telegram.patience import PAUSES_S, patiently
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
        photo = message.photo[-1]
        return (FileRef(photo.file_id, photo.file_size or 0),)
    document = message.document
    if document is not None and (document.mime_type or "").startswith("image/"):
        return (FileRef(document.file_id, document.file_size or 0, document.file_name or ""),)
    sticker = message.sticker
    if sticker is not None and not sticker.is_animated and not sticker.is_video:
        return (FileRef(sticker.file_id, sticker.file_size or 0),)
    return ()


async def fetch(bot: Bot, file: FileRef) -> Picture:
    """The file's bytes, kept in memory alone.

    Raises:
        PictureLost: it is too large, or it did not come in time.
    """
    if file.size > MAX_BYTES:
        raise PictureLost(f"{file.size} bytes are too many")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await patiently(lambda: bot.get_file(file.file_id))
            return Picture(await _download_patiently(found.file_path or ""), file.name)
    except TimeoutError:
        raise PictureLost(f"not here in {_TIMEOUT_S:g} s") from None
    except TelegramError as error:
        raise PictureLost(str(error)) from None
    except aiohttp.ClientError as error:
        raise PictureLost(type(error).__name__) from None


async def _download_patiently(address: str) -> bytes:
    for pause_s in PAUSES_S:
        try:
            return await _download(address)
        except aiohttp.ClientError:
            await asyncio.sleep(pause_s)
    return await _download(address)


async def _download(address: str) -> bytes:
    if not address.startswith(("http://", "https://")):
        raise PictureLost("the server keeps its files on its own disk")
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(address) as response:
        if response.status != 200:
            raise PictureLost(f"status {response.status}")
        data = bytearray()
        async for piece in response.content.iter_chunked(2**16):
            data += piece
            if len(data) > MAX_BYTES:
                raise PictureLost(f"more than {MAX_BYTES} bytes came")
        return bytes(data)

"""Pictures and text files of a message: fetched from Discord's hosts alone, and within bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters.discord.client.addresses import serves_files
from adapters.discord.inbound.events import File
from adapters.files.text_files import TEXT_BYTES, decoded, fenced, suffix
from adapters.files.text_files import is_text as promises_text
from bots import wording
from bots.messages import Picture

PICTURE_BYTES = 20 * 1024 * 1024
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What the bot gets of the files, and a sentence for each of which it gets nothing."""

    pictures: tuple[Picture, ...] = ()
    text: str = ""
    problems: tuple[str, ...] = ()


async def read(files: Sequence[File], api: str, fetch: Fetch) -> Contents:
    """Fetches what the bot can use; `fetch` raises OSError where an address gives nothing."""
    pictures: list[Picture] = []
    texts: list[str] = []
    problems: list[str] = []
    for file in files:
        problem, data = await _fetched(file, api, fetch)
        if problem:
            problems.append(problem)
        elif is_picture(file):
            pictures.append(Picture(data, file.name))
        elif (text := decoded(data)) is None:
            problems.append(wording.unreadable_file(file.name))
        else:
            texts.append(fenced(file.name, text))
    return Contents(tuple(pictures), "\n\n".join(texts), tuple(problems))


def is_picture(file: File) -> bool:
    return file.kind.startswith("image/") or (not file.kind and suffix(file.name) in _PICTURES)


def is_text(file: File) -> bool:
    return promises_text(file.name, file.kind)


async def _fetched(file: File, api: str, fetch: Fetch) -> tuple[str, bytes]:
    """A sentence about what is wrong, or the bytes."""
    if not is_picture(file) and not is_text(file):
        return wording.unreadable_file(file.name), b""
    largest = PICTURE_BYTES if is_picture(file) else TEXT_BYTES
    if file.size > largest:
        return wording.large_file(file.name, largest), b""
    if not serves_files(file.url, api):
        return wording.lost_file(file.name), b""
    try:
        data = await fetch(file.url)
    except OSError:
        return wording.lost_file(file.name), b""
    return ("", data) if len(data) <= largest else (wording.large_file(file.name, largest), b"")

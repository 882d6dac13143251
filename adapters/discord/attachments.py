"""Pictures and text files of a message: fetched from Discord's hosts alone, and within bounds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from adapters.discord.addresses import serves_files
from adapters.discord.events import File
from bots import wording
from bots.messages import Picture

PICTURE_BYTES = 20 * 1024 * 1024
TEXT_BYTES = 512 * 1024
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
_TEXTS = {
    ".bat", ".c", ".cc", ".cfg", ".clj", ".conf", ".cpp", ".cs", ".css", ".csv", ".dart", ".diff", ".ex", ".exs", ".go",
    ".gradle", ".h", ".hpp", ".hs", ".html", ".ini", ".java", ".jl", ".js", ".json", ".jsx", ".kt", ".log", ".lua",
    ".m", ".md", ".mjs", ".patch", ".php", ".pl", ".properties", ".ps1", ".py", ".r", ".rb", ".rs", ".rst", ".scala",
    ".sh", ".sql", ".svelte", ".swift", ".tex", ".toml", ".ts", ".tsx", ".tsv", ".txt", ".vue", ".xml", ".yaml", ".yml",
    ".zig",
}  # fmt: skip
_TEXT_NAMES = {"dockerfile", "makefile", "license", "readme", ".gitignore", ".env"}
_LANGUAGE = re.compile(r"[\w+#-]{1,16}")
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
        elif (text := _decoded(data)) is None:
            problems.append(wording.unreadable_file(file.name))
        else:
            texts.append(_fenced(file.name, text))
    return Contents(tuple(pictures), "\n\n".join(texts), tuple(problems))


def is_picture(file: File) -> bool:
    return file.kind.startswith("image/") or (not file.kind and _suffix(file) in _PICTURES)


def is_text(file: File) -> bool:
    name = file.name.lower()
    return file.kind.startswith("text/") or _suffix(file) in _TEXTS or name in _TEXT_NAMES


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


def _suffix(file: File) -> str:
    return PurePosixPath(file.name.lower()).suffix


def _decoded(data: bytes) -> str | None:
    """The text; None for what is none. Windows writes UTF-16 with a mark, everybody else UTF-8."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _fenced(name: str, text: str) -> str:
    """The file under its name, in a fence that nothing in it can close."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = _LANGUAGE.fullmatch(PurePosixPath(name).suffix.lstrip("."))
    return f"{name}:\n{fence}{language[0] if language else ''}\n{text.rstrip()}\n{fence}"

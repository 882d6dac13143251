"""The files that accompany an answer of many messages: the whole of it, and its code blocks under their own names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.delivery.markdown.commonmark import parse
from adapters.delivery.markdown.tree import CodeBlock

_EXTENSIONS = {
    "bash": "sh", "c": "c", "c#": "cs", "c++": "cpp", "cpp": "cpp", "csharp": "cs", "css": "css", "csv": "csv",
    "dart": "dart", "diff": "diff", "elixir": "ex", "go": "go", "golang": "go", "haskell": "hs", "html": "html",
    "ini": "ini", "java": "java", "javascript": "js", "js": "js", "json": "json", "jsx": "jsx", "julia": "jl",
    "kotlin": "kt", "latex": "tex", "lua": "lua", "markdown": "md", "md": "md", "objective-c": "m", "perl": "pl",
    "php": "php", "powershell": "ps1", "py": "py", "python": "py", "python3": "py", "r": "r", "ruby": "rb",
    "rust": "rs", "rs": "rs", "scala": "scala", "sh": "sh", "shell": "sh", "sql": "sql", "swift": "swift",
    "toml": "toml", "ts": "ts", "tsx": "tsx", "typescript": "ts", "xml": "xml", "yaml": "yaml", "yml": "yml",
}  # fmt: skip
_WHOLE_NAMES = {"dockerfile": "Dockerfile", "makefile": "Makefile"}
_SHORTEST_CODE = 200
"""Code points; a shorter block is easier to copy from the message than from a file."""
_MOST_CODE_FILES = 5
_LONGEST_PARSED = 40_000
"""Code points; the event loop must not wait longer than this takes to parse."""


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    data: bytes = field(repr=False)
    private: bool = False


def whole_answer(answer: str, upload_bytes: int) -> Iterator[Attachment]:
    """`answer.md`, in parts where it is larger than the platform takes, then its longer code blocks."""
    yield from text_file("answer", "md", answer, upload_bytes)
    if len(answer) > _LONGEST_PARSED:
        return
    blocks = [token for token in parse(answer) if token.type == "fence" and len(token.content) >= _SHORTEST_CODE]
    for number, block in enumerate(blocks[:_MOST_CODE_FILES], 1):
        language = CodeBlock(block.content, block.info.strip()).language.lower()
        stem = "code" if len(blocks) == 1 else f"code-{number}"
        if language in _WHOLE_NAMES and len(blocks) == 1:
            yield from text_file(_WHOLE_NAMES[language], "", block.content, upload_bytes)
        else:
            yield from text_file(stem, _EXTENSIONS.get(language, "txt"), block.content, upload_bytes)


def text_file(stem: str, extension: str, text: str, upload_bytes: int) -> Iterator[Attachment]:
    """The text as one UTF-8 file, or as numbered ones of at most `upload_bytes` each."""
    data = _encoded(text)
    parts = list(_parts(data, max(4, upload_bytes)))
    for number, part in enumerate(parts, 1):
        numbered = stem if len(parts) == 1 else f"{stem}-part{number}"
        yield Attachment(f"{numbered}.{extension}".rstrip("."), part)


def whole_file(name: str, data: bytes, upload_bytes: int, private: bool) -> Iterator[Attachment]:
    """The file, or numbered pieces of it where it is larger than the platform takes."""
    stem, dot, extension = name.rpartition(".")
    pieces = list(_parts(data, max(4, upload_bytes)))
    for number, piece in enumerate(pieces, 1):
        numbered = name if len(pieces) == 1 else f"{stem}-part{number}{dot}{extension}"
        yield Attachment(numbered, piece, private)


def _encoded(text: str) -> bytes:
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text).encode()


def _parts(data: bytes, largest: int) -> Iterator[bytes]:
    start = 0
    while start < len(data) or not start:
        end = min(len(data), start + largest)
        while end < len(data) and data[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        yield data[start:end]
        if end == len(data):
            return
        start = end

"""Files of text and code that people attach: which ones are some, and how they stand in a prompt. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

TEXT_BYTES = 512 * 1024
_TEXTS = {
    ".bat", ".c", ".cc", ".cfg", ".clj", ".conf", ".cpp", ".cs", ".css", ".csv", ".dart", ".diff", ".ex", ".exs", ".go",
    ".gradle", ".h", ".hpp", ".hs", ".html", ".ini", ".java", ".jl", ".js", ".json", ".jsx", ".kt", ".log", ".lua",
    ".m", ".md", ".mjs", ".patch", ".php", ".pl", ".properties", ".ps1", ".py", ".r", ".rb", ".rs", ".rst", ".scala",
    ".sh", ".sql", ".svelte", ".swift", ".tex", ".toml", ".ts", ".tsx", ".tsv", ".txt", ".vue", ".xml", ".yaml", ".yml",
    ".zig",
}  # fmt: skip
_TEXT_NAMES = {"dockerfile", "makefile", "license", "readme", ".gitignore", ".env"}
_LANGUAGE = re.compile(r"[\w+#-]{1,16}")


def is_text(name: str, kind: str) -> bool:
    """Whether the name or the media type (`kind`) promises text."""
    return kind.startswith("text/") or suffix(name) in _TEXTS or name.lower() in _TEXT_NAMES


def suffix(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def decoded(data: bytes) -> str | None:
    """The text; None for what is none. Windows writes UTF-16 with a mark, everybody else UTF-8."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def fenced(name: str, text: str) -> str:
    """The file under its name, in a fence that nothing in it can close; the name alone might be read as a command."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    language = _LANGUAGE.fullmatch(PurePosixPath(name).suffix.lstrip("."))
    return f"File {name}:\n{fence}{language[0] if language else ''}\n{text.rstrip()}\n{fence}"

"""Which weights exactly: what a model's name does not tell. Everything here reads files, and blocks."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

SNAPSHOTS = "snapshots"
"""The folder in which the hub's cache has a checkpoint under its commit."""
_ENDS_BYTES = 1024 * 1024


def of_file(path: Path) -> str:
    """A hash of the size, the beginning and the end of a file, which may have gigabytes; "" where it cannot be read."""
    digest = sha256()
    try:
        _add(path, digest.update)
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def of_folder(folder: Path) -> str:
    """The commit of a snapshot from the hub; of another folder a hash over its configuration and weights."""
    if folder.parent.name == SNAPSHOTS:
        return folder.name
    digest = sha256()
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in (".json", ".safetensors", ".bin", ".jinja") and path.is_file():
                digest.update(path.name.encode())
                _add(path, digest.update)
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def _add(path: Path, update: Callable[[bytes], None]) -> None:
    size = path.stat().st_size
    update(str(size).encode())
    with path.open("rb") as file:
        update(file.read(_ENDS_BYTES))
        file.seek(max(0, size - _ENDS_BYTES))
        update(file.read(_ENDS_BYTES))

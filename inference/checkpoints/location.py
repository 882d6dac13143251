"""Where a checkpoint lies: a folder, or a hub id that is downloaded. Says what is missing, with the number of it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from tqdm import tqdm

from inference.api import Unavailable
from inference.failures.error_classes import missing_memory

log = logging.getLogger(__name__)

_GB = 1e9
_SMALL = ("*.json", "*.jinja", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "*.bin")


Say = Callable[[str, float | None], None]
"""Hears what a start is busy with, and how much of that is done (0 to 1), where that is known."""


def folder_of(reference: str, say: Say = lambda text, share: None) -> Path:
    """The folder of a checkpoint or adapter, downloaded if need be.

    Args:
        say: is told how far the download is.

    Raises:
        Unavailable: there is none, it may not be read, or the disk is too small.
    """
    path = Path(reference).expanduser()
    if path.is_dir():
        return path
    if _looks_like_a_path(reference):
        raise Unavailable(f"there is no folder {reference}")
    try:
        return _downloaded(reference, say)
    except HFValidationError as error:
        raise Unavailable(f"{reference!r} is neither a folder nor a hub id such as owner/name") from error
    except GatedRepoError as error:
        page = f"https://huggingface.co/{reference}"
        raise Unavailable(f"{reference} is gated: ask for access at {page} and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise Unavailable(f"there is no model {reference} on the hub, or HF_TOKEN may not read it") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise Unavailable(f"{reference} is not on this machine and the hub cannot be reached") from error
    except (HfHubHTTPError, OSError) as error:
        raise Unavailable(f"{reference} cannot be downloaded: {error}") from error


def check_memory(what: str, needed: int) -> None:
    """Raises Unavailable where so many bytes are more than the memory that is free; `what` needs them for something."""
    if (sentence := missing_memory(what, needed, free_memory())) is not None:
        raise Unavailable(sentence)


def weights_size(folder: Path) -> int:
    """Bytes of the weights as they lie on disk."""
    return sum(path.stat().st_size for path in _weights(folder))


def free_memory() -> int:
    """Bytes that weights may take: of every GPU, and of the machine, where what fits no GPU is kept."""
    gpus = range(torch.cuda.device_count())
    return int(psutil.virtual_memory().available) + sum(torch.cuda.mem_get_info(gpu)[0] for gpu in gpus)


def _looks_like_a_path(reference: str) -> bool:
    return reference.startswith(("/", ".", "~")) or reference.count("/") > 1 or (os.sep != "/" and os.sep in reference)


def _downloaded(reference: str, say: Say) -> Path:
    kinds = [*_SMALL, *_WEIGHTS]
    try:
        files = snapshot_download(reference, allow_patterns=kinds, dry_run=True)
    except DryRunError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise error.__cause__ from error
        return _kept(reference)
    # Old checkpoints have both kinds of weights.
    if any(file.filename.endswith(".safetensors") for file in files):
        kinds.remove("*.bin")
        files = [file for file in files if not file.filename.endswith(".bin")]
    missing = sum(file.file_size or 0 for file in files if file.will_download)
    _check_disk(reference, missing)
    if missing:
        log.info("downloading %s: %.1f GB", reference, missing / _GB)
    bars = _bars(
        lambda done: say(
            f"downloading {reference}: {done / _GB:.2f} of {missing / _GB:.2f} GB", min(1.0, done / max(1, missing))
        )
    )
    return Path(snapshot_download(reference, allow_patterns=kinds, tqdm_class=bars))


def _kept(reference: str) -> Path:
    """What was downloaded before, for a machine that does not reach the hub."""
    for weights in _WEIGHTS:
        with contextlib.suppress(IncompleteSnapshotError):
            kinds = [*_SMALL, weights]
            folder = Path(snapshot_download(reference, allow_patterns=kinds, local_files_only=True))
            if _weights(folder):
                return folder
    raise LocalEntryNotFoundError(f"{reference} has not been downloaded whole")


def _bars(say: Callable[[int], None]) -> type[Any]:
    """A class of progress bars for the hub's library that draws nothing and tells the bytes that have arrived."""

    class Bar(tqdm):  # type: ignore[misc]
        # No thread that watches over bars.
        monitor_interval = 0
        arrived = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            # A bar that is switched off does not count.
            super().__init__(*args, **options | {"disable": False, "file": io.StringIO(), "leave": False})

        def display(self, *_: Any, **__: Any) -> None:
            """There is no bar to see."""

        def update(self, n: float | None = 1) -> bool | None:
            drawn: bool | None = super().update(n)
            if self.unit == "B":
                # There is one for what came over the line and one for what was written; both grow to the same size.
                Bar.arrived = max(Bar.arrived, int(self.n))
                say(Bar.arrived)
            return drawn

    return Bar


def _check_disk(reference: str, needed: int) -> None:
    home = Path(constants.HF_HUB_CACHE)
    there = next(path for path in (home, *home.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise Unavailable(
            f"{reference} needs {needed / _GB:.1f} GB of disk in {home} and {free / _GB:.1f} GB are free: "
            f"{(needed - free) / _GB:.1f} GB are missing"
        )


def _weights(folder: Path) -> list[Path]:
    return next((found for kind in _WEIGHTS if (found := list(folder.glob(kind)))), [])

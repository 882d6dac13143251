"""Where a checkpoint lies: a folder, or a hub id that is downloaded. Says what is missing, with the number of it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import psutil
import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from inference.api import Unavailable

log = logging.getLogger(__name__)

_GB = 1e9
_SMALL = ("*.json", "*.jinja", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "*.bin")


def folder_of(reference: str) -> Path:
    """The folder of a checkpoint or adapter, downloaded if need be.

    Raises:
        Unavailable: there is none, it may not be read, or the disk is too small.
    """
    path = Path(reference).expanduser()
    if path.is_dir():
        return path
    if _looks_like_a_path(reference):
        raise Unavailable(f"there is no folder {reference}")
    try:
        return _downloaded(reference)
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


def check_memory(name: str, folder: Path) -> None:
    """Raises Unavailable where the weights are larger than the memory that is free."""
    weights, free = weights_size(folder), free_memory()
    if weights > free:
        raise Unavailable(
            f"{name} needs {weights / _GB:.1f} GB of memory for its weights and {free / _GB:.1f} GB are free: "
            f"{(weights - free) / _GB:.1f} GB are missing"
        )


def weights_size(folder: Path) -> int:
    """Bytes of the weights as they lie on disk."""
    return sum(path.stat().st_size for path in _weights(folder))


def free_memory() -> int:
    """Bytes that weights may take: of every GPU, and of the machine, where what fits no GPU is kept."""
    gpus = range(torch.cuda.device_count())
    return int(psutil.virtual_memory().available) + sum(torch.cuda.mem_get_info(gpu)[0] for gpu in gpus)


def _looks_like_a_path(reference: str) -> bool:
    return reference.startswith(("/", ".", "~")) or reference.count("/") > 1 or (os.sep != "/" and os.sep in reference)


def _downloaded(reference: str) -> Path:
    kinds = [*_SMALL, *_WEIGHTS]
    files = snapshot_download(reference, allow_patterns=kinds, dry_run=True)
    # Old checkpoints have both kinds of weights.
    if any(file.filename.endswith(".safetensors") for file in files):
        kinds.remove("*.bin")
        files = [file for file in files if not file.filename.endswith(".bin")]
    missing = sum(file.file_size or 0 for file in files if file.will_download)
    _check_disk(reference, missing)
    if missing:
        log.info("downloading %s: %.1f GB", reference, missing / _GB)
    return Path(snapshot_download(reference, allow_patterns=kinds))


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

"""Files for one person alone: in memory, for that person's browser, and forgotten after a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapters.web.posts import StoredFile

LIFETIME_S = 900.0
_MAX_FILES = 64
_MAX_BYTES = 64 * 2**20


class Handouts:
    """What was handed out in the last minutes; the oldest gives way.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._files: dict[str, tuple[str, float, StoredFile]] = {}
        self._clock = clock

    def add(self, person: str, file: StoredFile) -> None:
        self._forget_old()
        self._files[file.id] = (person, self._clock() + LIFETIME_S, file)
        while len(self._files) > 1 and sum(len(each[2].data) for each in self._files.values()) > _MAX_BYTES:
            del self._files[next(iter(self._files))]

    def get(self, person: str, file_id: str) -> StoredFile | None:
        """The file, if it is this person's and still here."""
        self._forget_old()
        owner, _, file = self._files.get(file_id, ("", 0.0, None))
        return file if owner == person else None

    def forget(self, person: str) -> None:
        self._files = {key: each for key, each in self._files.items() if each[0] != person}

    def _forget_old(self) -> None:
        now = self._clock()
        kept = [(key, each) for key, each in self._files.items() if each[1] > now]
        self._files = dict(kept[-_MAX_FILES:])

"""Files for one person alone: in memory, for that person's browser, and forgotten after a while."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from adapters.web.posts.posts import StoredFile

LIFETIME_S = 900.0
MAX_FILES = 16
MAX_BYTES = 32 * 2**20
"""Both of one person, whose oldest file gives way."""
TOTAL_BYTES = 256 * 2**20
"""Of everybody; beyond that, whoever has most gives way."""


class PrivateFiles:
    """What was handed out in the last minutes; each person has a share.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._files: dict[str, tuple[str, float, StoredFile]] = {}
        self._clock = clock

    def add(self, person: str, file: StoredFile) -> None:
        self.forget_old()
        self._files[file.id] = (person, self._clock() + LIFETIME_S, file)
        while self._sizes()[person] > MAX_BYTES or self._count(person) > MAX_FILES:
            self._drop_oldest(person)
        while (sizes := self._sizes()).total() > TOTAL_BYTES:
            self._drop_oldest(sizes.most_common(1)[0][0])

    def _sizes(self) -> Counter[str]:
        sizes: Counter[str] = Counter()
        for person, _, file in self._files.values():
            sizes[person] += len(file.data)
        return sizes

    def _count(self, person: str) -> int:
        return sum(1 for owner, _, _ in self._files.values() if owner == person)

    def _drop_oldest(self, person: str) -> None:
        del self._files[next(key for key, each in self._files.items() if each[0] == person)]

    def get(self, person: str, file_id: str) -> StoredFile | None:
        """The file, if it is this person's and still here."""
        self.forget_old()
        owner, _, file = self._files.get(file_id, ("", 0.0, None))
        return file if owner == person else None

    def forget(self, person: str) -> None:
        self._files = {key: each for key, each in self._files.items() if each[0] != person}

    def forget_old(self) -> None:
        """Drop what has been here for long enough."""
        now = self._clock()
        self._files = {key: each for key, each in self._files.items() if each[1] > now}

"""What people send, handled for each of them in the order in which it came, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from adapters.web.tasks import Tasks

MAX_WAITING = 50
"""For one person; the page sends again what was not accepted, so more than that is nobody's typing."""
_MAX_BYTES = 64 * 1024 * 1024

Work = Callable[[], Awaitable[None]]


class Full(Exception):
    """Too much waits already; nothing was taken."""


class Inbound:
    """One queue for each person. While the storage is away, what a person sent waits here in its order."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._queues: dict[str, deque[tuple[Work, int]]] = {}
        self._bytes = 0

    def put(self, person: str, work: Work, size: int = 0) -> None:
        """Do the work after what this person sent before.

        Args:
            size: roughly the bytes that wait with it.

        Raises:
            Full: if too much waits already.
        """
        waiting = len(self._queues.get(person, ()))
        if waiting >= MAX_WAITING or self._bytes + size > _MAX_BYTES:
            raise Full
        self._bytes += size
        queue = self._queues.setdefault(person, deque())
        queue.append((work, size))
        if len(queue) == 1:
            self._tasks.begin(self._serve(person, queue))

    async def _serve(self, person: str, queue: deque[tuple[Work, int]]) -> None:
        while queue:
            work, size = queue[0]
            try:
                await work()
            except Exception as error:  # the next one is handled all the same
                self._tasks.faults.say("a message of the page failed", error)
            finally:
                queue.popleft()
                self._bytes -= size
        del self._queues[person]

"""Which processes live: a lease with a heartbeat, by no clock that could be set.

Every process counts up its beat. Another one that has watched the beat stand still for `LEASE_S` of its own monotonic
clock removes its row, and then whatever belonged to it is anybody's. A process whose row was removed ends: it was
stopped for so long that others may be answering in its place. Before it says anything after such a stop, or while its
own heartbeats do not get through, it looks whether its row is still there (`Lease.held`). One that died on this machine
is noticed at once.

Heartbeats have connections and threads of their own, so no other call of the process delays them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from adapters.storage.database.database import Database
from adapters.storage.errors import DatabaseFailure, Down
from adapters.storage.sql.tables import processes

BEAT_S = 2.0
LEASE_S = 10.0
BEAT_WITHIN_S = 3.0
"""How long one heartbeat may take; then the next one is tried by another connection, well within the lease."""
_AGAIN_S = 0.1
"""After a heartbeat that failed, for which somebody may wait."""
_STATE, _START_TIME = 0, 19
"""The fields of /proc/PID/stat after the name, proc(5)."""
_TERMINATED = "ZX"
"""States of a process that runs no more and was not reaped yet."""


class LeaseLost(DatabaseFailure):
    """Others have taken over what this process was doing."""


class Watch:
    """What one process has seen of the others' beats. Pure."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at = float("-inf")

    def dead(self, beats: Mapping[str, int], now: float) -> list[str]:
        """Whose beat has stood still for a lease, while this process looked regularly."""
        if now - self._looked_at > LEASE_S / 2:
            self._seen.clear()
        self._looked_at = now
        for process, beat in beats.items():
            if self._seen.get(process, (None, 0.0))[0] != beat:
                self._seen[process] = beat, now
        self._seen = {process: seen for process, seen in self._seen.items() if process in beats}
        return [process for process, (_, since) in self._seen.items() if now - since >= LEASE_S]


class Lease:
    """What a process knows of its own lease. `hold_lease` gives it."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._held_at = self._ran_at = self._now()
        self._stood_still = self._is_lost = False
        self._tried = asyncio.Event()
        self._wanted = asyncio.Event()

    async def held(self) -> bool:
        """Return when no other process can have taken over unnoticed; never if one has. False if it was known at once.

        To be called before others are told anything. After half a lease without a sign a heartbeat is waited for. It
        has to be made; while the server is away for everybody nobody can take over, so that is a sign, too. But not
        after a stop: there was time to take over before the server went away.
        """
        if not self._is_doubtful():
            return False
        while self._is_doubtful():
            self._tried.clear()
            self._wanted.set()
            await self._tried.wait()
        return True

    def _is_doubtful(self) -> bool:
        return self._is_lost or self._stood_still or self._now() - self._held_at > LEASE_S / 2

    async def due(self) -> None:
        """Return when the next heartbeat is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await self._wanted.wait()
        self._wanted.clear()
        self.runs()

    def runs(self) -> None:
        """The heart has its turn. It waits for nothing as long as half a lease, unless the process stands still."""
        now = self._now()
        self._stood_still |= now - self._ran_at > LEASE_S / 2
        self._ran_at = now

    def made(self, began_at: float) -> None:
        """A heartbeat that began then was made."""
        self.runs()
        self._held_at = began_at  # not its end: the process may have stood still while the answer was on its way
        self._stood_still &= self._now() - began_at > LEASE_S / 2
        self._tried.set()

    def failed(self, began_at: float, *, is_down: bool) -> None:
        """A heartbeat that began then was not made; `is_down`: the server takes nobody's."""
        self.runs()
        if is_down and not self._stood_still:
            self._held_at = began_at
        self._tried.set()

    def lost(self) -> None:
        """Another process has taken over."""
        self._is_lost = True


def new_process() -> str:
    """A name for this process: where and which it is, as far as the system tells. Blocks."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{secrets.token_hex(8)}"


@asynccontextmanager
async def hold_lease(database: Database, process: str) -> AsyncIterator[Lease]:
    """The process is known to live inside of this.

    Raises:
        LeaseLost: in a group, from inside, when it has not shown a beat for too long.
        StorageError: the database fails at the start.
    """
    born = insert(processes).values(id=process, beat=0)
    await database.beat(lambda connection: connection.execute(born))
    await _bury_neighbours(database, process)
    lease = Lease()
    try:
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(_beat(database, process, lease))
            yield lease
            heart.cancel()
    finally:
        with suppress(DatabaseFailure, TimeoutError):
            async with asyncio.timeout(BEAT_WITHIN_S):
                await _bury(database, process)


async def _beat(database: Database, process: str, lease: Lease) -> None:
    watch, now = Watch(), asyncio.get_running_loop().time
    while True:
        await lease.due()
        began_at = now()
        try:
            async with asyncio.timeout(BEAT_WITHIN_S):
                beats = await database.beat(partial(_beats, process=process))
            lease.made(began_at)
            async with asyncio.timeout(BEAT_WITHIN_S):
                for dead in watch.dead(beats, now()):
                    await _bury(database, dead, processes.c.beat == beats[dead])
                await _bury_neighbours(database, process)
            lease.runs()
        except LeaseLost:
            lease.lost()
            raise
        except (DatabaseFailure, TimeoutError) as error:
            # Nobody's beat can be seen either: what was seen counts no more when it is back.
            lease.failed(began_at, is_down=isinstance(error, Down))
            await asyncio.sleep(_AGAIN_S)


def _beats(connection: Connection, process: str) -> dict[str, int]:
    """Show a beat, and return those of the others. Raises LeaseLost: if the process was removed."""
    own = processes.c.id == process
    if not connection.execute(update(processes).where(own).values(beat=processes.c.beat + 1)).rowcount:
        raise LeaseLost("This process stood still for so long that another one took over; start it again.")
    return {row.id: row.beat for row in connection.execute(select(processes).where(~own))}


async def _bury_neighbours(database: Database, process: str) -> None:
    query = select(processes.c.id).where(processes.c.id != process)
    others = await database.beat(lambda connection: connection.scalars(query).all())
    for other in await asyncio.to_thread(_certainly_dead, others):
        await _bury(database, other)


async def _bury(database: Database, process: str, *still: ColumnElement[bool]) -> None:
    dead = delete(processes).where(processes.c.id == process, *still)
    await database.beat(lambda connection: connection.execute(dead))


def _certainly_dead(others: Sequence[str]) -> list[str]:
    machine = _machine()
    parts = [(other, *other.split("/")) for other in others if other.count("/") == 3]
    return [
        other
        for other, where, number, started, _ in parts
        if machine and where == machine and _is_gone(int(number), started)
    ]


def _is_gone(number: int, started: str) -> bool:
    """Whether this machine has no process any more with that number and that time of its start."""
    if fields := _fields(number):
        return fields[_STATE] in _TERMINATED or fields[_START_TIME] != started
    # What cannot be read, because /proc hides it or this process has no file left to open, may well be running.
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _machine() -> str:
    """The boot and the space of process numbers that this process is in; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}".replace("/", "")
    except OSError:
        return ""


def _started(number: int) -> str:
    """When that process was started, in ticks since the boot; "" where that cannot be read."""
    fields = _fields(number)
    return fields[_START_TIME] if fields else ""


def _fields(number: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none where that cannot be read."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []

"""Which processes live: a lease with a heartbeat, by no clock that could be set.

Every process counts up its beat. Another one that has watched the beat stand still for `LEASE_S` of its own monotonic
clock removes its row, and then whatever belonged to it is anybody's. A process whose row was removed ends: it was
stopped for so long that others may be answering in its place. One that died on this machine is noticed at once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from adapters.storage.database import Database
from adapters.storage.errors import StorageError
from adapters.storage.tables import processes

BEAT_S = 2.0
LEASE_S = 10.0
_START_TIME = 19
"""The field of /proc/PID/stat after the name, proc(5)."""


class LeaseLost(StorageError):
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


def new_process() -> str:
    """A name for this process: where and which it is, as far as the system tells. Blocks."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{secrets.token_hex(8)}"


@asynccontextmanager
async def living(database: Database, process: str) -> AsyncIterator[None]:
    """The process is known to live inside of this.

    Raises:
        LeaseLost: in a group, from inside, when it has not shown a beat for too long.
        StorageError: the database fails at the start.
    """
    born = insert(processes).values(id=process, beat=0)
    await database.write(lambda connection: connection.execute(born))
    await _bury_neighbours(database, process)
    try:
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(_beat(database, process))
            yield
            heart.cancel()
    finally:
        with suppress(StorageError):
            await _bury(database, process)


async def _beat(database: Database, process: str) -> None:
    watch, now = Watch(), asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(BEAT_S)
        try:
            beats = await _beats(database, process)
            for dead in watch.dead(beats, now()):
                await _bury(database, dead, processes.c.beat == beats[dead])
            await _bury_neighbours(database, process)
        except LeaseLost:
            raise
        except StorageError:
            continue  # nobody's beat can be seen either: what was seen before counts no more when it is back


async def _beats(database: Database, process: str) -> dict[str, int]:
    """Shows a beat, and sees those of the others."""
    own = processes.c.id == process

    def write(connection: Connection) -> dict[str, int]:
        if not connection.execute(update(processes).where(own).values(beat=processes.c.beat + 1)).rowcount:
            raise LeaseLost("This process stood still for so long that another one took over; start it again.")
        return {row.id: row.beat for row in connection.execute(select(processes).where(~own))}

    return await database.write(write)


async def _bury_neighbours(database: Database, process: str) -> None:
    query = select(processes.c.id).where(processes.c.id != process)
    others = await database.read(lambda connection: connection.scalars(query).all())
    for other in await asyncio.to_thread(_certainly_dead, others):
        await _bury(database, other)


async def _bury(database: Database, process: str, *still: ColumnElement[bool]) -> None:
    dead = delete(processes).where(processes.c.id == process, *still)
    await database.write(lambda connection: connection.execute(dead))


def _certainly_dead(others: Sequence[str]) -> list[str]:
    machine = _machine()
    parts = [(other, *other.split("/")) for other in others if other.count("/") == 3]
    return [
        other
        for other, where, number, started, _ in parts
        if machine and where == machine and _started(int(number)) != started
    ]


def _machine() -> str:
    """The boot and the space of process numbers that this process is in; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}".replace("/", "")
    except OSError:
        return ""


def _started(number: int) -> str:
    """When that process was started, in ticks since the boot; "" where there is none."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[_START_TIME]

"""PostgreSQL's side: its own programs copy and restore, where they are installed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, text

from adapters.data.progress import Tick
from adapters.storage.address import Address
from adapters.storage.errors import StorageError, in_one_sentence
from adapters.storage.schema import VERSION_TABLE
from adapters.storage.server import server_engine
from adapters.storage.tables import metadata

_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


async def backup(address: Address, target: Path, tick: Tick) -> None:
    """Copies our tables with pg_dump. Raises StorageError."""
    tables = [*metadata.tables, VERSION_TABLE]
    command = ["pg_dump", "--format=custom", "--no-owner", "--verbose", f"--file={target}"]
    command += [f"--table={table}" for table in tables]
    seen = 0

    def line(said: str) -> None:
        nonlocal seen
        seen += "dumping contents of table" in said
        tick(seen / len(tables))

    await _run(command, address, line)
    await asyncio.to_thread(target.chmod, 0o600)


async def restore(address: Address, source: Path, tick: Tick) -> None:
    """Replaces our tables in one transaction with pg_restore. Raises StorageError."""
    if await asyncio.to_thread(_others, address):
        raise StorageError(f"{address.where} is in use; stop the bot, then restore.")
    command = ["pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", "--verbose"]
    steps = 4 * len(metadata.tables)
    seen = 0

    def line(said: str) -> None:
        nonlocal seen
        seen += 1
        tick(seen / steps)

    await _run([*command, str(source)], address, line)


async def vacuum(address: Address, tick: Tick) -> None:
    """VACUUM ANALYZE of our tables, one after the other; nobody has to wait for it. Raises StorageError."""
    await asyncio.to_thread(_vacuum, address, tick)


def _vacuum(address: Address, tick: Tick) -> None:
    with in_one_sentence(address.where), _connected(address) as connection:
        for number, table in enumerate(metadata.tables):
            tick(number / len(metadata.tables))
            connection.execute(text(f'VACUUM (ANALYZE) "{table}"'))


def _others(address: Address) -> int:
    with in_one_sentence(address.where), _connected(address) as connection:
        return int(connection.execute(text(_OTHERS)).scalar_one())


@contextmanager
def _connected(address: Address) -> Iterator[Connection]:
    engine = server_engine(address)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


async def _run(command: list[str], address: Address, line: Callable[[str], None]) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise StorageError(f"{command[0]} is not installed here; install PostgreSQL's client programs and try again.")
    # The password is in the environment: everybody can read a command line.
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        f"--dbname={_without_password(address.url)}",
        env=os.environ | {"PGPASSWORD": address.url.password or "", "LC_ALL": "C"},
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    last = ""
    if process.stderr is not None:
        async for raw in process.stderr:
            last = raw.decode(errors="replace").strip()
            line(last)
    if await process.wait():
        raise StorageError(f"{command[0]} failed: {last}")


def _without_password(url: URL) -> str:
    return url.set(drivername="postgresql", password=None).render_as_string()

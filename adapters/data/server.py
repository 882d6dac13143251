"""PostgreSQL's side: its own programs copy and restore, where they are installed. Everything here blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from sqlalchemy import URL, Connection, text

from adapters.data.files import check_version, named_when_whole
from adapters.data.progress import Tick
from adapters.storage.database.address import Address
from adapters.storage.database.postgres_backend import server_engine
from adapters.storage.database.schema import VERSION_TABLE
from adapters.storage.errors import DatabaseFailure, in_one_sentence
from adapters.storage.sql.tables import metadata

_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def backup(address: Address, target: Path, tick: Tick) -> None:
    """Copies our tables with pg_dump.

    Raises:
        StorageError: the program fails or is missing, or the target is there or cannot be written.
    """
    tables = [*metadata.tables, VERSION_TABLE]
    seen = 0

    def line(said: str) -> None:
        nonlocal seen
        seen += "dumping contents of table" in said
        tick(seen / len(tables))

    with named_when_whole(target) as part:
        command = ["pg_dump", "--format=custom", "--no-owner", "--verbose", f"--file={part}"]
        _run([*command, *(f"--table={table}" for table in tables)], address, line)


def restore(address: Address, source: Path, tick: Tick) -> None:
    """Replaces our tables in one transaction with pg_restore.

    Raises:
        StorageError: the backup cannot be used, or somebody uses the database.
    """
    if not source.is_file():
        raise DatabaseFailure(f"There is no backup at {source}.")
    tables = _tables_in(source)
    if VERSION_TABLE not in tables:
        raise DatabaseFailure(f"{source} is no backup of Partyline.")
    check_version(_version_of(source), source)
    if _others(address):
        raise DatabaseFailure(f"{address.where} is in use; stop the bot, then restore.")
    command = ["pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", "--verbose", str(source)]
    steps = 4 * len(metadata.tables)
    seen = 0

    def line(said: str) -> None:
        nonlocal seen
        seen += 1
        tick(seen / steps)

    _run(command, address, line)
    # An older version's backup says nothing of the tables that came later; their migrations are going to make them.
    _drop(address, metadata.tables.keys() - tables)


def vacuum(address: Address, tick: Tick) -> None:
    """VACUUM ANALYZE of our tables, one after the other; nobody has to wait for it. Raises StorageError."""
    with in_one_sentence(address.where), _connected(address) as connection:
        for number, table in enumerate(metadata.tables):
            tick(number / len(metadata.tables))
            connection.execute(text(f'VACUUM (ANALYZE) "{table}"'))


def _tables_in(source: Path) -> set[str]:
    """The names of the tables in a backup. Its list has lines such as "221; 1259 16402 TABLE public turns owner"."""
    entries = [line.split() for line in _said("--list", source).splitlines()]
    return {words[5] for words in entries if words[3:4] == ["TABLE"] and len(words) > 5}


def _version_of(source: Path) -> str:
    """The one row behind the line that says COPY."""
    lines = _said("--data-only", f"--table={VERSION_TABLE}", "--file=-", source).splitlines()
    return next((row for head, row in pairwise(lines) if head.startswith("COPY ")), "")


def _drop(address: Address, tables: Collection[str]) -> None:
    with in_one_sentence(address.where), _connected(address) as connection:
        for table in tables:
            connection.execute(text(f'DROP TABLE IF EXISTS "{table}"'))


def _others(address: Address) -> int:
    with in_one_sentence(address.where), _connected(address) as connection:
        return int(connection.execute(text(_OTHERS)).scalar_one())


@contextmanager
def _connected(address: Address) -> Iterator[Connection]:
    """Each statement is a transaction of its own."""
    engine = server_engine(address)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _said(*arguments: str | Path) -> str:
    """What pg_restore prints of a file. Raises StorageError."""
    done = subprocess.run([_program("pg_restore"), *arguments], capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise DatabaseFailure(f"{arguments[-1]} cannot be used: {_last_line(done.stderr)}")
    return done.stdout


def _run(command: list[str], address: Address, line: Callable[[str], None]) -> None:
    # The password is in the environment: everybody can read a command line.
    with subprocess.Popen(
        [_program(command[0]), *command[1:], f"--dbname={_without_password(address.url)}"],
        env=os.environ | {"PGPASSWORD": address.url.password or "", "LC_ALL": "C"},
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    ) as process:
        said = ""
        for said in process.stderr or ():
            line(said)
    if process.returncode:
        raise DatabaseFailure(f"{command[0]} failed: {_last_line(said)}")


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise DatabaseFailure(f"{name} is not installed here; install PostgreSQL's client programs and try again.")
    return program


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or [""])[-1]


def _without_password(url: URL) -> str:
    return url.set(drivername="postgresql", password=None).render_as_string()

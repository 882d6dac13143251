"""SQLite's side: a file is copied, replaced or tidied while others may have it open. Everything here blocks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from adapters.data.progress import Tick
from adapters.storage.database.schema import HEAD, VERSION_TABLE
from adapters.storage.errors import DatabaseFailure, in_one_sentence

_TIMEOUT_S = 10.0
_STEP_PAGES = 256
_LARGE_BYTES = 256 * 1024 * 1024
"""A larger file takes so long to tidy that a running bot would run out of patience with its own writes."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def stamp() -> str:
    """The time for a file's name, in the order of time: "20261125-204500"."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())


def unused(database: Path, word: str) -> Path:
    """A name beside the database that says what it is and when it was made, and that no file has."""
    name = f"{database.name}.{word}-{stamp()}"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(path for each in names if not (path := database.with_name(each)).exists())


def newest_backup(database: Path) -> Path | None:
    """The youngest of the backups that `backup` made beside this file."""
    return max(database.parent.glob(f"{database.name}.backup-*[0-9]"), default=None)


def check_there(database: Path) -> None:
    """Raises StorageError: there is no such file."""
    if not database.is_file():
        raise DatabaseFailure(f"There is no database at {database}; see PARTYLINE_DATABASE.")


def backup(database: Path, target: Path, tick: Tick) -> None:
    """Copies the database as it is at this moment; others may go on reading and writing.

    Raises:
        StorageError: there is no such database, it is damaged, or the target is there or cannot be written.
    """
    check_there(database)
    with (
        in_one_sentence(str(database)),
        named_when_whole(target) as part,
        closing(_connect(database)) as source,
        closing(_connect(part)) as copy,
    ):
        # With a transaction of its own, the copy does not begin anew whenever somebody writes.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy, pages=_STEP_PAGES, progress=_pages(tick))
        copy.execute("PRAGMA journal_mode=DELETE")
        _check_whole(copy, database)


def restore(source: Path, database: Path, tick: Tick) -> Path | None:
    """Puts the backup in the place of the database; returns where the database of before is kept.

    Either all of it is replaced or nothing, also when the program is killed in the middle.

    Raises:
        StorageError: the backup cannot be used, or somebody has the database open.
    """
    if not source.is_file():
        raise DatabaseFailure(f"There is no backup at {source}.")
    with in_one_sentence(str(source)), closing(_connect(source)) as backup_copy:
        _check_ours(backup_copy, source)
        _check_whole(backup_copy, source)
        with in_one_sentence(str(database)), _alone(database) as (connection, before):
            if connection is not None and before is not None:
                with closing(_connect(before)) as old:
                    connection.backup(old)
                tick(0.4)
            if connection is None:
                _new_file(database)
                connection = _connect(database)
            with closing(connection):
                backup_copy.backup(
                    connection, pages=_STEP_PAGES, progress=_pages(lambda share: tick(0.4 + 0.6 * share))
                )
    return before


def vacuum(database: Path, tick: Tick) -> tuple[int, int]:
    """Gives the space of what was deleted back to the disk; returns the bytes before and after.

    Raises:
        StorageError: there is no such database, or it is large and a bot is running.
    """
    check_there(database)
    before = database.stat().st_size
    with in_one_sentence(str(database)), closing(_connect(database)) as connection:
        if before > _LARGE_BYTES and _in_use(connection):
            size = f"{before / 1024**2:,.0f} MB"
            raise DatabaseFailure(f"{database} has {size} and a bot is running; stop it first, it would wait too long.")
        connection.execute("PRAGMA journal_mode=WAL")
        with _watched(Path(f"{database}-wal"), before, tick):
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, database.stat().st_size


@contextmanager
def named_when_whole(target: Path) -> Iterator[Path]:
    """A new file beside the target, which its owner alone can read; it gets its name at the end, or nothing is left.

    Raises:
        StorageError: the target is there, or cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    _new_file(target)
    try:
        part.unlink(missing_ok=True)  # of a run that was killed
        _new_file(part)
        yield part
        os.replace(part, target)
    except BaseException:
        target.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
        raise


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_TIMEOUT_S, isolation_level=None)


def _new_file(path: Path) -> None:
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise DatabaseFailure(f"{path} is there already; name another file.") from None
    except OSError as error:
        raise DatabaseFailure(f"{path} cannot be written ({error.strerror}); name another file.") from error


def _pages(tick: Tick) -> Callable[[int, int, int], None]:
    return lambda _status, remaining, total: tick(1 - remaining / total if total else 1.0)


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise DatabaseFailure(f"{path} is damaged ({found}); use an older backup.")


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if VERSION_TABLE not in tables:
        raise DatabaseFailure(f"{path} is no backup of Partyline.")
    (version,) = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    check_version(version, path)


def check_version(version: str, path: Path) -> None:
    """Raises StorageError: the backup is of a newer program."""
    if version > HEAD:
        raise DatabaseFailure(f"{path} was made by a newer Partyline (version {version}); install that one first.")


def _in_use(connection: sqlite3.Connection) -> bool:
    """Whether somebody else has the file open: only who is alone may leave WAL mode."""
    connection.execute("PRAGMA busy_timeout=500")
    try:
        return bool(connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return True
    finally:
        connection.execute(f"PRAGMA busy_timeout={_TIMEOUT_S * 1000:.0f}")


@contextmanager
def _alone(database: Path) -> Iterator[tuple[sqlite3.Connection | None, Path | None]]:
    """A connection that nobody else can come beside, and a new file for what is there.

    Where the file is missing, or too damaged to be opened and therefore moved away, there is no connection.
    """
    if not database.exists():
        yield None, None
        return
    before = unused(database, "before-restore")
    with closing(_connect(database)) as connection:
        try:
            if _in_use(connection):
                raise DatabaseFailure(f"{database} is open in a running bot; stop it, then restore.")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            _check_readable(connection)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
        else:
            _new_file(before)
            yield connection, before
            return
    for ending in ("", "-wal", "-shm"):
        with_ending = Path(f"{database}{ending}")
        if with_ending.exists():
            with_ending.rename(f"{before}{ending}")
    yield None, before


def _check_readable(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        error = sqlite3.DatabaseError("damaged")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


@contextmanager
def _watched(file: Path, expected: int, tick: Tick) -> Iterator[None]:
    """Ticks as the file grows to the expected size."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            tick(file.stat().st_size / max(1, expected) if file.exists() else 0.0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()

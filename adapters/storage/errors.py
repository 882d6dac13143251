"""Every way in which storage fails, as one sentence that says what to do next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

ELSEWHERE = "name another one with PARTYLINE_DATABASE"

_SQLITE_SENTENCES = {
    sqlite3.SQLITE_NOTADB: f"{{where}} is not an SQLite database; move it away or {ELSEWHERE}.",
    sqlite3.SQLITE_CORRUPT: (
        f"{{where}} is damaged; put the newest backup in its place with `partyline data restore`, or {ELSEWHERE}."
    ),
    sqlite3.SQLITE_READONLY: f"{{where}} cannot be written; allow writing to it and to its folder, or {ELSEWHERE}.",
    sqlite3.SQLITE_CANTOPEN: (
        f"{{where}} cannot be opened; see that it is a file and that its folder can be written, or {ELSEWHERE}."
    ),
    sqlite3.SQLITE_BUSY: "{where} is locked by another program; close that program and try again.",
    sqlite3.SQLITE_FULL: "The disk that holds {where} is full; free some space and try again.",
    sqlite3.SQLITE_IOERR: "The disk that holds {where} failed; see the system's log, then try again.",
}
_PRIMARY_CODE = 0xFF  # the lower byte of an extended SQLite code, sqlite.org/rescode.html


class StorageError(Exception):
    """The database cannot be used, or refused a call; its text is one sentence for people, without any secret."""


class Taken(StorageError):
    """A value that must be unique is somebody else's already; nothing was changed."""


@contextmanager
def in_one_sentence(where: str) -> Iterator[None]:
    """Turns the errors of the driver and of the network into `StorageError`; `where` names the database for people."""
    try:
        yield
    except IntegrityError as error:
        raise Taken(f"{where} holds that already; nothing was changed.") from error
    except DBAPIError as error:
        raise StorageError(_sentence(error.orig, where)) from error
    except sqlite3.Error as error:
        raise StorageError(_sentence(error, where)) from error
    except (OSError, PoolTimeout) as error:
        raise StorageError(_unreachable(error, where)) from error


def _sentence(error: BaseException | None, where: str) -> str:
    if isinstance(error, sqlite3.Error):
        # Errors that the sqlite3 module raises by itself carry no code.
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        known = _SQLITE_SENTENCES.get(code)
        return known.format(where=where) if known else f"{where} refused a call: {error}."
    return _unreachable(error, where)


def _unreachable(error: BaseException | None, where: str) -> str:
    # Only the kind of the error: a server's own words may repeat what was sent to it.
    return (
        f"{where} cannot be used ({type(error).__name__}); see that it runs and that address, user and password in "
        "PARTYLINE_DATABASE are right."
    )

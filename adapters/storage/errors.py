"""Every way in which storage fails, as one sentence that says what to do next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bots import ports

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


# Connection exceptions, too many connections, and a server that shuts down or starts: PostgreSQL, appendix A.
_AWAY_STATES = ("08", "53300", "57P")
_NO_RIGHT = "42501"
# What a server says to a new connection, without a state, that will be true no more in a moment.
_SOON_OVER = ("starting up", "shutting down", "recovery", "accepting connections", "too many", "connection slots")
# What a new connection hears of a server that serves nobody: where it should listen, nobody does, or it says so itself.
_DOWN = ("Connection refused", "No such file or directory", *_SOON_OVER[:4])


class DatabaseFailure(ports.StorageError):
    """The database cannot be used, or refused a call; its text is one sentence for people, without any secret."""


class DatabaseAway(DatabaseFailure):
    """The server cannot be reached, or has hung up: it may be back soon."""


class Down(DatabaseAway):
    """The server takes nobody's connection, as far as can be told."""


class Locked(DatabaseFailure):
    """Another program kept the file locked for as long as a call may wait."""


class WriteRefused(DatabaseFailure):
    """The database never takes this, however often it is tried: its value, or the call itself; nothing was changed."""


class Taken(WriteRefused):
    """A value that must be unique is somebody else's already."""


@contextmanager
def in_one_sentence(where: str) -> Iterator[None]:
    """Turns the errors of the driver and of the network into `DatabaseFailure`; `where` names the database for
    people."""
    try:
        yield
    except IntegrityError as error:
        raise Taken(f"{where} holds that already; nothing was changed.") from error
    except DBAPIError as error:
        kind = _kind(error)
        raise kind(_refusal(error.orig, where) if kind is WriteRefused else _sentence(error.orig, where)) from error
    except sqlite3.Error as error:
        raise DatabaseFailure(_sentence(error, where)) from error
    except (OSError, PoolTimeout) as error:
        raise DatabaseAway(_unreachable(error, where)) from error


def _kind(error: DBAPIError) -> type[DatabaseFailure]:
    if getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_BUSY:
        return Locked
    if isinstance(error, DataError | NotSupportedError) or _is_no_call(error):
        return WriteRefused
    if not _hung_up(error):
        return DatabaseFailure
    return Down if _is_down(error) else DatabaseAway


def _is_down(error: DBAPIError) -> bool:
    """Not where there is no way to the server from here: others may have one."""
    return error.statement is None and any(words in str(error.orig) for words in _DOWN)


def _is_no_call(error: DBAPIError) -> bool:
    """Whether the call itself is wrong, such as a table or a column that is not there; a missing right can be given."""
    if error.connection_invalidated:
        return False
    if isinstance(error.orig, sqlite3.Error):
        # What is programmed wrongly has this code there, and is called operational.
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code == sqlite3.SQLITE_ERROR or isinstance(error, ProgrammingError)
    return isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) != _NO_RIGHT


def _hung_up(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    # The driver gives no state to a connection that cannot be made.
    unreachable = isinstance(error, OperationalError) and not state and error.statement is None
    if unreachable and "FATAL" in (said := str(error.orig)):
        # It was reached, and refuses: the user, the password or the name of the database is wrong.
        return any(words in said for words in _SOON_OVER)
    return error.connection_invalidated or unreachable or state.startswith(_AWAY_STATES)


def _refusal(error: BaseException | None, where: str) -> str:
    if isinstance(error, sqlite3.Error):
        return _sentence(error, where)
    # Only the kind, as below.
    return f"{where} refuses this call ({type(error).__name__}), also if it is made again; nothing was changed."


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

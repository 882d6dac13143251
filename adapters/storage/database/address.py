"""Which database a text means: a path, an SQLite URL or a PostgreSQL URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from adapters.storage.errors import DatabaseFailure

_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_POSTGRESQL = {"postgres", "postgresql", "postgresql+psycopg"}
_EXPECTED = (
    "PARTYLINE_DATABASE is neither the path of a file nor an address such as sqlite:///partyline.sqlite3 or "
    "postgresql://user:password@host/name (an @ in the password is written %40); correct it."
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database that can be opened.

    Args:
        url: with the driver, and with the password: never to be shown.
        where: names the database for people, without user and password.
        path: the file of an SQLite database, None for PostgreSQL.
    """

    url: URL
    where: str
    path: Path | None = None


def parse_address(text: str) -> Address:
    """Reads a bare path (`~` allowed), `sqlite:///path` or `postgresql://user:password@host/name`.

    Raises:
        StorageError: the text is none of these.
    """
    if "://" not in text:
        return _file(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseFailure(_EXPECTED) from None  # the cause quotes the text, which may hold a password
    if url.drivername in _SQLITE and not url.query and not url.host:
        return _file(url.database or "")
    if url.drivername in _POSTGRESQL and url.database and not _is_torn(text, url):
        return _server(url)
    raise DatabaseFailure(_EXPECTED)


def hidden_password(text: str) -> str:
    """The address for people to read; of what is none, and may hold a password at any place, the beginning alone."""
    scheme, is_address, _ = text.partition("://")
    if not is_address:
        return text
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return f"{scheme}://***"
    if _is_torn(text, url):
        return f"{scheme}://***"
    url = url.set(query={key: value for key, value in url.query.items() if "password" not in key})
    return url.render_as_string(hide_password=True)


def _is_torn(text: str, url: URL) -> bool:
    """Whether a part of the password is taken for something else: one with a bare "@" in it, or behind a bare "/"."""
    return text.partition("?")[0].count("@") > 1 or "@" in (url.database or "")


def _file(text: str) -> Address:
    if not text.strip() or text == ":memory:" or "\0" in text:
        raise DatabaseFailure(_EXPECTED)
    path = Path(text).expanduser()
    return Address(URL.create("sqlite", database=str(path)), str(path), path)


def _server(url: URL) -> Address:
    where = f"The PostgreSQL database {url.database} on {url.host or 'this machine'}"
    return Address(url.set(drivername="postgresql+psycopg"), where)

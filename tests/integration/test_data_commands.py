"""`partyline data` on SQLite: what it does, what it refuses, and that nothing is ever half done."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.cli import run
from adapters.data.progress import Bar, progress
from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from bots.ports import Turn
from tests.fakes import keep_turn
from tests.integration.test_storage_database import start

WORDS = "word " * 400


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data" / "partyline.sqlite3"
    monkeypatch.setenv("PARTYLINE_DATABASE", str(path))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def running(path: Path) -> Iterator[None]:
    """A bot has the database open."""
    fill(path)
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("SELECT * FROM preferences").fetchall()
        yield


def fill(path: Path, seed: str = "1", turns: int = 0) -> None:
    async def work() -> None:
        async with open_database(str(path)) as database:
            storage = SqlStorage(database)
            await storage.set_preferences("web:ann", {"seed": seed})
            for number in range(turns):
                turn = Turn(id=f"t{number}", chat="c", person="web:ann", role="user", text=WORDS)
                await keep_turn(storage, turn)

    asyncio.run(work())


def seed(path: Path, person: str = "web:ann") -> str | None:
    async def work() -> str | None:
        async with open_database(str(path)) as database:
            return (await SqlStorage(database).preferences(person)).get("seed")

    return asyncio.run(work())


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def test_a_backup_is_restored(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(path, "1", turns=500)
    assert run(["data", "backup"]) == 0
    (backup,) = path.parent.glob("*.backup-*")
    assert backup.stat().st_mode & 0o777 == 0o600
    fill(path, "2")
    assert run(["data", "restore", "--yes"]) == 0
    assert seed(path) == "1"
    (before,) = path.parent.glob("*.before-restore-*")
    assert (seed(before), whole(path), path.stat().st_mode & 0o777) == ("2", True, 0o600)
    said = capsys.readouterr()
    assert str(backup) in said.out
    for title in ("Backing up", "Restoring"):
        assert f"{title} [{'.' * 30}]   0%" in said.err
        assert f"{title} [{'#' * 30}] 100%" in said.err


def test_a_backup_is_made_while_another_process_writes(path: Path) -> None:
    fill(path, turns=2000)
    with start(path, "web:bob", 1_000_000) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            confirmed = int(writer.stdout.readline())
        assert run(["data", "backup", "copy.sqlite3"]) == 0
        writer.kill()
    with closing(sqlite3.connect("copy.sqlite3")) as copy:
        (value,) = copy.execute("SELECT value FROM preferences WHERE person = 'web:bob'").fetchone()
        assert copy.execute("SELECT count(*) FROM turns").fetchone() == (2000,)
    assert int(value) >= confirmed
    assert whole(Path("copy.sqlite3"))
    assert not list(Path().glob("copy.sqlite3?*"))


def test_a_file_that_is_there_is_never_written_over(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(path)
    Path("mine").write_text("precious")
    assert run(["data", "backup", "mine"]) == 1
    assert "there already" in capsys.readouterr().err
    assert Path("mine").read_text() == "precious"
    assert run(["data", "backup", "no/such/folder"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_restore_waits_for_no_bot(running: None, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "backup", "copy.sqlite3"]) == 0
    assert run(["data", "restore", "copy.sqlite3", "--yes"]) == 1
    assert "stop it, then restore" in capsys.readouterr().err
    assert seed(path) == "1"
    assert not list(path.parent.glob("*.before-restore-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from adapters.data.files import restore

def tick(share):
    if share > 0.7:
        os.kill(os.getpid(), signal.SIGKILL)

restore(Path(sys.argv[1]), Path(sys.argv[2]), tick)
"""


def test_a_restore_that_is_killed_changes_nothing(path: Path) -> None:
    fill(path, "1", turns=1500)
    assert run(["data", "backup", "copy.sqlite3"]) == 0
    fill(path, "2")
    killed = subprocess.run([sys.executable, "-c", KILLED, "copy.sqlite3", str(path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (seed(path), whole(path)) == ("2", True)
    assert run(["data", "restore", "copy.sqlite3", "--yes"]) == 0
    assert seed(path) == "1"


@pytest.mark.parametrize("damage", ["missing", "no database", "a broken page"])
def test_a_backup_takes_the_place_of_what_is_lost(path: Path, damage: str) -> None:
    fill(path, turns=500)
    assert run(["data", "backup"]) == 0
    if damage == "missing":
        path.unlink()
    elif damage == "no database":
        path.write_bytes(b"junk" * 5000)
    else:
        with path.open("r+b") as file:
            file.seek(4096 * 30)
            file.write(b"\xff" * 4096 * 4)
    assert run(["data", "restore", "--yes"]) == 0
    assert (seed(path), whole(path)) == ("1", True)


@pytest.mark.parametrize("kind", ["missing", "no database", "another program's", "newer", "damaged"])
def test_what_is_no_backup_is_refused(path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(path)
    copy = Path("copy.sqlite3")
    if kind == "no database":
        copy.write_bytes(b"junk" * 5000)
    elif kind != "missing":
        fill(path, turns=500)
        assert run(["data", "backup", str(copy)]) == 0
        with closing(sqlite3.connect(copy)) as connection:
            if kind == "another program's":
                connection.execute("DROP TABLE partyline_version")
            elif kind == "newer":
                connection.execute("UPDATE partyline_version SET version_num = '9999'")
            connection.commit()
    if kind == "damaged":
        with copy.open("r+b") as file:
            file.seek(4096 * 30)
            file.write(b"\xff" * 4096 * 4)
    capsys.readouterr()
    assert run(["data", "restore", str(copy), "--yes"]) == 1
    assert "copy.sqlite3" in capsys.readouterr().err
    assert seed(path) == "1"


def test_without_a_terminal_and_without_yes_nothing_is_done(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes"))
    assert run(["data", "restore"]) == 2
    assert "no backup" in capsys.readouterr().err
    fill(path)
    assert run(["data", "erase", "web:ann"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert seed(path) == "1"


def test_a_person_is_exported_and_erased_while_a_bot_runs(running: None, path: Path) -> None:
    assert run(["data", "export", "web:ann"]) == 0
    assert run(["data", "export", "web:ann", "ann.json"]) == 0
    kept = json.loads(Path("ann.json").read_text())
    assert kept["settings"] == {"seed": "1"}
    assert Path("partyline-data.json").exists()
    assert run(["data", "erase", "web:ann", "--yes"]) == 0
    assert seed(path) is None


def test_space_is_given_back_while_a_bot_runs(
    running: None, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, turns=500)
    assert run(["data", "erase", "web:ann", "--yes"]) == 0
    before = path.stat().st_size
    assert run(["data", "vacuum"]) == 0
    assert path.stat().st_size < before / 2
    assert "kB became" in capsys.readouterr().out
    assert whole(path)
    monkeypatch.setattr("adapters.data.files._LARGE_BYTES", 1)
    assert run(["data", "vacuum"]) == 1
    assert "stop it first" in capsys.readouterr().err


def test_who_has_nothing_but_a_link_is_erased(path: Path) -> None:
    async def link() -> None:
        async with open_database(str(path)) as database:
            storage = SqlStorage(database)
            await storage.put_code("code", "web:ann", 1.0)
            await storage.request("code", "telegram:1", 0.0, 1.0)
            await storage.accept("web:ann", 0.0)

    asyncio.run(link())
    assert run(["data", "erase", "web:ann", "--yes"]) == 0
    assert run(["data", "erase", "web:ann", "--yes"]) == 1


def test_nobody_is_told_that_somebody_unknown_was_erased(
    running: None, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "erase", "web:anne", "--yes"]) == 1
    assert run(["data", "export", "web:anne"]) == 1
    said = capsys.readouterr()
    assert said.err.count("keeps nothing of web:anne") == 2
    assert said.out == ""
    assert not Path("partyline-data.json").exists()


@pytest.mark.parametrize("what", [["backup"], ["vacuum"], ["export", "web:ann"], ["erase", "web:ann", "--yes"]])
def test_a_database_that_is_not_there_is_a_sentence(
    path: Path, what: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", *what]) == 1
    assert f"no database at {path}" in capsys.readouterr().err
    assert not path.parent.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_fills_in_one_line_and_never_empties() -> None:
    terminal = Terminal()
    bar = Bar("Work", terminal)
    for share in (0.0, 0.5, 0.2, 7.0):
        bar(share)
    shown = terminal.getvalue().split("\r")[1:]
    assert [line[-5:].strip() for line in shown] == ["0%", "50%", "100%"]
    assert terminal.getvalue().endswith("\n")


def test_a_bar_is_not_full_where_the_work_failed() -> None:
    terminal = Terminal()

    def work() -> None:
        with progress("Work", terminal) as tick:
            tick(1.0)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert "100%" not in terminal.getvalue()
    assert terminal.getvalue().endswith("99%\n")

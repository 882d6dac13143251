"""`partyline bench` from outside, with a model whose speed is known and with the demo's."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes import script
from tests.integration.test_cli import Partyline

SLOW = {"match": "story", "answer": "one two three four " * 3, "tokens_per_s": 3, "first_token_s": 0.0}
QUICK = SLOW | {"answer": "word " * 40, "tokens_per_s": 400}


def partyline(folder: Path, line: dict[str, object]) -> Partyline:
    program = Partyline(folder)
    program.environ["PARTYLINE_MODEL"] = f"scripted:{script(folder, line)}"
    return program


def test_it_asks_more_and_more_people_and_ends_with_a_verdict(tmp_path: Path) -> None:
    done = partyline(tmp_path, QUICK)("bench", "--people", "4", "--tokens", "40")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "4"]
    assert "serves at least 4 people at once at reading speed." in lines[-1]
    assert "4 people [" in done.stderr
    assert "100%" in done.stderr


def test_a_model_that_is_slower_than_people_read_is_told_so(tmp_path: Path) -> None:
    done = partyline(tmp_path, SLOW)("bench", "--json", "--tokens", "8")
    told = json.loads(done.stdout)
    assert told["serves"] == 0
    assert "slower than people read" in told["verdict"]
    [crowd] = told["crowds"]
    assert crowd["people"] == 1
    assert 0 < crowd["words_a_minute"] < 238


@pytest.mark.timeout(300)
def test_the_demo_model_on_this_machine(tmp_path: Path) -> None:
    done = Partyline(tmp_path)("bench", "--demo", "--json", "--people", "2", "--tokens", "12")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["model"].startswith("SmolLM2-135M-Instruct on ")
    assert told["crowds"][0]["tokens_a_second"] > 0
    assert told["serves"] <= 2


def test_wrong_use_is_a_sentence(tmp_path: Path) -> None:
    for wrong in ("0", "many", "-3"):
        done = partyline(tmp_path, QUICK)("bench", f"--people={wrong}")
        assert done.returncode == 2
        assert "allowed: 1 to 10000" in done.stderr


def _takes_interrupts() -> None:
    """What is started in the background of a shell without job control ignores SIGINT, and its children as well."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    program = partyline(tmp_path, SLOW | {"answer": "word " * 5000, "tokens_per_s": 20})
    command = program.command("bench", "--tokens", "5000")
    with subprocess.Popen(
        command, cwd=tmp_path, env=program.environ, stderr=subprocess.PIPE, text=True, preexec_fn=_takes_interrupts
    ) as process:
        assert process.stderr is not None
        while "1 person [" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in rest

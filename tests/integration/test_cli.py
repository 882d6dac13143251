"""`partyline` from outside: exit codes, what goes to stdout and what to stderr."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import script

LINES: tuple[dict[str, Any], ...] = (
    {"match": "think", "answer": "<think>hm hm</think>\n\nforty two"},
    {"match": "slow", "answer": "word " * 2000, "tokens_per_s": 50},
    {"match": "code", "answer": "```python\nprint(1)\n```"},
)


class Partyline:
    """Runs the program in a folder of its own with a scripted model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
        self.environ["PARTYLINE_MODEL"] = f"scripted:{script(folder, *LINES)}"

    def __call__(self, *arguments: str, stdin: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", "from adapters.cli import main; main()", *arguments]


@pytest.fixture
def partyline(tmp_path: Path) -> Partyline:
    return Partyline(tmp_path)


def events(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def one_sentence(stderr: str) -> str:
    said = [line for line in stderr.splitlines() if line.startswith("partyline: ")]
    assert len(said) == 1, stderr
    assert "Traceback" not in stderr
    return said[0]


def test_ask_streams_the_answer_to_stdout(partyline: Partyline) -> None:
    done = partyline("ask", "/code something")
    assert (done.returncode, done.stdout) == (0, "```python\nprint(1)\n```\n")
    assert "ready" in done.stderr


def test_ask_json_says_one_event_a_line(partyline: Partyline) -> None:
    done = partyline("ask", "think", "--json", "--temperature", "0,3")
    *said, last = events(done.stdout)
    assert {event["event"] for event in said} == {"thinking", "text"}
    assert "".join(event["text"] for event in said if event["event"] == "thinking") == "hm hm"
    assert (last["event"], last["reason"], last["text"]) == ("finished", "stop", "forty two")
    assert last["usage"]["thinking_tokens"] > 0
    assert last["timings"]["time_to_first_token_s"] >= 0
    assert last["timings"]["tokens_per_s"] > 0
    assert done.returncode == 0


def test_ask_reads_stdin(partyline: Partyline) -> None:
    assert partyline("ask", "-", stdin="say this").stdout == "say this\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ask"], "write a question"),
        (["ask", "  "], "write a question"),
        (["ask", "hi", "--temperature", "0"], "0.1 to 1"),
        (["ask", "hi", "--temperature", "nan"], "0.1 to 1"),
        (["ask", "hi", "--max-tokens", "9"], "10 to 500"),
        (["ask", "hi", "--image", "nowhere.png"], "nowhere.png"),
        (["ask", "hi", "--image", "no\n\x1b[31mwhere.png"], r"no\n\x1b[31mwhere.png"),
        (["demo", "--port", "99999"], "0 to 65535"),
        (["--config", "nowhere.toml", "check"], "nowhere.toml"),
        (["run"], "no platform"),
    ],
)
def test_wrong_use_is_2_with_one_sentence(partyline: Partyline, arguments: list[str], words: str) -> None:
    done = partyline(*arguments)
    assert done.returncode == 2
    assert words in one_sentence(done.stderr)


def test_unknown_arguments_are_2(partyline: Partyline) -> None:
    assert partyline("ask", "hi", "--wibble").returncode == 2
    assert partyline().returncode == 2


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PARTYLINE_WEB__PORT": "70000"}, "0 to 65535"),
        ({"PARTYLINE_WIBBLE": "1"}, "wibble"),
    ],
)
def test_a_wrong_setting_stops_the_start(partyline: Partyline, environ: dict[str, str], words: str) -> None:
    done = partyline("run", **environ)
    assert done.returncode == 2
    assert words in one_sentence(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["ask", "hi"], {"PARTYLINE_MODEL": "none.gguf"}, "none.gguf"),
        (["ask", "hi"], {"PARTYLINE_MODEL": "scripted:none"}, "none"),
        (["ask", "word " * 9000], {}, "9,004"),
        (["ask", "/wibble"], {}, "/help"),
        (["demo", "--port", "0"], {"PARTYLINE_DATABASE": "/dev/null/x.sqlite3"}, "database"),
    ],
)
def test_a_failure_is_1_with_one_sentence(
    partyline: Partyline, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    done = partyline(*arguments, **environ)
    assert done.returncode == 1, done.stderr
    assert words in one_sentence(done.stderr).lower()


@pytest.mark.parametrize(
    "arguments",
    [("ask", "/help"), ("ask", "/wibble\x1b[31m"), ("ask", "hi", "--image", "\x1b[31m.png"), ("chat",)],
)
def test_nothing_in_a_name_steers_the_terminal(partyline: Partyline, arguments: tuple[str, ...]) -> None:
    model = partyline.folder / "a\x1b[31mb\x9b1m.jsonl"
    model.write_text("")
    done = partyline(*arguments, stdin="/help\nhi\n", PARTYLINE_MODEL=f"scripted:{model}")
    assert not {"\x1b", "\x9b"} & {*done.stdout, *done.stderr}
    assert "[31m" in done.stdout + done.stderr


def test_a_failure_in_json_is_an_event_too(partyline: Partyline) -> None:
    done = partyline("ask", "word " * 9000, "--json")
    assert [event["event"] for event in events(done.stdout)] == ["failed"]
    assert done.returncode == 1


def test_a_picture_that_is_none(partyline: Partyline) -> None:
    (partyline.folder / "text.png").write_text("no picture")
    done = partyline("ask", "--image", "text.png", PARTYLINE_CAPTIONER="demo")
    assert done.returncode == 1
    assert "not a picture" in one_sentence(done.stderr)


def test_check_masks_secrets_and_says_what_is_missing(partyline: Partyline) -> None:
    done = partyline("check", TELEGRAM_TOKEN="s3cret")
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr
    assert "telegram.token = (set)" in done.stdout
    done = partyline("check", PARTYLINE_WEB__ENABLED="true")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Nothing is missing.")


def test_chat_remembers_over_a_restart(partyline: Partyline) -> None:
    first = partyline("chat", stdin="/temperature 0.4\nhello\n")
    assert first.returncode == 0
    assert "Temperature is now 0.4" in first.stdout
    assert "hello" in first.stdout
    second = partyline("chat", stdin="/temperature\n/regenerate\n")
    assert "Temperature is 0.4" in second.stdout
    assert "hello" in second.stdout


def test_no_word_after_an_at_sign_ends_the_conversation(partyline: Partyline) -> None:
    # Nobody may read this one from its beginning, whoever runs the test.
    (partyline.folder / "closed.png").symlink_to("/proc/self/mem")
    lines = ("hi @~nobody_here please", f"look @{'x' * 300}", "what is @closed.png", "still there")
    done = partyline("chat", stdin="\n".join(lines) + "\n")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "hi @~nobody_here please" in done.stdout
    assert "x" * 300 in done.stdout
    assert "I can't open `closed.png`" in done.stdout
    assert "what is" not in done.stdout
    assert "still there" in done.stdout


def test_ctrl_c_stops_the_answer_not_the_program(partyline: Partyline) -> None:
    with subprocess.Popen(
        partyline.command("chat"),
        cwd=partyline.folder,
        env=partyline.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("slow\n")
        process.stdin.flush()
        seen = ""
        while "word word" not in seen:
            seen += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        while "stopped" not in seen:
            seen += process.stdout.read(1)
        rest, _ = process.communicate("still there\n", timeout=30)
    assert "still there" in rest
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["ask", "slow"], ""),
        (["ask", "slow", "--json"], ""),
        (["chat"], "slow\nslow\n"),
        (["check"], ""),
    ],
    ids=lambda words: "-".join(words).strip("-") if isinstance(words, list) else "",
)
def test_output_that_nobody_reads_any_more_ends_it_quietly(
    partyline: Partyline, arguments: list[str], stdin: str
) -> None:
    """As `partyline … | head -1`; 141 is what a shell says of a program that SIGPIPE has ended."""
    with subprocess.Popen(
        partyline.command(*arguments),
        cwd=partyline.folder,
        env=partyline.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if arguments[0] != "check":  # it says all at once, and its reader is gone before that
            process.stdin.write(stdin)
            process.stdin.flush()
            process.stdout.read(1)
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 141, errors
    assert "Traceback" not in errors
    assert "ipe" not in errors


def test_an_interrupt_while_the_program_is_imported_is_no_traceback(partyline: Partyline) -> None:
    code = (
        "import sys\n"
        "class Pressed:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'adapters.storage.errors': raise KeyboardInterrupt\n"
        "from adapters.cli import run\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "sys.exit(run(['demo', '--port', '0']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=partyline.folder, env=partyline.environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_starting_needs_no_torch(partyline: Partyline) -> None:
    code = (
        "import sys; from adapters.cli import run; code = run(['ask', 'hello']);"
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'transformers', 'discord', 'telegram')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=partyline.folder, env=partyline.environ, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_models_and_the_face_load_no_library() -> None:
    code = (
        "import sys, inference.api, inference.engine_factory;"
        "print({'torch', 'transformers', 'openai', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_serving_needs_no_torch(partyline: Partyline) -> None:
    code = (
        "import asyncio, sys\n"
        "from adapters.app import serving\n"
        "from config.settings import load\n"
        "async def main():\n"
        "    async with serving(load()) as running:\n"
        "        print(running.lines)\n"
        "        assert not {'torch', 'transformers', 'discord', 'telegram'} & set(sys.modules)\n"
        "asyncio.run(main())\n"
    )
    environ = partyline.environ | {"PARTYLINE_WEB__ENABLED": "true", "PARTYLINE_WEB__PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=partyline.folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:" in done.stdout

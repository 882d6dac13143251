"""The program's start and stop, from outside: SIGTERM at any moment, and what a start waits for."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from adapters.web.sessions.events import ACCOUNT, PageEvent
from tests.fakes import script
from tests.integration.test_kill import free_port
from tests.servers.postgresql import Server

STOPS_WITHIN_S = 8.0
SLOW = {"match": "slow", "answer": " ".join(f"word{n}" for n in range(400)), "tokens_per_s": 20}
COMMAND = [sys.executable, "-c", "from adapters.cli import main; main()"]
ALONE = "unshare --user --map-root-user --pid --fork --kill-child"
"""As process 1, which ignores every signal that it has no handler for."""


def can_be_alone() -> bool:
    return (
        bool(shutil.which("unshare")) and not subprocess.run([*ALONE.split(), "true"], capture_output=True).returncode
    )


WAITS_AFTER_A_SIGNAL = """
import asyncio
from adapters.process.stopping import stoppable

async def wait():
    async with stoppable(60.0):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(wait())
"""


@asynccontextmanager
async def program(
    folder: Path, *arguments: str, before: str = "", **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    environ |= {"PARTYLINE_CAPTIONER": ""} | {f"PARTYLINE_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        *before.split(),
        *COMMAND,
        *arguments,
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process, words: str) -> str:
    """Everything until a line with these words."""
    assert process.stdout is not None
    lines = ""
    async with asyncio.timeout(60):
        while words not in lines:
            line = await process.stdout.readline()
            assert line, lines
            lines += line.decode()
    return lines


async def stopped(process: asyncio.subprocess.Process) -> float:
    """Seconds from SIGTERM to the end, which is a good one."""
    began = time.monotonic()
    process.terminate()
    async with asyncio.timeout(20):
        assert await process.wait() == 0
    return time.monotonic() - began


@pytest.mark.parametrize("command", ["serve", "run"])
async def test_sigterm_ends_a_start_whose_model_loads_in_a_thread(tmp_path: Path, command: str) -> None:
    fifo = tmp_path / "never.jsonl"
    os.mkfifo(fifo)
    settings = {"MODEL": f"scripted:{fifo}", "WEB__ENABLED": "true", "WEB__PORT": "0", "SERVE__PORT": "0"}
    async with program(tmp_path, command, **settings) as process:
        # The thread that loads has opened the file, and waits for what is in it.
        writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
        assert await stopped(process) < STOPS_WITHIN_S
        os.close(writer)


async def test_a_second_signal_ends_the_process_at_once() -> None:
    """The first one would leave it a minute."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WAITS_AFTER_A_SIGNAL, stdout=subprocess.PIPE)
    try:
        await said(process, "ready")
        process.terminate()
        await said(process, "Stopping")
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 128 + signal.SIGTERM
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.skipif(not can_be_alone(), reason="no namespaces of processes here")
async def test_sigterm_ends_a_start_of_process_1(tmp_path: Path) -> None:
    fifo = tmp_path / "never.jsonl"
    os.mkfifo(fifo)
    async with program(tmp_path, "serve", before=ALONE, MODEL=f"scripted:{fifo}", SERVE__PORT="0") as process:
        writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
        children = await asyncio.to_thread(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text)
        began = time.monotonic()
        os.kill(int(children.split()[0]), signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        assert time.monotonic() - began < STOPS_WITHIN_S
        os.close(writer)


@pytest.mark.parametrize("text", ["slow", "think"])
async def test_an_answer_that_a_stop_interrupts_is_as_after_a_crash(tmp_path: Path, text: str) -> None:
    think = {"match": "think", "answer": f"<think>{SLOW['answer']}</think>\n\n42", "tokens_per_s": 20}
    database, port = str(tmp_path / "partyline.sqlite3"), free_port()
    settings = {
        "MODEL": f"scripted:{script(tmp_path, SLOW, think)}",
        "DATABASE": database,
        "WEB__ENABLED": "true",
        "WEB__PORT": str(port),
    }
    async with program(tmp_path, "run", **settings) as process:
        await said(process, "ready")
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket:
            for number in range(2):  # one is written, the other waits in its person's line
                await socket.send_json({"type": "message", "client_id": f"c{number}", "text": text, "pictures": []})
            async for message in socket:
                heard = json.loads(message.data)
                if heard["type"] == "post" and heard["post"]["kind"] == "bot" and "word" in message.data:
                    break
            assert await stopped(process) < STOPS_WITHIN_S
    async with open_database(database) as opened:
        storage = SqlStorage(opened)
        left = await storage.unanswered(ACCOUNT)
        replies = [await storage.reply(each.chat, PageEvent.read(each).id) for each in left]
    assert len(left) == 2
    assert {(reply.state, reply.ending) for reply in replies if reply} <= {("streaming", ""), ("accepted", "")}
    assert any(reply and reply.state == "streaming" for reply in replies), (left, replies)


@pytest.mark.parametrize("number", [1, 3], ids=["it is written", "it waits"])
async def test_an_api_client_is_told_that_the_service_stops(tmp_path: Path, number: int) -> None:
    """By a status: an empty answer that says to be cut off would be taken for an answer."""
    port = free_port()
    settings = {"MODEL": f"scripted:{script(tmp_path, SLOW)}", "SERVE__PORT": str(port), "SERVE__KEY": "k" * 32}
    headers = {"Authorization": f"Bearer {'k' * 32}"}
    async with (
        program(tmp_path, "serve", INFERENCE__SLOTS="1", **settings) as process,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http,
    ):
        await said(process, "ready")
        async with http.get("/v1/models") as response:
            model = (await response.json())["data"][0]["id"]

        async def ask(user: str) -> tuple[int, str | None, str]:
            messages = [{"role": "user", "content": "slow"}]
            body = {"model": model, "messages": messages, "max_tokens": 400, "user": user}
            async with http.post("/v1/chat/completions", json=body) as response:
                return response.status, response.headers.get("Retry-After"), await response.text()

        async def figures() -> str:
            async with http.get("/metrics") as response:
                return await response.text()

        asked = [asyncio.ensure_future(ask(f"u{n}")) for n in range(number)]
        figure = f'partyline_{"waiting" if number > 1 else "running"}{{lane="text"}} {max(1, number - 1)}'
        async with asyncio.timeout(60):
            while figure not in await figures():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await stopped(process) < STOPS_WITHIN_S
        for answered in asked:
            status, retry_after, text = await answered
            assert status == 503, text
            assert int(retry_after or 0) >= 1


async def test_a_start_waits_for_the_service_and_for_the_database(tmp_path: Path) -> None:
    port, database = free_port(), f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    web = {"WEB__ENABLED": "true", "WEB__PORT": "0", "INFERENCE__API_KEY": "k"}
    async with program(tmp_path, "run", MODEL=f"partyline+http://127.0.0.1:{port}", DATABASE=database, **web) as bot:
        lines = await said(bot, "waiting for the database")
        if f"waiting for http://127.0.0.1:{port}" not in lines:
            await said(bot, f"waiting for http://127.0.0.1:{port}")
        assert await stopped(bot) < STOPS_WITHIN_S
    async with program(tmp_path, "run", MODEL=f"partyline+http://127.0.0.1:{port}", **web) as bot:
        await said(bot, f"waiting for http://127.0.0.1:{port}")
        model = f"scripted:{script(tmp_path, SLOW)}"
        async with program(tmp_path, "serve", "--port", str(port), MODEL=model, SERVE__KEY="k") as service:
            await said(bot, "ready")
            assert await stopped(service) < STOPS_WITHIN_S
        assert await stopped(bot) < STOPS_WITHIN_S


async def test_what_waiting_cannot_mend_ends_the_start(tmp_path: Path, postgresql: Server) -> None:
    nowhere = postgresql.new_database().replace("/partyline", "/no_such_")
    web = {"WEB__ENABLED": "true", "WEB__PORT": "0", "MODEL": f"scripted:{script(tmp_path, SLOW)}"}
    async with program(tmp_path, "run", DATABASE=nowhere, **web) as bot:
        lines = await said(bot, "PARTYLINE_DATABASE")
        assert "waiting" not in lines
        assert await bot.wait() == 1

"""`partyline run` and `partyline serve` as two programs: a service that ends costs nobody on Telegram an answer."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.fakes import script
from tests.integration.telegram_parts import answer_to
from tests.integration.test_kill import free_port
from tests.integration.test_stopping import program, said
from tests.integration.test_telegram_process import partyline
from tests.servers.telegram import telegram, until

pytestmark = pytest.mark.timeout(90)
WORDS = 120
SLOW = {"match": "slow", "answer": "word " * WORDS, "tokens_per_s": 25}
HELLO = {"match": "hello", "answer": "hello back"}


@pytest.mark.parametrize(
    ("way", "model"),
    [(signal.SIGKILL, "script"), (signal.SIGTERM, "another")],
    ids=["killed, the same model", "stopped, another model"],
)
async def test_what_was_under_way_and_what_is_asked_meanwhile_is_answered(
    tmp_path: Path, way: signal.Signals, model: str
) -> None:
    first = script(tmp_path, SLOW, HELLO)
    then = tmp_path / f"{model}.jsonl"
    if then != first:
        shutil.copy(first, then)
    port = free_port()
    serve = ("serve", "--port", str(port))
    bot = {"PARTYLINE_MODEL": f"partyline+http://127.0.0.1:{port}", "PARTYLINE_INFERENCE__API_KEY": "k"}
    async with telegram() as server:
        ann, bob = server.person("Ann", 1), server.person("Bob", 2)
        async with program(
            tmp_path, "serve", "--port", str(port), MODEL=f"scripted:{first}", SERVE__KEY="k"
        ) as service:
            await said(service, "ready")
            async with partyline(tmp_path, server, **bot):
                running = ann.says("slow")
                await until(lambda: any("word" in each.text for each in ann.private.answers))
                service.send_signal(way)
                await service.wait()
                meanwhile = bob.says("hello")
                await until(lambda: not server.world.updates)
                async with program(tmp_path, *serve, MODEL=f"scripted:{then}", SERVE__KEY="k") as again:
                    await said(again, "ready")
                    later = bob.says("hello later")
                    answers = [await answer_to(each, bob.private) for each in (meanwhile, later)]
                    whole = await answer_to(running, ann.private)
    assert [each.text.startswith("hello back") for each in answers] == [True, True]
    assert whole.text.count("word") == WORDS
    assert (len(ann.private.answers), len(bob.private.answers)) == (1, 2)

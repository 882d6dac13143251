"""What a start does not import before its platforms are there: each costs people time for what they may never ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from adapters.storage.database.database import open_database
from tests.fakes import script
from tests.integration.test_telegram_process import partyline
from tests.servers.telegram import telegram, until

HEAVY = {"torch", "transformers", "accelerate", "sympy", "numpy", "matplotlib", "PIL", "latex2mathml", "wcwidth"}
SERVERS = {"aiohttp", "openai", "xllamacpp", "psycopg"}
AT_FIRST_POLL = """
import sys
import adapters.telegram.platform as platform
poll = platform.poll
async def noting(*arguments):
    with open("imported", "w") as file:
        file.write(" ".join(name for name in sys.modules if "." not in name))
    await poll(*arguments)
platform.poll = noting
from adapters.cli import main
main()
"""


async def test_a_bot_for_telegram_alone_polls_before_it_imports_what_is_heavy(tmp_path: Path) -> None:
    script(tmp_path)
    async with open_database(str(tmp_path / "partyline.sqlite3")):
        pass  # a first start makes the tables, which takes a library of its own
    imported = tmp_path / "imported"
    async with telegram() as server, partyline(tmp_path, server, code=AT_FIRST_POLL):
        await until(lambda: "getUpdates" in server.methods)
    modules = set(imported.read_text().split())
    assert "telegram" in modules
    found = sorted((HEAVY | SERVERS | {"discord", "alembic"}) & modules)
    assert not found


def test_a_bot_for_discord_alone_imports_nothing_of_telegram() -> None:
    code = "import sys, adapters.app, adapters.discord.platform; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = sorted((HEAVY | {"telegram", "openai", "xllamacpp", "alembic"}) & set(done.stdout.split()))
    assert not found

"""What every test keeps to: nothing may block the event loop, and nothing is judged by the clock of a busy machine."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from bots.names import skeleton
from tests.servers.postgresql import Server

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files of each folder are spread evenly.

    Integration tests wait and those of units compute: beside each other they take less time than one after the other.
    """
    if not hasattr(config, "workerinput"):
        return
    files: dict[Path, dict[Path, None]] = {}
    for item in items:
        files.setdefault(item.path.parent, {})[item.path] = None
    place = {path: at / len(paths) for paths in files.values() for at, path in enumerate(paths)}
    items.sort(key=lambda item: place[item.path])


@pytest.fixture(autouse=True)
def loop_is_never_blocked() -> Iterator[BlockBuster]:
    """A blocking call of our own rooms on the event loop fails the test."""
    with blockbuster_ctx(["adapters", "bots", "inference", "config"]) as blockbuster:
        for function in blockbuster.functions.values():
            # Before anything is served: a migration reads its scripts, the start imports, a model is looked for.
            function.can_block_in("adapters/storage/database/schema.py", {"_upgrade"})
            function.can_block_in("adapters/app.py", {"serving", "on_disk"})
            function.can_block_in("inference/engine_factory.py", {"demo_model"})
        yield blockbuster


@pytest.fixture(scope="session", autouse=True)
def lookalikes_are_read() -> None:
    """As the page reads Unicode's table when it starts, off the loop."""
    skeleton("")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A real server, as long as the tests run."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path is short, and the server's user must reach it
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)

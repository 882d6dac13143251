"""Where pictures come from: over HTTP under any name, or from the folder of a Bot API server that runs with --local."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots import wording
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram

pytestmark = pytest.mark.timeout(30)
LOST = wording.picture_lost("Telegram")


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "a#b", "é🎉", "..;x", "%2e%2e", "a+b&c=d"])
async def test_a_file_with_an_odd_name_is_fetched(server: TelegramServer, tmp_path: Path, name: str) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        answer = await answer_to(ann.shows(b"12345", file_id=name), ann.private)
    assert answer.text.startswith("a picture of 5 bytes")


async def test_a_local_servers_files_are_read_from_its_folder(server: TelegramServer, tmp_path: Path) -> None:
    ann, server.folder = server.person(), tmp_path / "files"
    (server.folder / "photos").mkdir(parents=True)
    (server.folder / "photos" / "photo0.png").write_bytes(b"12345")
    async with party(server, tmp_path, files_dir=str(server.folder)):
        assert (await answer_to(ann.shows(b"x"), ann.private)).text.startswith("a picture of 5 bytes")
        assert (await answer_to(ann.shows(b"x"), ann.private)).text == LOST, "a file that is not there"


async def test_nothing_outside_of_the_folder_is_opened(server: TelegramServer, tmp_path: Path) -> None:
    ann, files, outside = server.person(), tmp_path / "files", tmp_path / "photos"
    (files / "photos").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    (files / "photos" / "link.png").symlink_to(outside / "secret.png")
    (files / "photos" / "folder.png").mkdir()
    async with party(server, tmp_path, files_dir=str(files)):
        for folder, name in ((files, "link"), (files, "../../photos/secret"), (tmp_path, "secret"), (files, "folder")):
            server.folder = folder
            assert (await answer_to(ann.shows(b"x", file_id=name), ann.private)).text == LOST


async def test_without_the_folder_the_log_says_what_is_missing(
    server: TelegramServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ann, server.folder = server.person(), tmp_path
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo0.png").write_bytes(b"12345")
    with caplog.at_level(logging.WARNING):
        async with party(server, tmp_path):
            assert (await answer_to(ann.shows(b"x"), ann.private)).text == LOST
    assert "telegram.files_dir" in caplog.text

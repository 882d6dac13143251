"""Downloads follow no redirect off the platform's hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from adapters.files.downloads import DownloadFailed, download
from bots import wording
from inference.untrusted.connections import listening
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import telegram


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[URL, list[str]]]:
    """A server inside of the operator's network, and what was asked of it."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        match request.path:
            case "/there":
                return web.Response(status=302, headers={"Location": "/here"})
            case "/round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "/lost":
                return web.Response(status=302)
            case "/odd":
                return web.Response(status=302, headers={"Location": "http://[::"})
            case "/trouble" if len(asked) < 3:
                return web.Response(status=503 if len(asked) == 1 else 429)
            case "/torn" if len(asked) < 3:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case "/gone":
                return web.Response(status=404)
            case _:
                return web.Response(body=b"inside")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    async with listening(app, "127.0.0.1", 0) as port:
        yield URL(f"http://127.0.0.1:{port}"), asked


async def test_a_redirect_on_the_platforms_own_host_is_followed(elsewhere: tuple[URL, list[str]]) -> None:
    address, asked = elsewhere
    assert await download(address / "there", 6, lambda other: other.origin() == address) == b"inside"
    assert asked == ["/there", "/here"]


@pytest.mark.parametrize("path", ["round", "lost", "odd", "gone"])
async def test_what_gives_no_file_fails(elsewhere: tuple[URL, list[str]], path: str) -> None:
    with pytest.raises(DownloadFailed):
        await download(elsewhere[0] / path, 100, lambda _: True)
    with pytest.raises(DownloadFailed, match="more than 5"):
        await download(elsewhere[0] / "here", 5, lambda _: True)


@pytest.mark.parametrize("path", ["trouble", "torn"])
async def test_trouble_that_passes_costs_nobody_a_file(
    elsewhere: tuple[URL, list[str]], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every platform."""
    monkeypatch.setattr("adapters.files.downloads._PAUSES_S", (0.0, 0.0, 0.0))
    address, asked = elsewhere
    assert await download(address / path, 100, lambda _: True) == b"inside"
    assert len(asked) == 3


async def test_another_host_is_not_asked(elsewhere: tuple[URL, list[str]]) -> None:
    address, asked = elsewhere
    with pytest.raises(DownloadFailed, match="hosts"):
        await download(address / "there", 100, lambda other: other.path == "/there")
    assert asked == ["/there"]


async def test_telegrams_pictures_come_from_its_server_alone(elsewhere: tuple[URL, list[str]], tmp_path: Path) -> None:
    address, asked = elsewhere
    async with telegram() as server:
        server.redirect = str(address / "here")
        ann = server.person()
        async with party(server, tmp_path):
            answer = await answer_to(ann.shows(b"12345"), ann.private)
    assert answer.text == wording.picture_lost("Telegram")
    assert asked == []

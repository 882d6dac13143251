"""The demo as it is started by people: a process of its own, the embedded models, a real browser."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

_SLOW_MS = 120_000
"""How long a model on a busy machine may take; the tests wait for what happens and never for the time."""

_FRAMES = """() => {
    window.frames_seen = new Set();
    new MutationObserver(() => {
        const text = document.querySelector("article.bot:last-of-type .body")?.innerText;
        if (text) window.frames_seen.add(text);
    }).observe(document.querySelector("#posts"), {subtree: true, childList: true, characterData: true});
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def demo(port: int, data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The running demo, from its "ready" line on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from adapters.cli import main; main()"),
        *("demo", "--port", str(port), "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = b""
    while b"ready" not in said:
        line = await process.stdout.readline()
        assert line, said.decode()
        said += line
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        rest, _ = await process.communicate()
        print(said.decode() + rest.decode(errors="replace"))


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[str]:
    port = free_port()
    async with demo(port, tmp_path):
        yield f"http://127.0.0.1:{port}/"


def drawing(path: Path, colour: str) -> Path:
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).ellipse((70, 70, 186, 186), fill=colour)
    image.save(path)
    return path


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Partyline")


async def send(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def finished(page: Page, count: int) -> Locator:
    """The last of `count` answers, once it is complete."""
    await expect(answers(page)).to_have_count(count, timeout=_SLOW_MS)
    await expect(answers(page).last).to_have_attribute("aria-busy", "false", timeout=_SLOW_MS)
    return answers(page).last


async def test_an_answer_streams_and_can_be_stopped(visit: Visit, tmp_path: Path) -> None:
    async with running(tmp_path) as address:
        page = await visit(address)
        await page.evaluate(_FRAMES)
        await send(page, "/code a Python function that reverses a string")
        answer = await finished(page, 1)
        assert len(await page.evaluate("[...window.frames_seen]")) >= 5
        assert (await answer.inner_text()).strip()
        await send(page, "Write a very long story about a lonely robot, with many chapters.")
        stop = page.get_by_role("button", name="Stop")
        await expect(stop).to_be_visible(timeout=_SLOW_MS)
        await expect(page.locator("article.growing .body")).to_have_text(
            re.compile(".{40}", re.DOTALL), timeout=_SLOW_MS
        )
        await stop.click()
        await finished(page, 2)
        await expect(stop).to_have_count(0)


async def test_pictures_get_captions(visit: Visit, tmp_path: Path) -> None:
    async with running(tmp_path / "data") as address:
        page = await visit(address)
        await expect(page.get_by_text("demo captioner")).to_be_visible()
        for count, colour in enumerate(("red", "blue"), start=1):
            await page.set_input_files("input[type=file]", drawing(tmp_path / f"{colour}.png", colour))
            await page.get_by_role("button", name="Send").click()
            await expect(await finished(page, count)).to_contain_text(colour)
        (tmp_path / "text.png").write_text("no picture at all")
        await page.set_input_files("input[type=file]", tmp_path / "text.png")
        await page.get_by_role("button", name="Send").click()
        await finished(page, 3)


async def test_a_restart_keeps_settings_and_conversation(visit: Visit, tmp_path: Path) -> None:
    port = free_port()
    sliders = {"temperature": "0.3", "top_p": "0.5", "max_tokens": "40"}
    async with demo(port, tmp_path):
        page = await visit(f"http://127.0.0.1:{port}/")
        await page.get_by_role("button", name="Settings").click()
        for name, value in sliders.items():
            await page.get_by_role("slider", name=name).fill(value)
            await expect(page.locator("#settings-said")).not_to_be_empty()
            await page.reload()
            await page.get_by_role("button", name="Settings").click()
            await expect(page.get_by_role("slider", name=name)).to_have_value(value)
        await send(page, "Name three fruits.")
        before = await (await finished(page, 1)).locator(".body").inner_text()
    await expect(page.get_by_text("The connection is lost")).to_be_visible()
    async with demo(port, tmp_path):
        await expect(page.get_by_text("The connection is lost")).to_be_hidden(timeout=_SLOW_MS)
        await page.reload()
        await expect(answers(page)).to_contain_text(before[:20])
        await page.get_by_role("button", name="Settings").click()
        for name, value in sliders.items():
            await expect(page.get_by_role("slider", name=name)).to_have_value(value)


async def test_an_answer_that_a_crash_interrupted_is_closed(visit: Visit, tmp_path: Path) -> None:
    port = free_port()
    async with demo(port, tmp_path) as process:
        page = await visit(f"http://127.0.0.1:{port}/")
        await send(page, "Write a very long story about dragons.")
        await expect(page.locator("article.growing .body")).to_have_text(
            re.compile(".{40}", re.DOTALL), timeout=_SLOW_MS
        )
        process.kill()
        await process.wait()
    async with demo(port, tmp_path):
        await expect(page.get_by_text("The connection is lost")).to_be_hidden(timeout=_SLOW_MS)
        await expect(await finished(page, 1)).to_have_count(1)
        await expect(page.get_by_role("article")).to_have_count(2)


async def test_two_people_are_answered_each(visit: Visit, tmp_path: Path) -> None:
    async with running(tmp_path) as address:
        ada, bob = await visit(address), await visit(address)
        await send(ada, "Name a colour.")
        await send(bob, "Name an animal.")
        for page in (ada, bob):
            await finished(page, 2)
            await expect(page.get_by_role("article", name=re.compile("Guest"))).to_have_count(2)
        await send(ada, "/temperature 0.2")
        await expect(answers(ada).last).to_contain_text("0.2", timeout=_SLOW_MS)
        for page in (ada, bob):
            await page.get_by_role("button", name="Settings").click()
        await expect(ada.get_by_role("slider", name="temperature")).to_have_value("0.2")
        await expect(bob.get_by_role("slider", name="temperature")).not_to_have_value("0.2")

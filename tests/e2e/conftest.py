"""A headless Chromium for the tests that work the page as a person does."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.unit.web_parts import Parts

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Visit = Callable[..., Awaitable[Page]]


def _chromium() -> str:
    """The browser's path; without one the tests are skipped, and with CI=true they fail."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found and Path(found).exists():
        return found
    reason = "no Chromium here: install Debian's chromium, or set CHROMIUM to a browser's path"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = _chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest_asyncio.fixture(loop_scope="session")
async def address(parts: Parts) -> AsyncIterator[str]:
    """A page with a fake bot behind it."""
    async with parts.server().serving() as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Opens an address as somebody new; whatever the page's console complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def open_page(address: str, **options: object) -> Page:
        context = await browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message.text) else None)
        await page.goto(address)
        await page.locator(
            "body:not(.offline) #people summary:has-text('you'), #people summary:has-text('people')"
        ).wait_for()
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


def _is_complaint(text: str) -> bool:
    """A server that is stopped on purpose makes the browser report failed connections."""
    return "ERR_CONNECTION" not in text and "WebSocket connection" not in text

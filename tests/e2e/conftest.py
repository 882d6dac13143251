"""A headless Chromium for the tests that work the page as a person does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.e2e.chromium import chromium, find_chromium
from tests.unit.web_parts import Parts

Visit = Callable[..., Awaitable[Page]]


def _chromium() -> str:
    """The browser's path; without one the tests are skipped, and with CI=true they fail."""
    if found := find_chromium():
        return found
    reason = "no Chromium here: install Debian's chromium, or set CHROMIUM to a browser's path"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium(_chromium()) as browser:
        yield browser


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
    return not any(words in text for words in ("ERR_CONNECTION", "WebSocket connection", "status of 502"))

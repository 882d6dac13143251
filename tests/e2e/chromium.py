"""Debian's Chromium, as the browser tests and the pictures of the corpus start it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

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


def find_chromium() -> str | None:
    """The browser's path: what CHROMIUM names, or what is installed."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    return found if found and Path(found).exists() else None


async def until(page: Page, expression: str) -> None:
    """Waits until JavaScript says yes. The library's own way evaluates strings in the page, which forbids that."""
    while not await page.evaluate(expression):
        await page.wait_for_timeout(50)


async def scroll_to_the_beginning(page: Page, answers: int) -> None:
    """Scrolls up until so many answers are there: a page gets the newest ones first."""
    await until(
        page,
        "() => { document.querySelector('#log').scrollTop = 0;"
        f" return document.querySelectorAll('article.bot').length >= {answers}; }}",
    )


@asynccontextmanager
async def chromium(path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()

"""Takes the README's picture of the page, with the demo's models: `python -m tests.e2e.picture docs/page.png`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw
from playwright.async_api import Page, expect

from tests.e2e.chromium import chromium, find_chromium
from tests.e2e.test_demo import finished, running, send

_SIZE = {"width": 1200, "height": 860}
_QUESTION = "/code reverse a string in Python"


def shapes(path: Path) -> Path:
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((28, 96, 98, 166), fill="red")
    draw.polygon(((192, 84), (146, 166), (238, 166)), fill="blue")
    image.save(path)
    return path


async def take(page: Page, picture: Path, seed: str, target: Path) -> None:
    """What a person sees after a picture and a question, with the settings beside."""
    await page.set_input_files("input[type=file]", picture)
    await page.get_by_role("button", name="Send").click()
    await finished(page, 1)
    await send(page, f"/seed {seed}")
    await finished(page, 2)
    await send(page, _QUESTION)
    await expect(await finished(page, 3)).to_contain_text("def")
    await page.locator("article.bot .code code span").first.wait_for()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("slider", name="temperature").wait_for()
    await page.mouse.move(0, 0)
    await page.screenshot(path=target, animations="disabled")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.picture", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", default="7", help="of the answer")
    arguments = parser.parse_args()
    path = find_chromium()
    if path is None:
        sys.exit("no Chromium here: install Debian's chromium, or set CHROMIUM to a browser's path")
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with running(folder / "data") as address, chromium(path) as browser:
            page = await browser.new_page(viewport=_SIZE)  # type: ignore[arg-type]
            await page.goto(address)
            await page.locator("body:not(.offline)").wait_for()
            await take(page, shapes(folder / "shapes.png"), arguments.seed, arguments.target)


if __name__ == "__main__":
    asyncio.run(main())

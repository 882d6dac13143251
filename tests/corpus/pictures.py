"""Pictures of every answer of the corpus as each platform shows it, for a person to look at.

    python -m tests.corpus.pictures FOLDER      all of them, with contact sheets
    python -m tests.corpus.pictures --docs docs  one answer on each platform, for the documentation

The page is the real one. Discord is simcord's preview; Telegram and the terminal are what `tests.corpus.chats` makes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import simcord
from PIL import Image
from playwright.async_api import Browser, Locator, Page

from adapters.delivery.channel import Frame
from adapters.delivery.renderers.discord import render_discord
from adapters.discord.client.connection import new_client
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post
from tests.corpus.chats import messages, telegram_page, terminal_page
from tests.e2e.chromium import chromium, find_chromium, scroll_to_the_beginning, until
from tests.unit.web_parts import Parts

HERE = Path(__file__).parent
SAMPLE = "compound-interest"
_SHEET = (1560, 1500)
_MOST_BYTES = 150_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """One way of looking at the page; sizes in CSS pixels."""

    name: str
    width: int
    height: int = 6000
    scheme: str = "light"


LOOKS = (
    Look(name="light", width=1000),
    Look(name="dark", width=1000, scheme="dark"),
    Look(name="phone", width=390),
)


def corpus() -> dict[str, str]:
    """The answers by name."""
    return {path.stem: path.read_text("utf-8") for path in sorted(HERE.glob("*.md"))}


@asynccontextmanager
async def page_with(answers: dict[str, str]) -> AsyncIterator[str]:
    """The address of a page whose channel has these answers; an article's `data-id` is its answer's name.

    Of several answers each has its name under it.
    """
    posts = MemoryPosts()
    for name, markdown in answers.items():
        frame = Frame(markdown=markdown, footer=name if len(answers) > 1 else "")
        await posts.append(Post(id=name, position=0, kind="bot", author="", name="Partyline", frame=frame, nonce=name))
    async with Parts(posts=posts).server().serving() as address:
        yield address


async def open_page(browser: Browser, address: str, look: Look, answers: int) -> Page:
    page = await browser.new_page(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,  # type: ignore[arg-type]
    )
    await page.goto(address)
    await page.locator("body:not(.offline) article.bot").first.wait_for()
    await scroll_to_the_beginning(page, answers)
    await page.evaluate("document.fonts.ready.then(() => document.querySelector('#latest').remove())")
    await until(
        page,
        "[...document.querySelectorAll('.code code[class]')].some((code) => code.querySelector('span'))"
        " || !document.querySelector('.code code[class]')",
    )
    return page


async def of_the_page(browser: Browser, answers: dict[str, str], folder: Path) -> None:
    async with page_with(answers) as address:
        for look in LOOKS:
            page = await open_page(browser, address, look, len(answers))
            for name in answers:
                await _shoot(page.locator(f'article[data-id="{name}"]'), folder / look.name / f"{name}.png")
            await page.close()


async def of_html(browser: Browser, html: str, answers: Iterable[str], folder: Path) -> None:
    page = await browser.new_page(viewport={"width": 1000, "height": 1000})
    await page.set_content(html)
    for name in answers:
        await _shoot(page.locator(f'[id="{name}"]'), folder / f"{name}.png")
    await page.close()


async def of_discord(browser: Browser, answers: dict[str, str], folder: Path, width: int = 760) -> None:
    """What a simulated Discord shows of the bot's messages: at most 50 in a channel's window."""
    async with simcord.run(new_client()) as env:
        guild = env.create_guild()
        ann = guild.add_member(env.create_user("ann"))
        for name, markdown in answers.items():
            room = guild.create_text_channel(name[:90])
            target = env.bot.get_partial_messageable(room.id)
            for chunk in messages(markdown, 2000, lambda markdown: len(render_discord(markdown))):
                await target.send(render_discord(chunk), suppress_embeds=True)
            async with env.preview(room, viewers=[ann], layout="channel", width=width) as preview:
                page = await browser.new_page(viewport={"width": width, "height": 1600})
                await page.goto(preview.url)
                await page.locator(".message-content").last.wait_for()
                await page.evaluate("document.querySelector('#toolbar').remove()")
                await _shoot_to(page, page.locator(".message-content").last, folder / f"{name}.png")
                await page.close()


async def _shoot(place: Locator, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    await place.screenshot(path=path, animations="disabled")


async def _shoot_to(page: Page, last: Locator, path: Path) -> None:
    """The page from its top to the end of `last`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    await last.wait_for()
    box = await last.bounding_box()
    assert box is not None
    assert page.viewport_size is not None
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": box["y"] + box["height"] + 12}
    await page.screenshot(path=path, clip=clip, animations="disabled")  # type: ignore[arg-type]


def contact_sheets(folder: Path, columns: int) -> None:
    """All pictures of a folder in the order of their names, at their size, on few sheets beside the folder."""
    room = _SHEET[0] // columns
    places: list[list[tuple[Image.Image, int, int]]] = [[]]
    column, below = 0, 0
    for path in sorted(folder.glob("*.png")):
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((room - 6, _SHEET[1]))
        if below + picture.height > _SHEET[1]:
            column, below = column + 1, 0
        if column == columns:
            column = 0
            places.append([])
        places[-1].append((picture, column * room, below))
        below += picture.height + 8
    for number, sheet in enumerate(places):
        canvas = Image.new("RGB", _SHEET, "#c060c0")
        for picture, left, top in sheet:
            canvas.paste(picture, (left, top))
        canvas.save(folder.parent / f"{folder.name}-{number:02}.png")


async def for_the_docs(path: str, folder: Path) -> None:
    """One answer with mathematics, a table and code, as each platform shows it."""
    answers = {SAMPLE: corpus()[SAMPLE]}
    with TemporaryDirectory() as name:
        made = Path(name)
        async with chromium(path) as browser:
            async with page_with(answers) as address:
                page = await open_page(browser, address, Look(name="docs", width=800, height=760), 1)
                await _shoot(page.locator("body"), made / "page" / f"{SAMPLE}.png")
            await of_html(browser, telegram_page(answers), answers, made / "telegram")
            await of_html(browser, terminal_page(answers), answers, made / "terminal")
            await of_discord(browser, answers, made / "discord", width=640)
        for platform in ("page", "discord", "telegram", "terminal"):
            picture = Image.open(made / platform / f"{SAMPLE}.png").convert("RGB")
            target = folder / f"answer-{platform}.png"
            picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
            assert target.stat().st_size < _MOST_BYTES, target


async def all_pictures(path: str, folder: Path, only: str) -> None:
    answers = {name: text for name, text in corpus().items() if only in name}
    async with chromium(path) as browser:
        await of_the_page(browser, answers, folder)
        await of_html(browser, telegram_page(answers), answers, folder / "telegram")
        await of_html(browser, terminal_page(answers), answers, folder / "terminal")
        await of_discord(browser, answers, folder / "discord")
    for name, columns in {"light": 2, "dark": 2, "phone": 4, "telegram": 4, "terminal": 2, "discord": 2}.items():
        contact_sheets(folder / name, columns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true", help="only the pictures of the documentation")
    parser.add_argument("--only", default="", help="a part of the names of the answers that are wanted")
    arguments = parser.parse_args()
    path = find_chromium()
    if path is None:
        sys.exit("no Chromium here: install Debian's chromium, or set CHROMIUM to a browser's path")
    if arguments.docs:
        asyncio.run(for_the_docs(path, arguments.folder))
    else:
        asyncio.run(all_pictures(path, arguments.folder, arguments.only))


if __name__ == "__main__":
    main()

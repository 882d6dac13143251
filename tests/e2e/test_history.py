"""A long channel in a browser: the newest posts first, earlier ones on scrolling, long ones on request; the door."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect

from adapters.delivery.channel import Frame
from adapters.web.channel.history import PAGE_POSTS
from adapters.web.posts.posts import Post
from tests.e2e.chromium import until
from tests.e2e.conftest import Visit
from tests.unit.web_parts import Parts

pytestmark = pytest.mark.asyncio(loop_scope="session")

POSTS = 3 * PAGE_POSTS


async def fill(parts: Parts) -> None:
    for number in range(POSTS):
        text = "A line of words, and another one. " * (3000 if number == POSTS - 1 else 10)
        frame = Frame(markdown=f"Post {number}.\n\n{text}")
        await parts.posts.put(
            Post(id=f"p{number}", position=number, kind="bot", author="", name="Ann", frame=frame, nonce=str(number))
        )


async def test_earlier_posts_come_on_scrolling_and_what_is_read_stays_in_its_place(visit: Visit, parts: Parts) -> None:
    await fill(parts)
    async with parts.server().serving() as address:
        page = await visit(address, viewport={"width": 390, "height": 800})
        await expect(page.locator("article")).to_have_count(PAGE_POSTS)
        await expect(page.locator("article .badge").first).to_have_text("bot")
        first = page.locator(f'article[data-id="p{POSTS - PAGE_POSTS}"]')
        await page.evaluate("document.querySelector('#log').scrollTop = 0")
        await expect(page.locator("article")).to_have_count(2 * PAGE_POSTS)
        box = await first.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 400, "it is where it was: below the top"
        await until(
            page,
            "() => { document.querySelector('#log').scrollTop = 0;"
            " return document.querySelector('#posts article').dataset.id === 'p0'; }",
        )
        await expect(page.locator("article")).to_have_count(POSTS)


async def test_a_change_above_what_was_loaded_leaves_no_hole(visit: Visit, parts: Parts) -> None:
    await fill(parts)
    early = await parts.posts.post(f"p{PAGE_POSTS}")
    assert early is not None
    code = replace(early, frame=Frame(markdown="```python\nprint(1)\n```"))
    await parts.posts.put(code)  # its colours come after the start, in a message to everybody
    async with parts.server().serving() as address:
        page = await visit(address)
        await page.get_by_label("Message", exact=True).fill("hello")
        await page.keyboard.press("Enter")
        await expect(page.locator("article.bot").last).to_contain_text("You said: hello")
        await until(
            page,
            "() => { document.querySelector('#log').scrollTop = 0;"
            " return document.querySelector('#posts article').dataset.id === 'p0'; }",
        )
        await expect(page.locator("article")).to_have_count(POSTS + 2)


@pytest.mark.parametrize("revision", [1, 9], ids=["", "of which the killed server had stored an earlier state"])
async def test_what_ended_above_while_the_connection_was_broken_is_over_here_too(
    visit: Visit, parts: Parts, revision: int
) -> None:
    await fill(parts)
    number = POSTS - PAGE_POSTS + 5
    early = await parts.posts.post(f"p{number}")
    assert early is not None
    async with parts.server().serving() as address:
        page = await visit(address)
        await parts.posts.put(replace(early, frame=Frame(markdown="begun", growing=True), revision=revision))
        answer = page.locator(f'article[data-id="p{number}"]')
        await expect(answer).to_have_class(re.compile("growing"))
    await parts.posts.put(replace(early, frame=Frame(markdown="whole"), revision=5))
    for more in range(POSTS, POSTS + 10):
        frame = Frame(markdown=f"Post {more}.")
        await parts.posts.put(
            Post(id=f"p{more}", position=more, kind="bot", author="", name="Ann", frame=frame, nonce=str(more))
        )
    async with parts.server(port=urlsplit(address).port or 0).serving():
        await expect(page.locator("article").last).to_contain_text(f"Post {POSTS + 9}.")
        await expect(answer).to_contain_text("whole")
        await expect(answer).not_to_have_class(re.compile("growing"))


async def test_a_long_post_comes_when_somebody_wants_it(visit: Visit, parts: Parts) -> None:
    await fill(parts)
    async with parts.server().serving() as address:
        page = await visit(address)
        last = page.locator(f'article[data-id="p{POSTS - 1}"]')
        await expect(last).not_to_contain_text("another one")
        await last.get_by_role("button", name="Show this long message").click()
        await expect(last).to_contain_text("another one")
        await expect(last.get_by_role("button", name="Show this long message")).to_have_count(0)


async def test_the_door_opens_to_the_password(browser: Browser) -> None:
    async with Parts().server(password="open sesame").serving() as address:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        await page.get_by_label("Password").fill("open barley")
        await page.get_by_role("button", name="Enter").click()
        await expect(page.get_by_role("alert")).to_contain_text("didn't work")
        await page.get_by_label("Password").fill("open sesame")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Message", exact=True)).to_be_visible()
        await page.locator("#people summary", has_text="Only you").wait_for()
        await page.reload()
        await expect(page.get_by_label("Message", exact=True)).to_be_visible()
        await context.close()

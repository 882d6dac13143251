"""Answers of the corpus on the real page, as a browser lays them out."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Locator, Page, expect

from tests.corpus.pictures import corpus, page_with
from tests.e2e.chromium import scroll_to_the_beginning, until
from tests.e2e.conftest import Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")


def answer(page: Page, name: str) -> Locator:
    return page.locator(f'article[data-id="{name}"]')


async def opened(visit: Visit, address: str, **options: object) -> Page:
    page = await visit(address, **options)
    await scroll_to_the_beginning(page, len(corpus()))
    return page


async def test_no_answer_is_wider_than_a_telephone(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await opened(visit, address, viewport={"width": 390, "height": 800})
        await expect(page.locator("article.bot")).to_have_count(len(corpus()))
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        wide = await page.evaluate(
            """[...document.querySelectorAll("article.bot .body > *")]
                .filter((block) => block.getBoundingClientRect().right > innerWidth + 1)
                .map((block) => block.closest("article").dataset.id)"""
        )
        assert wide == []


async def test_a_mixed_answer_is_drawn_and_copied_by_its_source(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await opened(visit, address, viewport={"width": 390, "height": 800}, permissions=["clipboard-read"])
        mixed = answer(page, "compound-interest")
        sources = await mixed.locator("math").evaluate_all("all => all.map((math) => math.getAttribute('alttext'))")
        assert sources[:3] == ["r", "P", "n"]
        assert r"n = \frac{\ln 2}{\ln(1 + r)}" in sources
        assert "P_n = P\\,(1 + r)^n" in [source.strip() for source in sources]
        await mixed.get_by_role("button", name="Copy code").click()
        await expect(mixed.get_by_text("Copied", exact=True)).to_be_visible()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("from math import log\n\n\ndef years_to_double")
        assert copied.endswith("log(1 + rate)\n")


async def test_a_root_has_its_sign_whatever_fonts_there_are(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await opened(visit, address)
        assert (
            await page.evaluate("""document.fonts.load('16px "Partyline Math"').then((faces) => faces.length)""") == 1
        )
        root = answer(page, "r1-style").locator("msqrt").last
        assert await root.evaluate(
            """root => {
                const under = Math.min(...[...root.children].map((child) => child.getBoundingClientRect().left));
                return under - root.getBoundingClientRect().left > 5;
            }"""
        )


async def test_each_paragraph_has_the_direction_of_its_words(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await opened(visit, address)
        for name in ("arabic", "hebrew"):
            blocks = answer(page, name).locator(".body > :is(p, ul, ol, blockquote, table, h2)")
            directions = await blocks.evaluate_all("all => all.map((block) => getComputedStyle(block).direction)")
            assert set(directions) == {"rtl"}
            inner = answer(page, name).locator("li > code")
            assert await inner.first.evaluate("node => getComputedStyle(node).direction") == "ltr"
            assert await inner.first.evaluate("node => getComputedStyle(node).unicodeBidi") == "isolate"
        code = answer(page, "arabic").locator("pre")
        assert await code.evaluate("node => getComputedStyle(node).direction") == "ltr"
        left = (
            await answer(page, "hebrew")
            .locator("li")
            .first.evaluate("node => getComputedStyle(node.parentElement).paddingRight")
        )
        assert left != "0px", "the marks are on the right"


async def test_lists_of_tasks_and_wide_numbers_are_within_the_page(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await opened(visit, address, viewport={"width": 390, "height": 800})
        tasks = answer(page, "task-list")
        outer, inner = tasks.locator("li.task", has_text="Build"), tasks.locator("li.task", has_text="Linux").last
        outer_box, inner_box = await outer.bounding_box(), await inner.bounding_box()
        assert outer_box is not None
        assert inner_box is not None
        assert inner_box["x"] > outer_box["x"] + 10


_GROW = """() => {
    const log = document.querySelector("#log");
    const late = document.createElement("div");
    late.style.height = "600px";
    document.querySelector("#posts").append(late);
    log.dispatchEvent(new Event("scroll"));
}"""


async def test_what_grows_late_takes_nobody_away_from_the_end(visit: Visit) -> None:
    async with page_with(corpus()) as address:
        page = await visit(address, viewport={"width": 390, "height": 800})
        await expect(page.locator("article.bot").last).to_be_visible()
        at_the_end = "() => { const log = document.querySelector('#log');" + (
            "return log.scrollHeight - log.clientHeight - log.scrollTop < 48; }"
        )
        await until(page, at_the_end)
        await page.evaluate(_GROW)
        await until(page, at_the_end)
        await page.locator("#log").hover()
        await page.mouse.wheel(0, -900)
        await expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
        await page.evaluate(_GROW)
        assert not await page.evaluate(at_the_end)


_BROKEN_WORDS = """() => {
    const broken = [];
    const cells = [...document.querySelectorAll("article.bot .body :is(th, td)")];
    for (const cell of cells) {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            for (const word of texts.currentNode.data.matchAll(/[\\p{L}\\p{N}_]+/gu)) {
                const range = document.createRange();
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1)
                    broken.push(word[0]);
            }
        }
    }
    return [cells.length, broken];
}"""
_COLUMNS = "| Name | Description | Incomprehensibility | `some_function_name()` | Donaudampfschifffahrtsgesellschaft |"
_TABLES = {
    "narrow": "| Name | n |\n|---|---|\n| Alexander | 1 |\n| Konstantinopel | 22222 |",
    "wide": f"{_COLUMNS}\n|---|:-:|--:|---|---|\n"
    + "| Name | some words that need more lines | x | `a_b_c(d)` | Krokodil |\n" * 3,
    "very wide": "|" + " Header |" * 24 + "\n|" + "---|" * 24 + "\n" + ("|" + " **bold** value |" * 24 + "\n") * 2,
    "one long cell": "| Name | Text |\n|---|---|\n| Nameless | " + "many words stand here " * 40 + "|",
    "in a list": f"- item\n\n  {_COLUMNS}\n  |---|---|---|---|---|\n  | Name | Description | a | b | c |",
    "in a quote": "> | Name | Other |\n> |---|---|\n> | Alexandria | " + "library " * 30 + "|",
    "links": "| Name | Link |\n|---|---|\n| Wikipedia | [the encyclopedia](https://en.wikipedia.org) and **more** |",
}


@pytest.mark.parametrize("width", [390, 768, 1280])
async def test_no_word_in_a_table_is_broken(visit: Visit, width: int) -> None:
    async with page_with(_TABLES) as address:
        page = await visit(address, viewport={"width": width, "height": 900})
        await scroll_to_the_beginning(page, len(_TABLES))
        await expect(page.locator("article.bot table")).to_have_count(len(_TABLES))
        cells, broken = await page.evaluate(_BROKEN_WORDS)
        assert cells > 100
        assert broken == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_brackets_are_as_high_as_their_matrix(visit: Visit) -> None:
    formulas = r"\[ \begin{pmatrix} 1 \\ 2 \\ 3 \end{pmatrix} \left\{ \frac{\frac{a}{b}}{c} \right\} \]"
    async with page_with({"matrix": formulas}) as address:
        page = await visit(address)
        await expect(answer(page, "matrix").locator("mo")).to_have_count(4)
        async with asyncio.timeout(20):  # the font comes when it is needed
            await until(
                page,
                """(() => {
                    const high = (one) => one.getBoundingClientRect().height;
                    const of = (name) => [...document.querySelectorAll(`article[data-id="matrix"] ${name}`)].map(high);
                    const [table, fraction] = [of("mtable")[0], of("mfrac")[0]];
                    const [left, right, opening, closing] = of("mo");
                    return Math.min(left, right) > 0.9 * table && Math.min(opening, closing) > 0.9 * fraction;
                })()""",
            )

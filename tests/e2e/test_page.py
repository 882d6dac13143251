"""The page in a real browser, worked by role and label; the bot behind it is a fake that the test can hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.async_api import Locator, Page, Route, expect

from adapters.web.posts.posts import Post
from bots.ports import StorageError
from tests.e2e.conftest import Visit
from tests.servers.dying_line import dying_line
from tests.unit.web_parts import TEMPERATURE, FakePanel, Parts, Prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")

_FRAMES = """() => {
    window.frames_seen = [];
    new MutationObserver(() => {
        const text = document.querySelector("article.bot:last-of-type")?.innerText;
        if (text && window.frames_seen.at(-1) !== text) window.frames_seen.push(text);
    }).observe(document.querySelector("#posts"), {subtree: true, childList: true, characterData: true});
}"""

_HASTE = """() => {
    const wait = window.setTimeout;
    window.setTimeout = (work, ms) => wait(work, Math.min(ms, 300));
}"""


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


async def send(page: Page, text: str) -> None:
    await box(page).fill(text)
    await page.get_by_role("button", name="Send").click()


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Partyline")


async def test_one_message_is_edited_in_place(address: str, visit: Visit, parts: Parts) -> None:
    parts.bot.pause = lambda: 0.02
    page = await visit(address)
    await page.evaluate(_FRAMES)
    await send(page, "one two three four five six seven eight")
    await expect(answers(page)).to_have_count(1)
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    await expect(answers(page)).to_contain_text("You said: one two three four five six seven eight")
    frames = await page.evaluate("window.frames_seen")
    assert len(set(frames)) >= 5
    await expect(page.get_by_role("article", name="Guest 1")).to_contain_text("one two three")
    await expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="Partyline: You said")).to_be_attached()


async def test_keys_send_break_lines_and_stop(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    await expect(box(page)).to_be_focused()
    await page.keyboard.type("hold")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second line")
    await expect(box(page)).to_have_value("hold\nsecond line")
    await page.keyboard.press("Enter")
    await expect(box(page)).to_have_value("")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    assert [incoming.text for incoming in parts.bot.incoming] == ["hold\nsecond line", "/stop"]


async def test_the_key_that_ends_a_composition_neither_sends_nor_stops(
    address: str, visit: Visit, parts: Parts
) -> None:
    """Chrome and Firefox say `isComposing`, Safari only the code 229."""
    page = await visit(address)
    await send(page, "hold")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await box(page).fill("にほん")
    for key in ("Enter", "Escape"):
        for marks in ({"isComposing": True}, {"keyCode": 229}):
            await box(page).dispatch_event("keydown", {"key": key, "bubbles": True, "cancelable": True} | marks)
    await expect(box(page)).to_have_value("にほん")
    await page.keyboard.press("Enter")
    await expect(box(page)).to_have_value("")
    await expect(page.get_by_role("article", name="Guest 1").last).to_contain_text("にほん")
    assert [incoming.text for incoming in parts.bot.incoming][:1] == ["hold"]
    assert "/stop" not in [incoming.text for incoming in parts.bot.incoming]


async def test_a_connection_that_died_in_silence_is_given_up(visit: Visit, parts: Parts) -> None:
    """As after a sleep or in another network: the browser takes it for open, and nothing comes over it."""
    async with parts.server().serving() as behind, dying_line(behind) as (address, die):
        page = await visit(address)
        await send(page, "before")
        await expect(answers(page)).to_contain_text("You said: before")
        die()
        await page.evaluate(_HASTE)
        await send(page, "after")
        await expect(answers(page).last).to_contain_text("You said: after")
        await expect(page.locator("article.pending")).to_have_count(0)
    assert [incoming.text for incoming in parts.bot.incoming] == ["before", "after"]


async def test_stop_is_one_button_of_the_asker(address: str, visit: Visit, parts: Parts) -> None:
    page, other = await visit(address), await visit(address)
    await send(page, "hold")
    await expect(answers(page)).to_have_attribute("aria-busy", "true")
    await expect(other.get_by_role("article", name="Partyline")).to_contain_text("Holding")
    await expect(other.get_by_role("button", name="Stop")).to_have_count(0)
    await page.get_by_role("button", name="Stop").click()
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    await page.get_by_role("button", name="Continue").click()
    await expect(answers(page)).to_have_count(2)
    assert [incoming.text for incoming in parts.bot.incoming] == ["hold", "/stop", "/continue"]


async def test_nothing_to_send_is_said(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_contain_text("Write a message")
    await box(page).fill("x")
    await expect(page.get_by_role("alert")).to_have_text("")
    assert parts.bot.incoming == []


async def test_code_can_be_copied(address: str, visit: Visit) -> None:
    page = await visit(address, permissions=["clipboard-read", "clipboard-write"])
    await send(page, "\n```python\nprint(1)\n```")
    await expect(page.locator("article.bot code.language-python span").first).to_be_visible()
    await page.get_by_role("button", name="Copy code").click()
    await expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == "print(1)\n"


async def test_thinking_is_collapsed(address: str, visit: Visit) -> None:
    page = await visit(address)
    await send(page, "think about it")
    summary = page.get_by_text("Thought for 1 s")
    await expect(summary).to_be_visible()
    await expect(page.get_by_text("Let me see.")).to_be_hidden()
    await summary.click()
    await expect(page.get_by_text("Let me see.")).to_be_visible()


async def test_a_file_that_is_no_picture_does_not_wait_with_the_pictures(
    address: str, visit: Visit, tmp_path: Path
) -> None:
    page = await visit(address)
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    (tmp_path / "note.txt").write_text("no picture")
    await page.set_input_files("input[type=file]", [tmp_path / "note.txt", tmp_path / "red.png"])
    tray = page.get_by_role("list", name="Pictures to send").get_by_role("listitem")
    await expect(tray).to_have_count(1)
    await expect(page.get_by_role("img", name="red.png")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_text("note.txt isn't a picture.")


async def test_pictures_by_button_paste_and_drop(address: str, visit: Visit, parts: Parts, tmp_path: Path) -> None:
    page = await visit(address)
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    (tmp_path / "text.png").write_text("no picture")
    async with page.expect_file_chooser() as chooser:
        await page.get_by_role("button", name="Attach").click()
    await (await chooser.value).set_files(tmp_path / "red.png")
    await page.set_input_files("input[type=file]", [tmp_path / "text.png"])
    await page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(0, 0, 40, 30);
            for (const [target, type] of [["#message", "paste"], ["body", "drop"]]) {
                const data = new DataTransfer();
                data.items.add(new File([await canvas.convertToBlob()], type + ".png", {type: "image/png"}));
                const event = type === "paste"
                    ? new ClipboardEvent(type, {clipboardData: data, bubbles: true, cancelable: true})
                    : new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
                document.querySelector(target).dispatchEvent(event);
            }
        }"""
    )
    tray = page.get_by_role("list", name="Pictures to send").get_by_role("listitem")
    await expect(tray).to_have_count(4)
    await page.get_by_role("button", name="Remove drop.png").click()
    await expect(tray).to_have_count(3)
    await send(page, "what is this?")
    await expect(tray).to_have_count(0)
    own = page.get_by_role("article", name="Guest 1")
    await expect(own.get_by_role("img", name="red.png")).to_have_attribute("src", re.compile("^/files/"))
    await expect(own.get_by_role("img")).to_have_count(2)
    await expect(own).to_contain_text("text.png")
    await expect(answers(page)).to_contain_text("You said: what is this?")
    assert [picture.name for picture in parts.bot.incoming[0].pictures] == ["red.png", "text.png", "paste.png"]


@pytest.mark.parametrize(
    ("data", "pictures"),
    [
        ({"text/plain": "a b", "text/html": "<td>a b</td>"}, 0),
        ({"text/plain": "a b", "text/rtf": "a b"}, 0),
        ({"text/html": "<img>"}, 1),
        ({"text/plain": "file:///shot.png"}, 1),
    ],
    ids=["spreadsheet", "word processor", "picture of a page", "file"],
)
async def test_pasted_text_stays_text_beside_a_picture_of_it(
    address: str, visit: Visit, data: dict[str, str], pictures: int
) -> None:
    page = await visit(address)
    left_to_the_browser = await page.evaluate(
        """async (texts) => {
            const data = new DataTransfer();
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(0, 0, 40, 30);
            data.items.add(new File([await canvas.convertToBlob()], "shot.png", {type: "image/png"}));
            for (const [type, text] of Object.entries(texts)) data.setData(type, text);
            const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
            return document.querySelector("#message").dispatchEvent(event);
        }""",
        data,
    )
    assert left_to_the_browser == (pictures == 0)
    await expect(page.get_by_role("list", name="Pictures to send").get_by_role("listitem")).to_have_count(pictures)


async def test_dragged_text_is_left_to_the_browser(address: str, visit: Visit) -> None:
    page = await visit(address)
    assert await page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/plain", "dragged");
            const event = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
            return document.querySelector("#message").dispatchEvent(event);
        }"""
    )


async def test_whoever_follows_a_link_to_the_page_stays_who_they_are(address: str, visit: Visit) -> None:
    page = await visit(address)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("textbox", name="Your name").fill("Ada")
    await page.keyboard.press("Enter")
    await page.get_by_text("Only you").click()
    await expect(page.get_by_text("Ada (you)")).to_be_visible()
    elsewhere = "http://mail.example/"
    await page.context.route(
        elsewhere, lambda route: route.fulfill(content_type="text/html", body=f"<a href='{address}'>The party</a>")
    )
    await page.goto(elsewhere)
    await page.get_by_role("link", name="The party").click()
    await page.get_by_text("Only you").click()
    await expect(page.get_by_text("Ada (you)")).to_be_visible()


async def test_settings_are_saved_by_mouse_and_keys(address: str, visit: Visit, parts: Parts) -> None:
    top_p = replace(TEMPERATURE, name="top_p", label="Top-p", value="0.9", default="0.9")
    choice = replace(TEMPERATURE, name="preset", label="Preset", kind="choice", choices=("a", "b"), value="a")
    seed = replace(TEMPERATURE, name="seed", label="Seed", kind="text", value="", advanced=True)
    parts.panel.views = (TEMPERATURE, top_p, choice, seed)
    page = await visit(address)
    toggle = page.get_by_role("button", name="Settings")
    await expect(page.get_by_role("slider")).to_have_count(0)
    await toggle.click()
    await page.get_by_role("slider", name="temperature").fill("0.3")
    await expect(page.get_by_text("temperature is 0.3 now.")).to_be_visible()
    await page.get_by_role("slider", name="top_p").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_text("top_p is 0.85 now.")).to_be_visible()
    await page.get_by_role("combobox", name="Preset").select_option("b")
    await expect(page.get_by_text("preset is b now.")).to_be_visible()
    await page.get_by_role("textbox", name="Seed").fill("7")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("seed is 7 now.")).to_be_visible()
    await expect(page.get_by_text("Low for facts and summaries").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(toggle).to_be_focused()
    await page.reload()
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("slider", name="Temperature")).to_have_value("0.3")
    await expect(page.get_by_role("slider", name="Top-p")).to_have_value("0.85")
    await expect(page.get_by_role("textbox", name="Seed")).to_have_value("7")


async def test_answers_to_earlier_changes_do_not_move_a_slider_back(address: str, visit: Visit, parts: Parts) -> None:
    parts.panel.pause_s = 0.05
    page = await visit(address)
    await page.get_by_role("button", name="Settings").click()
    slider = page.get_by_role("slider", name="temperature")
    await slider.focus()
    for key, pause_ms in (("ArrowRight", 30), ("ArrowLeft", 30), ("ArrowLeft", 60), ("ArrowLeft", 0)):
        await page.keyboard.press(key)
        await page.wait_for_timeout(pause_ms)
    await expect(page.get_by_text("temperature is 0.6 now.")).to_be_visible()
    await expect(slider).to_have_value("0.6")
    parts.panel.pause_s = 0.0


async def test_the_message_box_works_beside_open_settings(address: str, visit: Visit) -> None:
    page = await visit(address, viewport={"width": 360, "height": 640})
    await page.get_by_role("button", name="Settings").click()
    await send(page, "hello")
    await page.get_by_role("button", name="Close").click()
    await expect(answers(page)).to_contain_text("You said: hello")


async def test_two_people_share_the_channel(address: str, visit: Visit) -> None:
    ada, bob = await visit(address), await visit(address)
    await ada.get_by_role("button", name="Settings").click()
    await ada.get_by_role("textbox", name="Your name").fill("Ada")
    await ada.keyboard.press("Enter")
    await bob.get_by_text("2 people").click()
    await expect(bob.get_by_text("Ada", exact=True)).to_be_visible()
    await send(ada, "/secret")
    await expect(answers(ada)).to_contain_text("For your eyes only.")
    await expect(bob.get_by_role("article", name="Ada")).to_contain_text("/secret")
    await send(bob, "hi all")
    await expect(ada.get_by_role("article", name="Guest 2")).to_contain_text("hi all")
    await expect(ada.get_by_role("article", name="Partyline").last).to_contain_text("You said: hi all")
    await expect(answers(bob)).to_have_count(1)
    await ada.get_by_role("button", name="Dismiss").click()
    await expect(ada.get_by_text("For your eyes")).to_have_count(0)


async def test_a_second_tab_is_the_same_person(address: str, visit: Visit) -> None:
    page = await visit(address)
    tab = await page.context.new_page()
    await tab.goto(address)
    await send(tab, "from the second tab")
    await expect(page.locator("article.own")).to_contain_text("from the second tab")


async def test_a_lost_connection_comes_back_with_the_finished_text(visit: Visit, parts: Parts) -> None:
    async with parts.server().serving() as address:
        page = await visit(address)
        await send(page, "before")
        await expect(answers(page)).to_contain_text("You said: before")
        await page.locator("article.bot").evaluate("article => article.marked = true")
    await expect(page.get_by_text("The connection is lost")).to_be_visible()
    await send(page, "meanwhile")
    await expect(page.locator("article.pending")).to_contain_text("meanwhile")
    async with parts.server(port=urlsplit(address).port or 0).serving():
        await expect(page.get_by_text("The connection is lost")).to_be_hidden()
        await expect(answers(page)).to_have_count(2)
        await expect(answers(page).last).to_contain_text("You said: meanwhile")
        await expect(page.locator("article.pending")).to_have_count(0)
        assert await page.locator("article.bot").first.evaluate("article => article.marked")
    assert [incoming.text for incoming in parts.bot.incoming] == ["before", "meanwhile"]


async def test_what_is_typed_and_attached_survives_a_reload(
    address: str, visit: Visit, parts: Parts, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    page = await visit(address)
    tray = page.get_by_role("list", name="Pictures to send").get_by_role("listitem")
    async with page.expect_response("**/upload"):
        await page.set_input_files("input[type=file]", tmp_path / "red.png")
    await box(page).fill("what is this?")
    await page.reload()
    await expect(box(page)).to_have_value("what is this?")
    await expect(tray).to_have_count(1)
    await page.get_by_role("button", name="Send").click()
    await expect(answers(page)).to_contain_text("You said: what is this?")
    await page.reload()
    await expect(box(page)).to_have_value("")
    await expect(tray).to_have_count(0)
    assert [[each.name for each in incoming.pictures] for incoming in parts.bot.incoming] == [["red.png"]]


async def test_a_reload_during_an_upload_loses_nothing(
    address: str, visit: Visit, parts: Parts, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    page = await visit(address)
    await page.route("**/upload", lambda route: None)  # it never ends
    await page.set_input_files("input[type=file]", tmp_path / "red.png")
    await send(page, "first, with a picture")
    await send(page, "second")
    await expect(page.locator("article.pending")).to_have_count(2)
    assert parts.bot.incoming == []
    await page.unroute("**/upload")
    await page.reload()
    await expect(answers(page)).to_have_count(2)
    await expect(page.locator("article.pending")).to_have_count(0)
    own = page.get_by_role("article", name="Guest 1")
    await expect(own).to_have_count(2)
    await expect(own.first.get_by_role("img", name="red.png")).to_have_attribute("src", re.compile("^/files/"))
    assert [incoming.text for incoming in parts.bot.incoming] == ["first, with a picture", "second"]
    assert [len(incoming.pictures) for incoming in parts.bot.incoming] == [1, 0]


async def test_pictures_that_wait_are_sent_again_by_themselves_to_a_server_that_was_started_again(
    visit: Visit, parts: Parts, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    async with parts.server().serving() as address:
        page = await visit(address)
        async with page.expect_response("**/upload"):
            await page.set_input_files("input[type=file]", tmp_path / "red.png")
        await box(page).fill("what is this?")
    async with parts.server(port=urlsplit(address).port or 0).serving():
        await expect(page.get_by_text("The connection is lost")).to_be_hidden()
        await expect(box(page)).to_have_value("what is this?")
        await page.get_by_role("button", name="Send").click()
        await expect(answers(page)).to_contain_text("You said: what is this?")
        await expect(page.locator("article.pending, article.refused")).to_have_count(0)
    async with parts.server(port=urlsplit(address).port or 0).serving():  # and after a reload, too
        await expect(page.get_by_text("The connection is lost")).to_be_hidden()
        async with page.expect_response("**/upload"):
            await page.set_input_files("input[type=file]", tmp_path / "red.png")
    async with parts.server(port=urlsplit(address).port or 0).serving():
        await page.reload()
        await expect(page.get_by_role("list", name="Pictures to send").get_by_role("listitem")).to_have_count(1)
        await send(page, "and this?")
        await expect(answers(page).last).to_contain_text("You said: and this?")
        await expect(page.locator("article.pending, article.refused")).to_have_count(0)
    assert [[each.name for each in incoming.pictures] for incoming in parts.bot.incoming] == [["red.png"], ["red.png"]]


async def test_an_upload_waits_for_a_server_that_is_being_started(visit: Visit, parts: Parts, tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    async with parts.server().serving() as address:
        page = await visit(address)
    await expect(page.get_by_text("The connection is lost")).to_be_visible()
    await page.set_input_files("input[type=file]", tmp_path / "red.png")
    await send(page, "while it is down")
    left = 2

    async def proxied(route: Route) -> None:
        nonlocal left
        left -= 1
        await (route.continue_() if left < 0 else route.fulfill(status=502, body="Bad Gateway"))

    await page.route("**/upload", proxied)
    async with parts.server(port=urlsplit(address).port or 0).serving():
        await expect(answers(page)).to_contain_text("You said: while it is down")
        await expect(page.locator("article.pending, article.refused")).to_have_count(0)
    assert left < 0
    assert [len(incoming.pictures) for incoming in parts.bot.incoming] == [1]


async def test_a_picture_that_is_lost_again_and_again_is_refused_in_the_end(
    address: str, visit: Visit, parts: Parts, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    page, uploads = await visit(address), 0

    async def forgets(route: Route) -> None:
        nonlocal uploads
        uploads += 1
        await route.fulfill(json={"pictures": [{"id": f"gone {uploads}", "name": "red.png", "picture": True}]})

    await page.route("**/upload", forgets)
    await page.set_input_files("input[type=file]", tmp_path / "red.png")
    await send(page, "what is this?")
    await expect(page.locator("article.refused")).to_contain_text("attach it again")
    assert uploads == 4
    assert parts.bot.incoming == []


async def test_what_waits_for_the_storage_says_so_and_goes_on_by_itself(
    address: str, visit: Visit, parts: Parts
) -> None:
    page = await visit(address)
    append, away = parts.posts.append, True

    async def fragile(post: Post) -> Post:
        if away:
            raise StorageError("The server is away.")
        return await append(post)

    parts.posts.append = fragile  # type: ignore[method-assign]
    await send(page, "first")
    await send(page, "second")
    await expect(page.locator("article.pending").first).to_contain_text("Sending…")
    await page.reload()
    await expect(page.locator("article.pending")).to_have_count(2)
    away = False
    await expect(page.locator("article.pending")).to_have_count(0)
    await expect(answers(page)).to_have_count(2)
    assert [incoming.text for incoming in parts.bot.incoming] == ["first", "second"]
    await expect(page.get_by_text("The connection is lost")).to_be_hidden()


async def test_a_refused_message_is_there_after_a_reload(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    append = parts.posts.append

    async def odd(post: Post) -> Post:
        raise RuntimeError("an odd post")

    parts.posts.append = odd  # type: ignore[method-assign]
    await send(page, "once")
    await expect(page.locator("article.refused")).to_contain_text("went wrong")
    parts.posts.append = append  # type: ignore[method-assign]
    await page.reload()
    await page.locator("article.refused").get_by_role("button", name="Edit").click()
    await expect(box(page)).to_have_value("once")
    await page.reload()
    await expect(page.locator("article.refused")).to_have_count(0)
    await expect(box(page)).to_have_value("once")
    assert parts.bot.incoming == []


async def test_the_view_follows_unless_somebody_reads_above(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    for number in range(8):
        await send(page, f"message {number}\n" + "line\n" * 8)
        await expect(answers(page)).to_have_count(number + 1)
    log = page.get_by_role("log")
    below = "log => log.scrollHeight - log.clientHeight - log.scrollTop"
    assert await log.evaluate(below) < 50
    await log.evaluate("log => log.scrollTo(0, 0)")
    latest = page.get_by_role("button", name="Jump to latest")
    await expect(latest).to_be_visible()
    other = await visit(address)
    await send(other, "news")
    await expect(answers(page)).to_have_count(9)
    assert await log.evaluate("log => log.scrollTop") == 0
    await latest.click()
    await expect(latest).to_be_hidden()
    assert await log.evaluate(below) < 50


async def test_examples_and_commands_fill_the_box(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    await page.get_by_role("button", name="Write a poem.").click()
    await expect(box(page)).to_have_value("Write a poem.")
    await box(page).fill("/c")
    await expect(page.get_by_role("option")).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("option", selected=True)).to_contain_text("/caption")
    await page.keyboard.press("Enter")
    await expect(box(page)).to_have_value("/caption ")
    await box(page).fill("/co")
    await page.keyboard.press("Tab")
    await expect(box(page)).to_have_value("/code ")
    await box(page).fill("/secret")
    await page.keyboard.press("Enter")
    await expect(answers(page)).to_contain_text("For your eyes")


async def test_too_much_text_is_refused_and_kept(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    await box(page).fill("x" * 300_000)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("too long")
    assert len(await box(page).input_value()) == 300_000
    await box(page).fill("ä" * 100_000)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("article", name="Guest 1")).to_contain_text("Show all 100,000 characters")
    await expect(answers(page)).to_have_count(1)
    assert len(parts.bot.incoming[0].text) == 100_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(address: str, visit: Visit, parts: Parts, scheme: str) -> None:
    parts.examples = [Prompt("plain", "Rain")]
    page = await visit(address, color_scheme=scheme)
    await page.get_by_role("button", name="Settings").click()
    code = '```python\n# note\nclass A(B):\n    """Doc."""\n    def f(self, x=1.5):\n        return f"{x}"\n```'
    await send(page, f"think `code` [link](http://x.example) \n\n> quote\n\n{code}")
    await expect(page.get_by_role("button", name="Continue")).to_be_visible()
    await send(page, "fail")
    await expect(answers(page)).to_have_count(2)
    await page.evaluate(_ONE_OF_EACH_TOKEN)
    assert await page.evaluate(_POOR_CONTRAST) == []


_ONE_OF_EACH_TOKEN = """() => {
    const classes = [...document.styleSheets].filter((sheet) => sheet.href?.endsWith("code.css"))
        .flatMap((sheet) => [...sheet.cssRules])
        .flatMap((rule) => rule.cssRules?.length ? [...rule.cssRules] : [rule])
        .map((rule) => /^\\.code \\.([a-z0-9]+)$/.exec(rule.selectorText)?.[1])
        .filter((name) => name && !["hll", "w"].includes(name));
    for (const name of new Set(classes)) {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = `${name} `;
        document.querySelector(".code code").append(span);
    }
}"""

_POOR_CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
        .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = rgba(getComputedStyle(each).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return [255, 255, 255];
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || !element.checkVisibility() || element.closest("article.pending")) continue;
        const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) poor.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
    }
    return poor;
}"""


@pytest.mark.parametrize("width", [360, 768])
async def test_a_narrow_page_does_not_scroll_sideways(address: str, visit: Visit, width: int) -> None:
    page = await visit(address, viewport={"width": width, "height": 700})
    await send(page, "x" * 300 + "\n\n```\n" + "y" * 80 + "\n```\n\n| a | b |\n|---|---|\n| " + "z" * 60 + " | 2 |")
    await expect(page.get_by_role("button", name="Continue")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.get_by_role("log").evaluate("log => log.scrollWidth <= log.clientWidth")
    for name in ("Send", "Attach", "Settings"):
        await expect(page.get_by_role("button", name=name)).to_be_in_viewport()


async def test_no_other_host_is_asked(address: str, visit: Visit) -> None:
    page = await visit(address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.reload()
    await send(page, "![x](http://foreign.example/x.png) <img src=http://foreign.example/y.png>")
    await expect(answers(page)).to_contain_text("You said")
    assert asked
    assert all(url.startswith((address, "blob:")) for url in asked)


async def test_the_demo_captioner_is_named_in_small_print(visit: Visit, parts: Parts) -> None:
    parts.info = replace(parts.info, captioner="demo", demo_captioner=True)
    parts.panel = FakePanel()
    async with parts.server().serving() as address:
        page = await visit(address)
        await expect(page.get_by_text("demo captioner")).to_be_visible()


_TABLE = """

| Name of the thing | What it does in some more words | Another column | Its default value | Documented at | Since |
|---|---|---|---|---|---|
| overflow-wrap | breaks words that are too long for the line | inherited | normal | CSS Text Module Level 3 | 2009 |
"""
_MIXED = r"""

The root is \(x = \frac{-b \pm \sqrt{d}}{2a}\) here.

\[
\int_0^1 x^2\,dx = \frac{1}{3}
\]

שלום עולם!

3) three
7) seven
"""

_LINES_OF_WORDS = """() => [...document.querySelectorAll("article.bot :is(th, td)")].flatMap((cell) => {
    const broken = [];
    const text = cell.firstChild;
    for (const word of text.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) broken.push(word[0]);
    }
    return broken;
})"""

_COPIED = """() => {
    const paragraph = document.querySelector("article.bot math[display=inline]").closest("p");
    document.getSelection().selectAllChildren(paragraph);
    const data = new DataTransfer();
    paragraph.dispatchEvent(new ClipboardEvent("copy", { clipboardData: data, bubbles: true, cancelable: true }));
    return data.getData("text/plain");
}"""


async def test_tables_mathematics_and_directions(address: str, visit: Visit, parts: Parts) -> None:
    page = await visit(address)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await send(page, _TABLE)
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    assert await page.evaluate(_LINES_OF_WORDS) == []
    await send(page, _MIXED)
    await expect(answers(page)).to_have_count(2)
    answer = answers(page).last
    await expect(answer).to_have_attribute("aria-busy", "false")
    formula = await answer.locator("math[display=block]").bounding_box()
    assert formula is not None
    assert formula["height"] > 20, "drawn, and not a line of text"
    copied = await page.evaluate(_COPIED)
    assert copied.strip() == r"The root is \(x = \frac{-b \pm \sqrt{d}}{2a}\) here."
    paragraph = answer.get_by_text("שלום")
    assert await paragraph.evaluate("node => getComputedStyle(node).direction") == "rtl"
    seven = answer.locator("li").nth(1)
    assert await seven.evaluate("node => getComputedStyle(node, '::marker').content") == '"7) "'
    for labelled in ("Message", "Your name"):
        assert await page.get_by_label(labelled, exact=True).get_attribute("dir") == "auto"


_COVERED = """node => {
    const own = node.closest("article"), box = node.getBoundingClientRect(), edge = own.getBoundingClientRect();
    const above = [];
    for (let y = box.top + 1; y < Math.min(box.bottom, edge.top - 10); y += 4)
        if (document.elementsFromPoint(box.left + box.width / 2, y).some(each => own.contains(each))) above.push(y);
    return {reaches: box.top < edge.top - 10, above};
}"""


@pytest.mark.parametrize(
    ("formula", "drawn"),
    [(r"\smash{\rule{9em}{18em}}", "mspace"), (r"\smash{\raise12em{\text{I agree}}}", "mtext")],
)
async def test_a_formula_paints_over_nobody_elses_post(address: str, visit: Visit, formula: str, drawn: str) -> None:
    page = await visit(address)
    await send(page, "first")
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    await send(page, f"${formula}$")
    await expect(answers(page)).to_have_count(2)
    answer = answers(page).last
    await expect(answer).to_have_attribute("aria-busy", "false")
    found = await answer.locator(drawn).last.evaluate(_COVERED)
    assert found == {"reaches": True, "above": []}


async def test_a_wide_formula_is_scrolled_to_within_its_post(address: str, visit: Visit) -> None:
    page = await visit(address, viewport={"width": 800, "height": 700})
    await send(page, r"so $\rule{90em}{1em}$ is wide")
    await expect(answers(page)).to_have_attribute("aria-busy", "false")
    assert await page.get_by_role("log").evaluate("log => log.scrollWidth <= log.clientWidth")
    assert await answers(page).locator(".body").evaluate("body => body.scrollWidth > body.clientWidth + 400")


async def test_only_its_author_sees_what_stands_behind_a_command(address: str, visit: Visit) -> None:
    ada, bob = await visit(address), await visit(address)
    await send(ada, "/secret of mine")
    own = ada.locator("article.own, article.mine, article").filter(has_text="/secret")
    await expect(own.first).to_contain_text("/secret of mine")
    await expect(answers(ada)).to_contain_text("You said")
    await expect(own.first).to_contain_text("/secret of mine")
    await expect(bob.locator("article").filter(has_text="/secret").first).to_contain_text("/secret …")
    await ada.reload()
    await expect(own.first).to_contain_text("/secret of mine")

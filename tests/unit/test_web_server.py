"""The server over real sockets, with a fake bot behind it."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import aiohttp
import pytest
from PIL import Image

from adapters.delivery.channel import Frame
from adapters.web import server
from adapters.web.channel.setting_views import SettingView
from adapters.web.files import uploads
from adapters.web.files.previews import Thumbnails
from adapters.web.files.uploads import Uploads
from adapters.web.posts.posts import Post, PostFile, StoredFile
from adapters.web.sessions.events import PageEvent
from bots.ports import StorageError
from inference.api import ModelInfo
from tests.unit.web_parts import FakePanel, Page, Parts, browser_session, visit


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def address(parts: Parts) -> AsyncIterator[str]:
    async with parts.server().serving() as address:
        yield address


def form(*pictures: tuple[str, bytes]) -> aiohttp.FormData:
    data = aiohttp.FormData()
    for name, content in pictures:
        data.add_field("picture", io.BytesIO(content), filename=name)
    return data


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 480), "red").save(out, "PNG")
    return out.getvalue()


async def test_the_page_comes_with_its_protection(address: str) -> None:
    async with browser_session() as session, session.get(address) as response:
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "HttpOnly" in response.headers["Set-Cookie"]
        assert "SameSite=Lax" in response.headers["Set-Cookie"]
        page = await response.text()
        assert "style=" not in page
        assert "onclick" not in page
        for name in ("page.css", "page.js", "code.css", "icon.svg"):
            async with session.get(f"{address}static/{name}") as file:
                assert file.status == 200
        for name in ("server.py", "..%2fserver.py", "index.html"):
            async with session.get(f"{address}static/{name}") as file:
                assert file.status == 404


async def test_foreign_hosts_and_origins_are_refused(address: str) -> None:
    async with browser_session() as session:
        async with session.get(address, headers={"Host": "evil.example"}) as response:
            assert response.status == 421
        async with session.post(address + "upload", headers={"Origin": "http://evil.example"}) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(address + "ws", origin="http://evil.example")
        assert refused.value.status == 403
        async with session.ws_connect(address + "ws", origin=address.rstrip("/")) as socket:
            assert (await socket.receive_json())["type"] == "hello"


async def test_hello_tells_everything(address: str, parts: Parts) -> None:
    async with visit(address) as page:
        hello = next(message for message in page.seen if message["type"] == "hello")
    assert hello["name"] == "Guest 1"
    assert hello["person"].startswith("web:")
    assert hello["model"]["name"] == "A fake model"
    assert hello["examples"][0] == {"kind": "plain", "text": "Write a poem."}
    assert hello["commands"][0] == {"name": "code", "summary": "Write code"}
    assert hello["posts"] == []


async def test_a_message_is_posted_and_answered_in_one_growing_post(address: str, parts: Parts) -> None:
    async with visit(address) as page, visit(address) as other:
        await page.type("hello <b>there</b>")
        asked = await other.post(lambda post: post["kind"] == "person")
        assert (asked["text"], asked["name"], asked["client_id"]) == ("hello <b>there</b>", "Guest 1", "a")
        answer = await other.answer()
        frames = [m["post"] for m in page.seen if m["type"] == "post" and m["post"]["id"] == answer["id"]]
        assert all(frame["growing"] for frame in frames[:-1])
    assert '<p dir="auto">You said: hello &lt;b&gt;there&lt;/b&gt;' in answer["html"]
    assert answer["reply_to"] == asked["id"]
    assert answer["asker"] == asked["author"]
    assert answer["actions"] == ["regenerate", "continue"]
    (incoming,) = parts.bot.incoming
    assert (incoming.chat, incoming.author.name, incoming.text) == ("web:lobby", "Guest 1", "hello <b>there</b>")


async def test_the_same_message_is_answered_once(address: str, parts: Parts) -> None:
    async with visit(address) as page:
        for _ in range(3):
            await page.type("hello", client_id="same")
        assert (await page.next("accepted"))["client_id"] == "same"
        await page.next("accepted")
        await page.next("accepted")
        await page.type("done", client_id="other")
        await page.post(lambda post: "done" in post["html"] and not post["growing"])
    assert [incoming.text for incoming in parts.bot.incoming] == ["hello", "done"]


async def test_a_press_becomes_a_command(address: str, parts: Parts) -> None:
    async with visit(address) as page:
        await page.type("hold on")
        growing = await page.post(lambda post: "Holding" in post["html"])
        assert growing["growing"]
        for _ in range(2):
            await page.say("action", client_id="x", action="stop", message_id=growing["id"])
        assert (await page.next("said"))["sentence"] == "Stopped."
        await page.answer()
    stop = parts.bot.incoming[-1]
    assert (stop.text, stop.reply_to) == ("/stop", growing["id"])
    assert len(parts.bot.incoming) == 2


async def test_private_words_stay_private(address: str) -> None:
    async with visit(address) as page, visit(address) as other:
        await page.type("/secret")
        notice = await page.next("notice")
        assert "<em>only</em>" in notice["post"]["html"]
        await other.type("x", client_id="b")
        await other.answer()
        assert all(message["type"] != "notice" for message in other.seen)


async def test_failures_are_sentences(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with visit(address) as page:
        await page.type("fail")
        assert (await page.answer())["failure"] == "The queue is full; try again in 5 s."
        await page.type("crash", client_id="b")
        notice = await page.next("notice")
        assert "try again" in notice["post"]["failure"]
        assert "secret path" not in json.dumps(page.seen)
        await page.type("still there", client_id="c")
        await page.answer()
    assert "secret path" in caplog.text


async def test_hostile_text_does_not_end_the_socket(address: str, parts: Parts) -> None:
    async with visit(address) as page:
        await page.socket.send_str('{"type":"message","client_id":"n","text":"a\\u0000b\\ud800c"}')
        await page.answer()
        assert parts.bot.incoming[-1].text == "a\ufffdb\ufffdc"
        await page.type("x" * 100_000, client_id="long")
        await page.answer()
        assert len(parts.bot.incoming[-1].text) == 100_000
        await page.type("x" * 300_000, client_id="longer")
        assert "256 kB" in (await page.next("rejected"))["sentence"]
        await page.type(" \n", client_id="empty")
        assert (await page.next("rejected"))["client_id"] == "empty"
        await page.socket.send_str("nonsense")
        await page.next("rejected")
        await page.socket.send_bytes(b"\0")
        await page.type("alive", client_id="last")
        await page.answer()


async def test_a_frame_that_no_person_types_closes_the_socket_or_is_refused(address: str) -> None:
    async with visit(address) as page:
        await page.socket.send_str("[" * 900_000 + "]" * 900_000)
        await page.next("rejected")
        await page.type("x" * 100_000, client_id="long")
        await page.answer()
    async with visit(address) as page:
        # The server goes as soon as it has read the length.
        with suppress(ConnectionError):
            await page.socket.send_str("[]" * 7_500_000)
        async for _ in page.socket:
            pass
        assert page.socket.closed


async def test_a_form_is_refused_from_its_head(address: str) -> None:
    async with browser_session() as session:
        url = address + "upload"
        headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}
        async with session.post(url, data=b"x", headers=headers) as response:
            assert response.status == 415
    port = int(address.rsplit(":", 1)[1].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n")
    assert b"413" in await reader.readline()
    writer.close()


async def test_a_form_with_a_charset_that_is_none_is_damaged(address: str) -> None:
    field = f'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n{"u" * 99}\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with browser_session() as session, session.post(address + "upload", data=field, headers=headers) as response:
        assert response.status == 400
        assert "did not arrive whole" in (await response.json())["sentence"]


async def test_pictures_go_to_the_bot_and_thumbnails_stay(address: str, parts: Parts) -> None:
    async with browser_session() as session, session.ws_connect(address + "ws") as socket:
        page = Page(socket)
        async with session.post(address + "upload", data=form(("a.png", png()), ("b.png", b"text"))) as response:
            uploaded = (await response.json())["pictures"]
        assert [each["picture"] for each in uploaded] == [True, False]
        await page.type("look", pictures=[each["id"] for each in uploaded])
        post = await page.post(lambda post: post["kind"] == "person")
        good, bad = post["attachments"]
        assert (good["name"], bad["name"], bad["id"]) == ("a.png", "b.png", "")
        async with session.get(f"{address}files/{good['id']}") as response:
            assert response.content_type == "image/webp"
            assert Image.open(io.BytesIO(await response.read())).size == (320, 240)
        async with session.get(f"{address}files/nothing") as response:
            assert response.status == 404
        await page.answer()
        await page.type("again", client_id="b", pictures=[uploaded[0]["id"]])
        refused = await page.next("rejected")
        assert "attach it again" in refused["sentence"]
        assert refused["lost"]
    pictures = parts.bot.incoming[0].pictures
    assert [(each.name, each.data) for each in pictures] == [("a.png", png()), ("b.png", b"text")]


async def test_a_file_is_not_held_once_for_each_who_takes_nothing_of_it(address: str, parts: Parts) -> None:
    file = StoredFile(id="large", name="large.bin", media_type="application/octet-stream", data=bytes(32 * 2**20))
    await parts.posts.put_file(file)
    port = int(address.rsplit(":", 1)[1].strip("/"))
    tracemalloc.start()
    streams = []
    for _ in range(8):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        streams.append(writer)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for writer in streams:
        writer.close()
    assert used < len(file.data)
    async with browser_session() as session, session.get(f"{address}files/large") as response:
        assert await response.read() == file.data
        async with session.head(f"{address}files/large") as head:
            assert head.headers["Content-Length"] == str(len(file.data))


async def test_who_takes_nothing_of_a_file_for_long_is_gone(
    address: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_TAKE_S", 0.05)
    await parts.posts.put_file(
        StoredFile(id="large", name="large.bin", media_type="application/octet-stream", data=bytes(64 * 2**20))
    )
    port = int(address.rsplit(":", 1)[1].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in await reader.readline()
    while any("RequestHandler.start" in repr(task.get_coro()) for task in asyncio.all_tasks()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    writer.close()


async def test_a_picture_that_is_too_large_is_refused(address: str) -> None:
    async with browser_session() as session:
        large = form(("a.png", b"x" * (20 * 1024 * 1024 + 1)))
        async with session.post(address + "upload", data=large) as response:
            assert response.status == 413
            assert "20 MB" in (await response.json())["sentence"]
        async with session.post(address + "upload", data=b"x") as response:
            assert response.status == 415


async def test_a_form_with_too_many_pictures_is_refused_before_its_end_and_leaves_nothing(address: str) -> None:
    answered = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\na\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="b.png"\r\n\r\n'
        while not answered.is_set():
            yield b"x" * 2**16

    async with browser_session() as session:
        async with session.get(address):  # from here on it is one person
            pass
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        async with session.post(address + "upload", data=endless(), headers=headers) as response:
            answered.set()
            assert response.status == 413
            assert (await response.json())["sentence"] == "At most 10 pictures fit into one message."
        ten = [(f"{number}.png", b"a") for number in range(10)]
        for _ in range(2):  # all that may wait for one person
            async with session.post(address + "upload", data=form(*ten)) as response:
                assert response.status == 200


async def test_a_setting_is_saved_and_shown_in_every_tab(address: str, parts: Parts) -> None:
    async with (
        browser_session() as session,
        session.ws_connect(address + "ws") as one,
        session.ws_connect(address + "ws") as two,
    ):
        first, second = Page(one), Page(two)
        await second.next("settings")
        await first.say("setting", name="temperature", value="0.3")
        shown = await second.next("settings")
        assert (shown["settings"][0]["value"], shown["refused"]) == ("0.3", False)
        await first.say("setting", name="temperature", value="7")
        shown = await second.next("settings")
        assert (shown["settings"][0]["value"], shown["refused"]) == ("0.3", True)
        assert "between" in shown["sentence"]


async def test_a_command_shows_its_settings_in_the_panel(address: str, parts: Parts) -> None:
    async with visit(address) as page:
        person = next(message["person"] for message in page.seen if message["type"] == "hello")
        parts.panel.values[person, "temperature"] = "0.2"
        await page.type("/temperature 0.2")
        shown = await page.next("settings")
        assert (shown["settings"][0]["value"], shown["sentence"]) == ("0.2", "")


async def test_what_a_command_says_is_for_its_author_alone(address: str, parts: Parts) -> None:
    """Above all a code of `/link`, with which whoever reads it would be first."""
    async with visit(address) as ada, visit(address) as bob:
        for number, (text, shown) in enumerate(
            {
                "/link ABCDE-23456": "/link …",
                "/lnik ABCDE-23456": "/lnik …",
                "/settings stop a secret": "/settings …",
                "/privacy": "/privacy",
                "/ask for all to read": "/ask for all to read",
            }.items()
        ):
            await ada.type(text, client_id=str(number))
            await ada.next("accepted")
            seen = await bob.post(lambda post: post["kind"] == "person")
            assert seen["text"] == shown
            while text not in [incoming.text for incoming in parts.bot.incoming]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        kept = [post for post in await parts.posts.load(50) if post.kind == "person"]
        assert "23456" not in str(kept)


async def test_a_page_that_asks_whether_it_is_heard_is_answered(address: str) -> None:
    async with visit(address) as page:
        await page.say("ping")
        assert await page.next("pong") == {"type": "pong"}


async def test_people_have_names_of_their_own(address: str) -> None:
    async with visit(address) as ada, visit(address) as bob:
        await ada.say("name", name="Ada")
        assert (await ada.next("name"))["name"] == "Ada"
        await bob.say("people")
        people = await bob.next("people")
        assert ([each["name"] for each in people["people"]], people["count"]) == (["Ada", "Guest 2"], 2)
        await bob.say("name", name="ada")
        assert "already" in (await bob.next("error"))["sentence"]
        assert (await bob.next("name"))["name"] == "Guest 2"


async def test_whoever_comes_back_gets_the_finished_text(address: str, parts: Parts) -> None:
    async with browser_session() as session:
        async with session.ws_connect(address + "ws") as socket:
            page = Page(socket)
            await page.type("hold")
            await page.post(lambda post: "Holding" in post["html"])
        async with visit(address) as other:
            parts.bot.release.set()
            await other.answer()
        async with session.ws_connect(address + "ws") as socket:
            hello = await Page(socket).next("hello")
    assert hello["name"] == "Guest 1"
    assert [post["growing"] for post in hello["posts"]] == [False, False]


async def test_a_closed_page_stops_its_answers(parts: Parts) -> None:
    async with parts.server(grace_s=0.0).serving() as address, visit(address) as other:
        async with visit(address) as page:
            await page.type("hold")
            await page.post(lambda post: "Holding" in post["html"])
        await other.answer()
    assert [incoming.text for incoming in parts.bot.incoming] == ["hold", "/stop"]


async def test_a_restart_keeps_the_conversation_and_closes_what_grew(parts: Parts) -> None:
    grown = Post(
        id="p", position=7, kind="bot", author="", name="Partyline", frame=Frame(markdown="Half an", growing=True)
    )
    await parts.posts.put(grown)
    async with parts.server().serving() as address, visit(address) as page:
        (post,) = page.seen[1]["posts"] if page.seen[1]["type"] == "hello" else page.seen[0]["posts"]
        assert (post["growing"], post["html"]) == (False, '<p dir="auto">Half an</p>\n')
        assert "restarted" in post["failure"]
        await page.type("next")
        assert (await page.answer())["position"] == 9
    kept = await parts.posts.post("p")
    assert kept is not None
    assert not kept.frame.growing


def typed_post(number: int, text: str, *pictures: PostFile) -> Post:
    return Post(
        id=f"p{number}",
        position=number,
        kind="person",
        author="web:ada",
        name="Ada",
        frame=Frame(markdown=text),
        attachments=pictures,
        event_id=f"web:ada/{number}",
    )


async def test_a_restart_answers_what_was_accepted_and_not_answered(parts: Parts) -> None:
    small = StoredFile(id="small", name="a.png", media_type="image/webp", data=b"preview")
    await parts.posts.put_file(small)
    picture = PostFile(id="small", name="a.png", media_type="image/webp")
    posts = [typed_post(0, "answered"), typed_post(1, "asked"), typed_post(2, "pictured", picture)]
    for post in posts:
        await parts.posts.put(post)
        await parts.inbox.receive([PageEvent.of_post(post).received(0.0)])
    await parts.inbox.answered("web", PageEvent.of_post(posts[0]).inbox_id)
    async with parts.server().serving() as address, visit(address):
        pass
    assert [incoming.text for incoming in parts.bot.incoming] == ["asked", "pictured"]
    assert [incoming.event_id for incoming in parts.bot.incoming] == ["web:ada/1", "web:ada/2"]
    assert [each.data for each in parts.bot.incoming[1].pictures] == [b"preview"]


async def test_a_message_that_was_posted_and_not_taken_on_is_answered_when_it_is_sent_again(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        person = next(seen for seen in page.seen if seen["type"] == "hello")["person"]
        await parts.posts.put(replace(typed_post(7, "hello"), author=person, event_id=f"{person}/a"))
        for _ in range(2):
            await page.type("hello", "a")
            assert (await page.next("accepted"))["id"] == "p7"
        assert (await page.answer())["reply_to"] == "p7"
    assert [incoming.text for incoming in parts.bot.incoming] == ["hello"]


async def test_what_goes_on_is_not_closed(parts: Parts) -> None:
    asked = typed_post(1, "hold")
    await parts.posts.put(asked)
    await parts.inbox.receive([PageEvent.of_post(asked).received(0.0)])
    grown = Post(
        id="a", position=2, kind="bot", author="", name="P", frame=Frame(markdown="Half", growing=True), reply_to="p1"
    )
    await parts.posts.put(grown)
    async with parts.server().serving() as address, visit(address):
        kept = await parts.posts.post("a")
    assert kept is not None
    assert kept.frame.growing


async def test_the_end_of_the_server_ends_the_answers(parts: Parts) -> None:
    async with parts.server().serving() as address, visit(address) as page:
        await page.type("hold")
        await page.post(lambda post: "Holding" in post["html"])
    assert parts.bot.closed == 1
    (_, kept) = await parts.posts.load(9)
    assert kept.frame.markdown == "Holding "


async def test_a_port_that_is_taken_is_a_plain_error(address: str, parts: Parts) -> None:
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError, match="address"):
        async with parts.server(port=port).serving():
            pass


async def test_a_picture_that_nobody_sends_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """In time, and not only when the next one comes."""
    made: list[Uploads] = []

    class Seen(Uploads):
        def __init__(self, thumbnails: Thumbnails) -> None:
            super().__init__(thumbnails)
            made.append(self)

    monkeypatch.setattr(server, "Uploads", Seen)
    monkeypatch.setattr(server, "FORGET_EVERY_S", 0.01)
    async with Parts().server().serving() as address, browser_session() as session:
        async with session.post(address + "upload", data=form(("a.png", png()))) as response:
            assert response.status == 200
        assert made[0].bytes_held == len(png())
        monkeypatch.setattr(uploads, "LIFETIME_S", -1.0)
        while made[0].bytes_held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_upload_that_breaks_off_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    part = b'--B\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + b"x" * 1000
    async with Parts().server().serving() as address, browser_session() as session:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        writer.write(f"{head}Content-Length: 9999\r\n\r\n".encode() + part)
        await writer.drain()
        writer.transport.abort()
        kind = {"Content-Type": "multipart/form-data; boundary=B"}
        async with session.post(f"{address}upload", data=part, headers=kind) as response:
            assert response.status == 400
            assert "again" in (await response.json())["sentence"]
    assert "Traceback" not in caplog.text


async def test_the_page_names_the_model_that_is_there_now() -> None:
    parts = Parts()
    async with parts.server().serving() as address:
        async with visit(address):
            pass
        parts.info = replace(parts.info, name="Another model")
        async with visit(address) as page:
            hello = next(message for message in page.seen if message["type"] == "hello")
    assert hello["model"]["name"] == "Another model"


async def test_a_panel_that_cannot_be_read_is_no_failure_of_the_command() -> None:
    class Away(FakePanel):
        async def describe(self, person_id: str) -> Sequence[SettingView]:
            if page_parts.bot.incoming:
                raise StorageError("away")
            return await super().describe(person_id)

    page_parts = Parts(panel=Away())
    async with page_parts.server().serving() as address, visit(address) as page:
        await page.type("/secret")
        await page.next("notice")
        await page.type("hello", client_id="b")  # its answer comes behind whatever is said about the command
        await page.answer()
        assert "went wrong" not in json.dumps(page.seen)


async def test_a_page_that_was_open_while_the_model_was_loaded_hears_which_it_is() -> None:
    there = asyncio.Event()

    async def loaded() -> None:
        await there.wait()

    parts = Parts(loaded=loaded, info=ModelInfo(name="http://gpu:8081", context_tokens=0))
    async with parts.server().serving() as address, visit(address) as page:
        parts.info = ModelInfo(name="A large model", context_tokens=4096, captioner="eyes")
        there.set()
        told = await page.next("model")
    assert (told["model"]["name"], told["model"]["captioner"]) == ("A large model", "eyes")

"""Posts survive their way through a document, and the in-memory ones keep the port's promises."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapters.delivery.channel import Frame, ThinkingView
from adapters.web.posts.memory import MemoryPosts
from adapters.web.posts.posts import Post, PostFile, StoredFile, decode, encode
from bots.messages import Action

POST = Post(
    id="p1",
    position=1,
    kind="bot",
    author="",
    name="Partyline",
    frame=Frame(markdown="Hi", thinking=ThinkingView("hm", 2.5, True), actions=(Action.STOP,), footer="small"),
    asker="web:1",
    reply_to="p0",
    attachments=(PostFile(id="f1", name="a.png", media_type="image/webp"),),
    nonce="n1",
    created_at=3.5,
    revision=4,
)


def test_a_post_survives_its_document() -> None:
    assert decode(encode(POST)) == POST


@given(st.text(st.characters()))
def test_any_text_survives(text: str) -> None:
    post = replace(POST, frame=Frame(markdown=text))
    document = encode(post)
    assert document.isascii()
    assert decode(document) == post


def test_fields_of_a_newer_version_are_ignored() -> None:
    document = encode(POST).replace('"id":"p1"', '"id":"p1","mood":"happy"')
    assert decode(document) == POST


async def test_posts_are_loaded_newest_last() -> None:
    posts = MemoryPosts()
    for position in (3, 1, 2):
        await posts.put(replace(POST, id=f"p{position}", position=position, nonce=str(position)))
    assert [post.id for post in await posts.load(2)] == ["p2", "p3"]


async def test_posts_are_found_by_what_made_them() -> None:
    posts = MemoryPosts()
    await posts.put(POST)
    await posts.put(replace(POST, id="p2", position=2, nonce="", event_id="e1"))
    by_nonce, by_event = await posts.with_nonce("n1"), await posts.with_event("e1")
    assert by_nonce is not None
    assert by_nonce.id == "p1"
    assert by_event is not None
    assert by_event.id == "p2"
    assert await posts.with_nonce("") is None
    assert await posts.with_event("") is None


async def test_a_deleted_post_takes_its_files_along() -> None:
    posts = MemoryPosts()
    await posts.put(POST)
    await posts.put_file(StoredFile(id="f1", name="a.png", media_type="image/webp", data=b"x"))
    await posts.delete("p1")
    await posts.delete("p1")
    assert await posts.post("p1") is None
    assert await posts.file("f1") is None


async def test_a_name_belongs_to_one_person() -> None:
    posts = MemoryPosts()
    assert await posts.put_name("web:1", "Ada")
    assert not await posts.put_name("web:2", "ADA")
    assert await posts.put_name("web:1", "ada")
    assert await posts.name_of("web:1") == "ada"
    assert await posts.count_names() == 1

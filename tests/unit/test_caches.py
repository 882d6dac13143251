"""What is remembered to save work: bounded, and without the words of somebody who was erased."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.delivery.channel import Frame
from adapters.discord.outbound.content import RenderedFrames, content, rendered
from adapters.web.channel import subscribers
from adapters.web.channel.subscribers import Subscriber
from adapters.web.posts import private_files
from adapters.web.posts.posts import StoredFile
from adapters.web.posts.private_files import PrivateFiles
from inference.api import Message
from inference.engines.openai.engine import OpenAIEngine, _digest
from inference.tasks.image_to_text.captioner import _REMEMBERED, BlipCaptioner, _key


async def test_counts_of_conversations_hold_no_conversation() -> None:
    engine = OpenAIEngine(["http://127.0.0.1:9/v1"])
    said = [Message("user", "a secret")]
    engine._counts[_digest(said)] = 3
    assert await engine.count_tokens(said) == 3
    assert _digest([Message("user", "a"), Message("user", "b")]) != _digest([Message("user", "ab")])
    assert _digest([Message("user", "a")]) != _digest([Message("assistant", "a")])
    assert "secret" not in repr(engine._counts)
    await engine.close()


async def test_captions_are_forgotten_after_a_while_and_hold_no_words_of_people(monkeypatch: Any) -> None:
    captioner, now = BlipCaptioner("nowhere"), 0.0
    monkeypatch.setattr("inference.tasks.image_to_text.captioner.time.monotonic", lambda: now)
    for number in range(_REMEMBERED + 10):
        captioner._remember(_key(b"%d" % number, "my secret", "ann"), "a caption")
    assert len(captioner._seen) == _REMEMBERED
    assert "secret" not in repr(captioner._seen)
    now = 1000.0
    captioner._remember(_key(b"new", "", "ann"), "a caption")
    assert len(captioner._seen) == 1
    await captioner.close()


def test_files_for_one_person_are_bounded_in_bytes() -> None:
    kept = PrivateFiles()
    size = private_files.MAX_BYTES // 4
    files = [StoredFile(id=f"f{n}", name="a", media_type="b", data=bytes(size)) for n in range(9)]
    for file in files:
        kept.add("web:ada", file)
    assert sum(kept.get("web:ada", file.id) is not None for file in files) == 4
    assert kept.get("web:ada", "f8") is files[8]


def test_one_persons_files_push_out_nobody_elses() -> None:
    kept = PrivateFiles()
    own = StoredFile(id="own", name="a", media_type="b", data=b"x")
    kept.add("web:bob", own)
    for number in range(200):
        kept.add("web:ada", StoredFile(id=str(number), name="a", media_type="b", data=bytes(2**21)))
    assert kept.get("web:bob", "own") is own
    assert sum(kept.get("web:ada", str(number)) is not None for number in range(200)) == private_files.MAX_FILES


def test_of_many_people_whoever_has_most_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "TOTAL_BYTES", 10)
    kept = PrivateFiles()
    for person, size in (("web:ada", 4), ("web:ada", 4), ("web:bob", 2), ("web:cy", 1)):
        file = StoredFile(id=f"{person}{kept._sizes()[person]}", name="a", media_type="b", data=bytes(size))
        kept.add(person, file)
    assert kept.get("web:ada", "web:ada0") is None
    assert all(kept.get(person, key) for person, key in (("web:bob", "web:bob0"), ("web:cy", "web:cy0")))


async def test_what_waits_for_a_slow_socket_is_bounded_in_characters() -> None:
    listener = Subscriber("web:ada")
    long = "x" * (subscribers._MAX_BACKLOG_CHARACTERS // 10)
    for _ in range(100):  # one post that grows: only its newest state waits
        listener.tell("post", long)
    assert [listener.overrun] == [False]
    for number in range(10):
        listener.tell(f"post {number}", long)
    assert listener.overrun
    alone = Subscriber("web:bob")
    alone.tell("hello", long * 20)
    assert not alone.overrun


async def test_rendered_frames_are_forgotten_when_somebody_is_erased() -> None:
    for number in range(100):
        content(Frame(markdown=f"an answer {number}"))
    assert rendered.cache_info().currsize == rendered.cache_info().maxsize == 32
    await RenderedFrames().erase(["discord:1"], "2026-11-30")
    assert rendered.cache_info().currsize == 0

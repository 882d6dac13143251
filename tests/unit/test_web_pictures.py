"""Thumbnails of whatever strangers send, and uploads that wait for their message."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from adapters.web.files import uploads as waiting
from adapters.web.files.previews import Thumbnails
from adapters.web.files.thumbnails import EDGE_PX, thumbnail
from adapters.web.files.uploads import MAX_PICTURE_BYTES, MAX_PICTURES, UploadRefused, Uploads
from inference.processes.worker import Unusable
from tests.unit.web_parts import reading


@pytest.fixture
async def thumbnails() -> AsyncIterator[Thumbnails]:
    made = Thumbnails()
    yield made
    await made.close()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data)).convert("RGB")


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel, colour, strict=False))


def huge_png(edge: int) -> bytes:
    """A PNG that claims to be `edge` pixels square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_every_kind_of_png_gets_a_thumbnail(mode: str) -> None:
    small = opened(thumbnail(encoded(Image.new(mode, (900, 600)))))
    assert small.size == (EDGE_PX, EDGE_PX * 2 // 3)


def test_cmyk_and_sixteen_bits_keep_their_brightness() -> None:
    cyan = opened(thumbnail(encoded(Image.new("CMYK", (9, 9), (255, 0, 0, 0)), "JPEG")))
    assert near(cyan.getpixel((4, 4)), (0, 255, 255))
    grey = opened(thumbnail(encoded(Image.new("I;16", (9, 9), 0x8000))))
    assert near(grey.getpixel((4, 4)), (128, 128, 128))


def test_a_turned_photo_is_upright() -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    assert opened(thumbnail(encoded(image, "JPEG", exif=exif))).size == (20, 40)


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert near(opened(thumbnail(data)).getpixel((4, 4)), (255, 0, 0))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just text",
        encoded(Image.effect_noise((300, 300), 50).convert("RGB"), "JPEG")[:2000],
        huge_png(30_000),
        huge_png(6_000),
    ],
    ids=["nothing", "text", "truncated", "bomb", "empty"],
)
def test_what_is_no_picture_has_no_thumbnail(data: bytes) -> None:
    with pytest.raises(Unusable):
        thumbnail(data)


async def test_previews_are_made_elsewhere(thumbnails: Thumbnails) -> None:
    small = opened(await thumbnails.make(encoded(Image.new("RGBA", (900, 600)))))
    assert small.size == (EDGE_PX, EDGE_PX * 2 // 3)
    assert await thumbnails.make(b"just text") is None


async def test_a_message_takes_its_pictures_in_order_and_once(thumbnails: Thumbnails) -> None:
    uploads = Uploads(thumbnails)
    first = await uploads.add("web:1", "a.png", reading(encoded(Image.new("RGB", (9, 9)))))
    second = await uploads.add("web:1", "b.png", reading(b"broken"))
    assert [each.picture.name for each in uploads.take("web:1", [second.id, first.id])] == ["b.png", "a.png"]
    assert first.attachment.id
    assert not second.attachment.id
    with pytest.raises(UploadRefused, match="attach it again"):
        uploads.take("web:1", [first.id])


async def test_nobody_takes_another_persons_picture(thumbnails: Thumbnails) -> None:
    uploads = Uploads(thumbnails)
    upload = await uploads.add("web:1", "a.png", reading(b"x"))
    with pytest.raises(UploadRefused):
        uploads.take("web:2", [upload.id])
    uploads.drop("web:2", upload.id)
    assert uploads.take("web:1", [upload.id]) == [upload]


async def test_pictures_that_wait_are_bounded_and_forgotten(thumbnails: Thumbnails) -> None:
    now = 0.0
    uploads = Uploads(thumbnails, clock=lambda: now)
    kept = [await uploads.add("web:1", "a.png", reading(b"x")) for _ in range(2 * MAX_PICTURES)]
    with pytest.raises(UploadRefused, match="At most 10"):
        await uploads.add("web:1", "a.png", reading(b"x"))
    with pytest.raises(UploadRefused, match="At most 10"):
        uploads.take("web:1", [each.id for each in kept])
    uploads.drop("web:1", kept[0].id)
    now = 1000.0
    upload = await uploads.add("web:1", "a.png", reading(b"x"))
    with pytest.raises(UploadRefused):
        uploads.take("web:1", [kept[1].id])
    assert uploads.take("web:1", [upload.id]) == [upload]


async def test_a_picture_without_end_is_not_read_to_its_end(thumbnails: Thumbnails) -> None:
    uploads, chunk, calls = Uploads(thumbnails), b"x" * 2**20, 0

    async def endless() -> bytes:
        nonlocal calls
        calls += 1
        return chunk

    with pytest.raises(UploadRefused, match="20 MB"):
        await uploads.add("web:1", "a.png", endless)
    assert calls == MAX_PICTURE_BYTES // len(chunk) + 1
    for _ in range(2 * MAX_PICTURES):
        await uploads.add("web:1", "a.png", reading(b"x"))


async def test_what_is_arriving_takes_room(thumbnails: Thumbnails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_BYTES", 10)
    uploads, halfway, goes_on = Uploads(thumbnails), asyncio.Event(), asyncio.Event()
    chunks = [b"1234", b"12345678"]

    async def slowly() -> bytes:
        if len(chunks) == 1:
            halfway.set()
            await goes_on.wait()
        return chunks.pop() if chunks else b""

    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(uploads.add("web:1", "a.png", slowly))
        await halfway.wait()
        with pytest.raises(UploadRefused, match="Too many"):
            await uploads.add("web:2", "b.png", reading(b"123"))
        small = await uploads.add("web:2", "b.png", reading(b"12"))
        uploads.drop("web:2", small.id)
        chunks[:] = []
        goes_on.set()
    assert uploads.take("web:1", [slow.result().id]) == [slow.result()]


async def test_many_pictures_at_once_are_no_more_than_one_after_the_other(thumbnails: Thumbnails) -> None:
    uploads, goes_on = Uploads(thumbnails), asyncio.Event()

    async def read() -> bytes:
        await goes_on.wait()
        return b""

    async with asyncio.TaskGroup() as tasks:
        for _ in range(2 * MAX_PICTURES):
            tasks.create_task(uploads.add("web:1", "a.png", read))
        await asyncio.sleep(0)
        with pytest.raises(UploadRefused, match="At most 10"):
            await uploads.add("web:1", "a.png", reading(b"x"))
        goes_on.set()


async def test_one_guest_cannot_fill_what_all_share(thumbnails: Thumbnails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PERSON_BYTES", 10)
    monkeypatch.setattr(waiting, "ADDRESS_BYTES", 16)
    monkeypatch.setattr(waiting, "MAX_WAITING_BYTES", 26)
    uploads = Uploads(thumbnails)
    own = [await uploads.add("web:1", "a.png", reading(b"12345"), "192.0.2.1") for _ in range(2)]
    with pytest.raises(UploadRefused, match="Your pictures"):
        await uploads.add("web:1", "a.png", reading(b"1"), "192.0.2.1")
    await uploads.add("web:2", "a.png", reading(b"123456"), "192.0.2.1")  # another guest of the same machine
    with pytest.raises(UploadRefused, match="Too many"):
        await uploads.add("web:3", "a.png", reading(b"1"), "192.0.2.1")
    await uploads.add("web:4", "a.png", reading(b"123456"), "192.0.2.4")
    late = await uploads.add("web:5", "a.png", reading(b"123456"), "2001:db8::1")
    assert uploads.take("web:5", [late.id]) == [late]
    with pytest.raises(UploadRefused):  # whoever had most has lost the oldest
        uploads.take("web:1", [own[0].id])
    assert uploads.take("web:1", [own[1].id]) == [own[1]]


async def test_nobody_pushes_out_those_who_have_less(thumbnails: Thumbnails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_BYTES", 10)
    uploads = Uploads(thumbnails)
    small = [await uploads.add(f"web:{number}", "a.png", reading(b"12"), "") for number in range(5)]
    with pytest.raises(UploadRefused, match="Too many"):
        await uploads.add("web:large", "a.png", reading(b"123"))
    assert all(uploads.take(each.person, [each.id]) for each in small)

"""Costly pictures: refused from their header, or ended at their limit, and nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest
from PIL import Image

from inference.api import BadImage
from inference.tasks.media.jpeg import Structure, structure
from inference.tasks.media.picture_decoder import PictureDecoder
from inference.tasks.media.pictures import MAX_SCANS, decode
from tests import costly

MB = 2**20


@pytest.fixture
async def decoder() -> AsyncIterator[PictureDecoder]:
    made = PictureDecoder()
    yield made
    await made.close()


def test_what_a_jpeg_costs_is_read_from_its_markers() -> None:
    noise = Image.effect_noise((300, 200), 60)
    assert structure(costly.encoded(noise, "JPEG")) == Structure(1, 0)
    progressive = structure(costly.encoded(noise.convert("RGB"), "JPEG", progressive=True))
    assert progressive.progressive_pixels == 300 * 200
    assert 5 < progressive.scans <= 15
    assert structure(costly.progressive_jpeg(6000, 5000, 400)) == Structure(400, 6000 * 5000)


def test_markers_within_metadata_and_after_the_picture_do_not_count() -> None:
    inner = costly.encoded(Image.new("L", (9, 9)), "JPEG") + b"\xff\xda" * 200
    photo = costly.encoded(Image.new("RGB", (90, 60)), "JPEG", exif=b"Exif\0\0" + inner) + b"\xff\xda" * 900
    assert structure(photo) == Structure(1, 0)
    assert decode(photo).size == (90, 60)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda", b"\xff" * 10**6], ids=str)
def test_a_broken_jpeg_has_a_structure_too(data: bytes) -> None:
    assert structure(data[:50]).progressive_pixels == 0
    structure(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (costly.progressive_jpeg(6000, 6000, 400), f"the limit is {MAX_SCANS}"),
        (costly.progressive_jpeg(13_000, 13_000, 10, "RGB"), "megapixels"),
    ],
    ids=["scans", "coefficients"],
)
def test_a_progressive_jpeg_is_refused_before_it_is_decoded(data: bytes, why: str) -> None:
    with pytest.raises(BadImage) as error:
        decode(data)
    assert why in error.value.why


async def test_a_picture_is_decoded_in_a_process(decoder: PictureDecoder) -> None:
    red = Image.new("RGB", (3000, 1500), "red")
    picture = await decoder.decode(costly.encoded(red, "PNG"))
    assert (picture.mode, picture.size, picture.getpixel((9, 9))) == ("RGB", (1024, 512), (255, 0, 0))
    with pytest.raises(BadImage, match="not a picture"):
        await decoder.decode(b"text")


@pytest.mark.parametrize("why", ["time", "memory"])
async def test_a_picture_over_its_limits_is_refused(why: str) -> None:
    decoder = PictureDecoder()
    endless = costly.png(64, 64, costly.icc_chunk() * 2000)
    deep = costly.png(6000, 6000, depth=16, colour=6)
    for pool in (decoder._pool.quick, decoder._pool.patient):
        if why == "memory":
            pool.limit(cpu_s=30.0, memory_bytes=64 * MB)
        else:
            pool.limit(cpu_s=0.3, memory_bytes=500 * MB)
    try:
        with pytest.raises(BadImage, match=f"too (long|much {why})"):
            await decoder.decode(endless if why == "time" else deep)
        assert (await decoder.decode(costly.png(64, 64))).size == (64, 64)
    finally:
        await decoder.close()


async def test_an_innocent_picture_passes_those_that_take_long(decoder: PictureDecoder) -> None:
    innocent = costly.png(640, 480)
    bad = costly.png(64, 64, costly.icc_chunk() * 3000)
    await decoder.decode(innocent)
    decoder._pool.patient.limit(cpu_s=1.0, memory_bytes=500 * MB)
    async with asyncio.TaskGroup() as tasks:
        senders = [tasks.create_task(_why(decoder, bad)) for _ in range(4)]
        await asyncio.sleep(0)
        await decoder.decode(innocent)
        assert not all(sender.done() for sender in senders)
    assert {sender.result() for sender in senders} == {"it takes too long to open"}


async def _why(decoder: PictureDecoder, data: bytes) -> str:
    with pytest.raises(BadImage) as error:
        await decoder.decode(data)
    return error.value.why


async def test_decoding_takes_no_memory_of_ours(decoder: PictureDecoder) -> None:
    large = costly.png(6300, 6300)
    await decoder.decode(costly.png(640, 480))
    before = psutil.Process().memory_info().rss
    await decoder.decode(large)
    assert psutil.Process().memory_info().rss - before < 40 * MB

"""Pictures are hostile: every one becomes plain RGB or one clause."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from inference.api import BadImage
from inference.tasks.media.pictures import MAX_BYTES, decode


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode in {"CMYK", "YCbCr", "F", "I"} else "PNG"
    picture = decode(encoded(Image.new(mode, (40, 30)), kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    source = Image.new("I;16", (2, 1))
    source.putpixel((0, 0), 0x4000)
    source.putpixel((1, 0), 0xC000)
    picture = decode(encoded(source))
    assert picture.getpixel((0, 0)) == (63, 63, 63)
    assert picture.getpixel((1, 0)) == (191, 191, 191)


@pytest.mark.parametrize("size", [(4100, 40), (40, 4100), (2100, 2100)], ids=str)
def test_large_sixteen_bit_grey_is_reduced(size: tuple[int, int]) -> None:
    picture = decode(encoded(Image.new("I;16", size, 0x8000)))
    assert max(picture.size) == 1024
    assert picture.getpixel((5, 5)) == (127, 127, 127)


def test_transparency_lies_on_white() -> None:
    picture = decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))))
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_transparent_palette_colour() -> None:
    source = Image.new("P", (4, 4), 0)
    source.putpalette([0, 0, 0, 255, 0, 0])
    picture = decode(encoded(source, "PNG", transparency=0))
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_animated_gif_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((4, 4)) == (255, 0, 0)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif.tobytes())).size == (20, 40)


def test_large_pictures_are_reduced() -> None:
    assert max(decode(encoded(Image.new("RGB", (5000, 4000)), "JPEG")).size) == 1024


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a picture"),
        (b"just a text file, named .png", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (encoded(Image.effect_noise((300, 300), 80), "JPEG")[:4000], "damaged or incomplete"),
        (encoded(Image.effect_noise((300, 300), 80), "PNG")[:4000], "damaged or incomplete"),
        (png_header(30_000, 30_000), "megapixels"),
        (png_header(10_000, 5_000), "10,000×5,000 pixels and the limit is 40 megapixels"),
        (png_header(100, 100), "damaged or incomplete"),
        (encoded(Image.new("RGB", (4, 4)), "PNG", exif=b"II*\0"), "damaged or incomplete"),
        (encoded(Image.new("RGB", (4, 4)), "WEBP", exif=b"II*\0"), "damaged or incomplete"),
        (b"\0" * (MAX_BYTES + 1), "the limit is 20 MB"),
    ],
    ids=["empty", "text", "signature", "svg", "jpeg", "png", "bomb", "large", "hollow", "exif", "webp", "bytes"],
)
def test_what_cannot_be_used_says_why(data: bytes, why: str) -> None:
    with pytest.raises(BadImage) as error:
        decode(data)
    assert why in error.value.why

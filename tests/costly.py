"""Inputs that cost far more than their length: what somebody sends who wants others to wait."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

MB = 2**20
Named = tuple[str, bytes]


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def progressive_jpeg(width: int, height: int, scans: int, mode: str = "L") -> bytes:
    """A progressive JPEG of any size in a few bytes: its scans end early, and a decoder fills in the rest."""
    small = encoded(Image.effect_noise((64, 64), 60).convert(mode), "JPEG", progressive=True)
    frame = small.index(b"\xff\xc2")
    small = small[: frame + 5] + struct.pack(">HH", height, width) + small[frame + 9 :]
    first = small.index(b"\xff\xda")
    after = _marker_after(small, first)
    last = small.rindex(b"\xff\xda")
    head, dc_scan, more = small[:first], small[first:after], small[after:-2]
    again = small[last:-2]
    return head + dc_scan + more + again * max(0, scans - small.count(b"\xff\xda")) + b"\xff\xd9"


def _marker_after(data: bytes, at: int) -> int:
    """The next marker after the scan that begins at `at`."""
    at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    while not (data[at] == 0xFF and data[at + 1] not in (0, *range(0xD0, 0xD8))):
        at += 1
    return at


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 2, rows: bool = True) -> bytes:
    """A PNG of zeros, as small as deflate makes it."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    line = bytes(1 + (width * samples * depth + 7) // 8)
    body = b"".join([packer.compress(line) for _ in range(height)]) if rows else b""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = png_chunk(b"IDAT", body + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + data + png_chunk(b"IEND", b"")


def icc_chunk() -> bytes:
    """A colour profile of 1 MB in 1 kB; Pillow unpacks each of many."""
    return png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(MB), 9))


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF whose frames all claim the whole canvas."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + screen + frame * frames + b"\x3b"


def bmp(width: int, height: int, bits: int = 8, compression: int = 1) -> bytes:
    """A BMP whose run-length data ends at once."""
    palette = bytes(4 * 256) if bits <= 8 else b""
    size = 54 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", size + 2, 0, 0, size)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 2, 0, 0, 256 if palette else 0, 0)
    return head + info + palette + b"\x00\x01"


def tiff(width: int, height: int, *, compression: int = 8, strips: int = 1, loop: bool = False, tags: int = 0) -> bytes:
    """A TIFF of grey; `strips` all point to the same data, `loop` makes the directory its own successor."""
    data = zlib.compress(bytes(min(width * height // strips, 64 * MB)), 9)
    rows = max(1, height // strips)
    fields: list[tuple[int, int, int, int]] = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
    ]
    directory_size = 2 + 12 * (len(fields) + 3 + tags) + 4
    arrays = 8 + directory_size
    at_data = arrays + 8 * strips
    fields += [
        (273, 4, strips, arrays if strips > 1 else at_data),
        (278, 4, 1, rows),
        (279, 4, strips, arrays + 4 * strips if strips > 1 else len(data)),
    ]
    fields += [(50_000 + n, 4, 1, n) for n in range(tags)]
    body = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    body += struct.pack("<I", 8 if loop else 0)
    offsets = struct.pack(f"<{strips}I", *[at_data] * strips) + struct.pack(f"<{strips}I", *[len(data)] * strips)
    return struct.pack("<2sHI", b"II", 42, 8) + body + offsets + data


def pictures() -> Iterator[Named]:
    """Hundreds of scans, bombs, animations, and metadata that swells."""
    for scans in (60, 200, 400, 900):
        for side in (2000, 6000):
            yield f"JPEG, {scans} scans of {side} x {side}", progressive_jpeg(side, side, scans)
    for side in (6000, 13_000, 30_000, 65_000):
        yield f"progressive JPEG of {side} x {side}", progressive_jpeg(side, side, 10, "RGB")
    yield "JPEG, 49 scans of 6300 x 6300", progressive_jpeg(6300, 6300, 49)
    for width, height in ((6300, 6300), (30_000, 30_000), (100_000, 1), (1, 100_000), (2**31 - 1, 2**31 - 1)):
        yield f"PNG of {width} x {height}", png(width, height, rows=width * height < 10**8)
    yield "PNG of 16 bits, 4 channels", png(6000, 6000, depth=16, colour=6)
    for name in (b"iCCP", b"zTXt", b"iTXt"):
        swollen = zlib.compress(bytes(60 * MB), 9)
        body = {b"iCCP": b"icc\0\0", b"zTXt": b"key\0\0", b"iTXt": b"key\0\1\0\0\0"}[name]
        yield f"PNG with a {name.decode()} that swells", png(64, 64, png_chunk(name, body + swollen))
        yield f"PNG with 2,000 {name.decode()}", png(64, 64, png_chunk(name, body + zlib.compress(bytes(MB), 9)) * 2000)
    yield "PNG with 20,000 empty chunks", png(64, 64, png_chunk(b"abCd", b"") * 20_000)
    for width, height, frames in ((64, 64, 10_000), (6000, 6000, 1), (6000, 6000, 500), (65_535, 65_535, 1)):
        yield f"GIF, {frames} frames of {width} x {height}", gif(width, height, frames)
    for side in (6000, 20_000, 2**31 - 1):
        yield f"BMP of {side} x {side}", bmp(side, side)
        yield f"BMP of {side} x {side}, uncompressed", bmp(side, side, 24, 0)
    yield "TIFF of 6000 x 6000", tiff(6000, 6000)
    yield "TIFF of 20,000 x 20,000", tiff(20_000, 20_000, strips=100)
    yield "TIFF, 6000 strips that are one", tiff(6000, 6000, strips=6000)
    yield "TIFF, a directory that follows itself", tiff(600, 600, loop=True)
    yield "TIFF with 4,000 tags", tiff(600, 600, tags=4000)
    for compression in (5, 32_773, 34_712, 50_000):
        yield f"TIFF, compression {compression}", tiff(6000, 6000, compression=compression)
    plain = Image.new("RGB", (64, 64))
    tall = Image.new("L", (6000, 6000))
    yield "WebP of 6000 x 6000", encoded(tall.convert("RGB"), "WEBP", lossless=True, method=0, quality=0)
    shades = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(200)]
    yield "WebP, 200 frames", encoded(shades[0], "WEBP", save_all=True, append_images=shades[1:], method=0)
    yield "APNG, 200 frames", encoded(shades[0], "PNG", save_all=True, append_images=shades[1:])
    yield (
        "JPEG with 60 kB of odd EXIF",
        encoded(plain, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 60_000),
    )
    yield "JPEG with 200 ICC chunks", encoded(plain, "JPEG", icc_profile=bytes(200 * 65_000))
    for magic in (b"icns", b"8BPS", b"\0\0\1\0", b"%!PS-Adobe", b"\x97JB2", b"gimp xcf", b"SIMPLE  =", b"\x01\xda"):
        yield f"what begins as {magic!r}", magic + bytes(200_000)
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"GIF89a", b"II*\0", b"BM"):
        yield f"{magic!r} and 0xFF", magic + b"\xff" * 2 * MB
        yield f"{magic!r} and zeros", magic + bytes(2 * MB)


def code_blocks() -> Iterator[tuple[str, str]]:
    """(language, code) over which some lexer is quadratic or worse."""
    shapes = {
        "a lines": "a\n" * 7000,
        "open brackets": "(" * 9000 + "[" * 5000,
        "quotes": "\"'" * 7000,
        "backslashes": "\\" * 14_000,
        "spaces": " " * 14_000 + "x",
        "angles": "<" * 14_000,
        "words": "a " * 7000,
    }
    for language in ("csharp", "cpp", "java", "python", "html", "perl", "haskell", "rst"):
        for code in shapes.values():
            yield language, code


def socket_frames() -> Iterator[tuple[str, str]]:
    """(name, text) of what a page could send on its socket."""
    for size in (1000, 100_000, 1_000_000):
        yield f"{size} nested lists", "[" * size + "]" * size
        yield f"{size} nested objects", '{"a":' * size + "1" + "}" * size
    yield "7,500,000 nested lists", "[]" * 7_500_000
    yield "7,500,000 open lists", "[" * 15_000_000
    yield "a list of empty lists", "[" + "[]," * 5_000_000 + "[]]"
    yield "a million keys", json.dumps({str(n): n for n in range(1_000_000)})
    yield "15 MB of text", json.dumps({"type": "message", "client_id": "x", "text": "x" * 15_000_000})
    yield "15 MB of escapes", '{"type":"message","client_id":"x","text":"' + "\\u0000" * 2_500_000 + '"}'
    yield "a number of 100,000 digits", '{"type":"message","client_id":' + "9" * 100_000 + "}"
    yield (
        "100,000 pictures",
        json.dumps({"type": "message", "client_id": "x", "text": "x", "pictures": ["a"] * 100_000}),
    )
    yield "spaces", " " * 15_000_000


Request = tuple[str, str, bytes]
"""Name, whom it goes to ("page" or "serve"), and all bytes that are sent."""


def bodies(key: str) -> Iterator[Request]:
    """Requests whose body is compressed, endless, deep, or not what its head says."""
    chat = "/v1/chat/completions"
    bomb = gzip.compress(bytes(200 * MB), 9)
    for allowed in ("", key):
        who = "with the key" if allowed else "without a key"
        for path in (chat, "/v1/captions", "/tokenize"):
            yield f"gzip to {path} {who}", "serve", post(path, bomb, allowed, "Content-Encoding: gzip")
        yield f"two times gzip {who}", "serve", post(chat, gzip.compress(bomb), allowed, "Content-Encoding: gzip, gzip")
        yield f"deflate {who}", "serve", post(chat, zlib.compress(bytes(99 * MB)), allowed, "Content-Encoding: deflate")
        for name, text in (("lists", b"[" * 15 * MB), ("objects", b'{"a":' * 3 * MB), ("empty lists", b"[]," * 9 * MB)):
            yield f"{name} {who}", "serve", post(chat, b'{"messages":' + text, allowed)
        yield f"a declared length over the limit {who}", "serve", post(chat, b"{", allowed, length=2**40)
        yield f"a body that never ends {who}", "serve", post(chat, b"{", allowed, length=10 * MB)
        yield f"30 MB of text {who}", "serve", post(chat, _chat("word " * 6 * MB), allowed)
        yield f"50,000 messages {who}", "serve", post(chat, _chat(*["hi"] * 50_000), allowed)
        picture = json.dumps({"image": "A" * 27 * MB}).encode()
        yield f"a picture of zeros in base64 {who}", "serve", post("/v1/captions", picture, allowed)
        part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\na\r\n'
        form = "Content-Type: multipart/form-data; boundary=x"
        yield f"a form of 20,000 parts {who}", "serve", post("/v1/captions", part * 20_000 + b"--x--", allowed, form)
    form = "Content-Type: multipart/form-data; boundary=x"
    yield "an upload of 20,000 parts", "page", post("/upload", part * 20_000 + b"--x--", "", form)
    yield "an upload without an end", "page", post("/upload", part + b"x" * MB, "", form, length=10 * MB)
    yield "an upload, compressed", "page", post("/upload", bomb, "", form, "Content-Encoding: gzip")
    yield "an upload, 1 GB declared", "page", post("/upload", part, "", form, length=2**30)
    yield "an upload without a boundary", "page", post("/upload", b"-" * 5 * MB, "", "Content-Type: multipart/mixed")
    yield "an upload of hyphens", "page", post("/upload", b"--x--" * MB, "", form)
    headers = b"--x\r\n" + b"A: b\r\n" * 200_000
    yield "an upload, 200,000 headers of a part", "page", post("/upload", headers, "", form)


def heads() -> Iterator[Request]:
    """Request heads that are long, many, unfinished or odd."""
    for to in ("page", "serve"):
        get = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        yield f"{to}: nothing", to, b""
        yield f"{to}: half a line", to, b"GET / HT"
        yield f"{to}: no end", to, get
        yield f"{to}: one header of 10 MB", to, get + b"X: " + b"x" * 10 * MB
        yield f"{to}: 200,000 headers", to, get + b"X: y\r\n" * 200_000 + b"\r\n"
        yield f"{to}: an address of 5 MB", to, b"GET /" + b"a" * 5 * MB + b" HTTP/1.1\r\n\r\n"
        yield f"{to}: 7,000 cookies", to, get + b"Cookie: " + b"a=b;" * 1900 + b"\r\n\r\n"
        yield f"{to}: a cookie of quotes", to, get + b"Cookie: a=" + b'"\\' * 3900 + b"\r\n\r\n"
        yield f"{to}: 2,000 requests at once", to, (get + b"\r\n") * 2000
        yield f"{to}: odd ranges", to, get + b"Range: bytes=" + b"0-1," * 1900 + b"\r\n\r\n"
        yield f"{to}: NUL", to, b"\0" * 5 * MB
        yield f"{to}: line ends", to, b"\r\n" * 2 * MB
        yield (
            f"{to}: a chunk of 2**62 bytes",
            to,
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3" + b"f" * 15,
        )
        chunks = b"1\r\nx\r\n" * 500_000
        yield (
            f"{to}: tiny chunks",
            to,
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        )

        swollen = b"1;" + b"x" * 90 + b"\r\n-\r\n"
        for name, chunk in (
            ("chunks of 20 bytes", b"14\r\n----------==========\r\n"),
            ("long chunk extensions", swollen),
        ):
            head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            yield f"{to}: {name}", to, head + chunk * 100_000


def post(path: str, body: bytes, key: str = "", *headers: str, length: int | None = None) -> bytes:
    """A request; its declared length is that of its body unless told otherwise."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body) if length is None else length}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def _chat(*texts: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text} for text in texts]}).encode()

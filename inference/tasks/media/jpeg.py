"""What a JPEG file costs to decode, read from its markers without decoding it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

# Within a scan 0xFF is followed by 0 (stuffing), a restart marker or more fill bytes; anything else is the next marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_EOI, _SOS = 0xD9, 0xDA


@dataclass(frozen=True, slots=True)
class Structure:
    """Scans of the first picture in the file; pixels of its frame if it is progressive, otherwise 0.

    A progressive picture is held whole, as coefficients, at full size, whatever size it is decoded to.
    """

    scans: int
    progressive_pixels: int


def structure(data: bytes) -> Structure:
    """Read the markers up to the end of the first picture, in linear time. What is damaged ends the reading."""
    scans = pixels = 0
    at = 2
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        marker, at = data[found.start() + 1], found.end()
        if marker == _EOI:
            break
        if marker in _STANDALONE:
            continue
        if marker in _PROGRESSIVE and at + 7 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 3)
            pixels = max(pixels, width * height)
        scans += marker == _SOS
        at += int.from_bytes(data[at : at + 2], "big")
    return Structure(scans, pixels)

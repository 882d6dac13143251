"""JSON of strangers: a few bytes can become a hundred times as many of objects, so the values are counted first."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

# A string as a whole, an unfinished one too, or the beginning of a value. Possessive, and from a quote on it always
# matches: linear time.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[{,]', re.DOTALL)
_MARKS = (b'"', b"[", b"{", b",")


class TooManyValues(ValueError):
    """The document has more values than its reader can have a use for."""


def loads(data: bytes | str, *, values: int) -> Any:
    """Parse JSON of at most `values` strings, lists, objects and commas, in linear time.

    Raises:
        TooManyValues: if there are more.
        ValueError: if it is not JSON, or nested too deep.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    # What is in strings does not count; mostly the document is small even so.
    if sum(raw.count(mark) for mark in _MARKS) > values and _has_more(raw, values):
        raise TooManyValues(f"more than {values:,} values")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _has_more(raw: bytes, values: int) -> bool:
    return next(islice(_TOKEN.finditer(raw), values, None), None) is not None

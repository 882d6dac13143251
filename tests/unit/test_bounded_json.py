"""JSON that is read as ever, and what would become a hundred times as large, which is not read at all."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.untrusted.bounded_json import loads
from tests.costly import socket_frames

documents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def refused(text: str, values: int) -> bool:
    try:
        loads(text, values=values)
    except ValueError:
        return True
    return False


@settings(max_examples=50)
@given(documents, st.booleans())
def test_what_is_small_is_read_as_ever(document: object, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert loads(text, values=10**6) == document


def values_of(document: object) -> int:
    """Strings, lists, objects, and the commas between."""
    match document:
        case str():
            return 1
        case list():
            return 1 + max(0, len(document) - 1) + sum(map(values_of, document))
        case dict():
            return 1 + max(0, len(document) - 1) + len(document) + sum(map(values_of, document.values()))
    return 0


@settings(max_examples=50)
@given(documents, st.integers(0, 20))
def test_values_are_counted_outside_strings(document: object, values: int) -> None:
    assert refused(json.dumps(document), values) == (values_of(document) > values)


@pytest.mark.parametrize("text", ["", "nonsense", '"', '"\\', '"' + '\\"' * 9, "[" * 90_000, "\ud800"], ids=repr)
def test_what_is_none_is_a_value_error(text: str) -> None:
    assert refused(text, 100_000)


@pytest.mark.parametrize(("name", "text"), [*socket_frames()], ids=[name for name, _ in socket_frames()])
def test_a_costly_document_takes_little_memory(name: str, text: str) -> None:
    if len(text) > 2**21:
        return  # the socket takes no such frame
    tracemalloc.start()
    refused(text, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(text) + 10**6


@pytest.mark.parametrize("piece", ['"', '\\"', '"\\"', '",', '[",', "\\", '"a', "[]", '{"":'], ids=repr)
def test_the_outline_is_made_in_linear_time(piece: str) -> None:
    """The steps of a regular expression cannot be counted; a quadratic one would need minutes here."""
    assert refused(piece * (2_000_000 // len(piece)) + ",,,", 1)

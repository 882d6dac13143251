"""Text of tokens: whole characters, the same cost for each, and nothing of a stop string."""

from hypothesis import example, given
from hypothesis import strategies as st

from inference.engines.stop_strings import StopStrings
from inference.engines.transformers.detokenizer import Detokenizer


def decode(ids: list[int]) -> str:
    """A vocabulary of 256 bytes."""
    return bytes(ids).decode("utf-8", "replace")


words = st.text(st.characters(exclude_characters="�", exclude_categories=["Cs"]), max_size=30)


@given(words, words)
@example("😀🎉", "你好世界 é العربية")
def test_every_piece_is_whole_and_together_they_are_the_text(before: str, text: str) -> None:
    detokenizer = Detokenizer(decode, list(before.encode()))
    pieces = [detokenizer.feed(byte) for byte in text.encode()]
    assert "".join(pieces) == text
    assert all("�" not in piece for piece in pieces)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_text_cost_no_more(data: bytes) -> None:
    longest = 0

    def counting(ids: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode(ids)

    detokenizer = Detokenizer(counting, list(data))
    for byte in data:
        detokenizer.feed(byte)
    assert longest <= 8


@given(st.text("ab", max_size=40), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_text_ends_before_the_first_stop_string(text: str, stops: list[str], data: st.DataObject) -> None:
    ends = [text.find(stop) for stop in stops if stop in text]
    watch = StopStrings(stops)
    shown, rest = "", text
    while rest and not watch.met:
        size = data.draw(st.integers(1, len(rest)))
        shown += watch.feed(rest[:size])
        rest = rest[size:]
    whole = shown if watch.met else shown + watch.close()
    assert watch.met == bool(ends)
    if not ends:
        assert whole == text
    else:
        # In large pieces a stop string that begins earlier may end later than another.
        assert text.startswith(whole)
        assert not any(stop in whole for stop in stops)


def test_nothing_is_held_back_that_cannot_become_a_stop_string() -> None:
    assert StopStrings(["END"]).feed("the E") == "the "
    assert StopStrings(["END"]).feed("the Ends") == "the Ends"
    assert StopStrings([]).feed("all") == "all"

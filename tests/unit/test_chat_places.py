"""A flood in some chats keeps no place from another one, loses nothing in small, and changes no order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram.inbound.chat_places import ChatPlaces
from tests.unit.hostile import MOST_GROWTH, growth_of_work


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=400), st.integers(70, 200))
def test_a_chat_with_nothing_in_work_begins_at_once_whatever_others_do(
    steps: list[tuple[int, bool]], size: int
) -> None:
    places: ChatPlaces[str] = ChatPlaces(size, 1_000)
    running: list[str] = []
    for number, ends in steps:
        if places.offer(f"chat {number}", f"chat {number}") == "begin":
            running.append(f"chat {number}")
        if ends and running:
            running += places.done(running.pop(0))
        assert len(running) <= size
    assert places.offer("mine", "mine") == "begin"


@pytest.mark.parametrize("groups", [1, 5, 50])
def test_hundreds_of_accounts_in_some_groups_leave_places_for_others(groups: int) -> None:
    places: ChatPlaces[int] = ChatPlaces(1_000, 2_000)
    begun = 0
    for number in range(100_000):
        begun += places.offer(f"group {number % groups}", number) == "begin"
        assert not places.is_full, "the next batch is asked for"
    assert begun < 1_000
    for number in range(10):
        assert places.offer(f"private {number}", number) == "begin"


@given(st.lists(st.integers(0, 3), max_size=100), st.integers(1, 8))
def test_all_that_waits_begins_in_the_order_of_its_chat(chats: list[int], size: int) -> None:
    places: ChatPlaces[tuple[int, int]] = ChatPlaces(size, 1_000)
    running, begun = [], []
    for number, chat in enumerate(chats):
        match places.offer(str(chat), (chat, number)):
            case "begin":
                running.append((chat, number))
                begun.append((chat, number))
            case "drop":
                pytest.fail("there is room")
    while running:
        for following in places.done(str(running.pop(0)[0])):
            running.append(following)
            begun.append(following)
        assert len(running) <= size
    assert sorted(begun) == sorted((chat, number) for number, chat in enumerate(chats))
    for chat in set(chats):
        mine = [number for each, number in begun if each == chat]
        assert mine == sorted(mine)
    assert not places._work._held
    assert not places._queue._held


def test_after_an_outage_nobody_who_wrote_a_few_times_loses_anything() -> None:
    places: ChatPlaces[int] = ChatPlaces(10, 40)
    offers = {chat: [places.offer(chat, number) for number in range(4)] for chat in map(str, range(12))}
    assert not any("drop" in each for each in offers.values())


def test_in_a_full_house_the_work_for_each_update_grows_with_the_chats_alone() -> None:
    def work(text: str) -> None:
        chats = list(map(str, range(len(text) // 30)))
        places: ChatPlaces[int] = ChatPlaces(len(chats), len(chats))
        for number, chat in enumerate(2 * chats):
            places.offer(chat, number)
        for chat in chats[:-100:-1]:  # nobody before it may begin in its place
            assert list(places.done(chat))

    assert growth_of_work(work, lambda size: "x" * size) <= MOST_GROWTH

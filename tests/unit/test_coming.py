"""A stop takes back what its author has asked in that chat before, and nothing else."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bots.commands.registry import asks, is_stop
from bots.conversation.coming import Coming, Sent

ANN, BOB, HERE, THERE = "telegram:1", "telegram:2", "telegram:9:-1", "telegram:9:-2"


async def test_what_was_asked_before_is_taken_back_once() -> None:
    coming, heard = Coming(), list[str]()
    question = coming.add("1", HERE, ANN, 1.0, when_taken_back=lambda: heard.append("1"))
    coming.add("2", HERE, ANN, 2.0, asks=lambda: False)
    coming.add("3", HERE, BOB, 2.0)
    coming.add("4", THERE, ANN, 2.0)
    first, second = coming.add("5", HERE, ANN, 3.0), coming.add("6", HERE, ANN, 3.0)
    assert await coming.take_back(first) == [question]
    assert await coming.take_back(second) == [first]
    assert heard == ["1"]
    assert [each for name in "1234" if (each := coming.find(name, HERE)) and each.is_taken_back] == [question]


async def test_what_an_earlier_process_has_received_may_be_found_after_the_stop() -> None:
    coming = Coming()
    await coming.take_back(coming.add("stop", HERE, ANN, 5.0))
    assert coming.add("before", HERE, ANN, 4.0, late=True).is_taken_back
    assert not coming.add("a command", HERE, ANN, 4.0, late=True, asks=lambda: False).is_taken_back
    assert not coming.add("after", HERE, ANN, 6.0, late=True).is_taken_back
    # A clock that is set back takes nothing back that has only just come.
    assert not coming.add("new", HERE, ANN, 4.0).is_taken_back


async def test_whoever_waits_for_it_hears_that_it_is_over() -> None:
    coming = Coming()
    sent = coming.add("1", HERE, ANN, 1.0)
    waiting = asyncio.ensure_future(sent.over.wait())
    coming.remove(sent)
    coming.remove(sent)
    assert await waiting
    assert coming.find("1", HERE) is None
    assert not await coming.take_back(coming.add("stop", HERE, ANN, 2.0))


async def test_a_thousand_events_are_read_once_each_while_others_go_on() -> None:
    """Each may be as long as a message gets, and its author may send one stop after the other."""
    coming, read, turns = Coming(), list[int](), 0

    def looked_at(number: int) -> bool:
        read.append(turns)
        return number % 2 == 0

    for number in range(1_000):
        coming.add(str(number), HERE, ANN, 1.0, asks=lambda number=number: looked_at(number))  # type: ignore[misc]
    assert not read, "nobody has stopped anything"

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    going_on = asyncio.ensure_future(others())
    stops = [coming.add(f"stop {number}", HERE, ANN, 2.0, asks=lambda: False) for number in range(3)]
    found = [len(await coming.take_back(stop)) for stop in stops]
    going_on.cancel()
    assert found == [500, 0, 0]
    assert len(read) == 1_000
    assert len(set(read)) > 900, "others had their turn between them"


async def test_what_leaves_while_a_stop_looks_at_others_is_taken_back_too() -> None:
    coming = Coming()
    first, second = coming.add("1", HERE, ANN, 1.0), coming.add("2", HERE, ANN, 1.0)
    stopping = asyncio.ensure_future(coming.take_back(coming.add("stop", HERE, ANN, 2.0)))
    await asyncio.sleep(0)
    coming.remove(second)  # it is in its line now
    assert first.is_taken_back
    assert second.is_taken_back
    assert await stopping == [first, second]


@given(st.lists(st.tuples(st.sampled_from(["add", "stop", "remove"]), st.sampled_from([ANN, BOB])), max_size=40))
def test_whatever_happens_each_is_taken_back_by_the_first_stop_behind_it(steps: list[tuple[str, str]]) -> None:
    coming = Coming()
    here: dict[str, list[Sent]] = {ANN: [], BOB: []}
    for number, (step, person) in enumerate(steps):
        match step:
            case "add":
                here[person].append(coming.add(str(number), HERE, person, 0.0))
            case "remove" if here[person]:
                coming.remove(here[person].pop(0))
            case "stop":
                stop = coming.add(str(number), HERE, person, 0.0, asks=lambda: False)
                assert asyncio.run(coming.take_back(stop)) == here[person]
                coming.remove(stop)
                for each in here[person]:
                    coming.remove(each)
                here[person].clear()
    assert all(coming.find(each.event_id, HERE) is each for line in here.values() for each in line)


def test_what_asks_is_what_the_model_answers() -> None:
    assert all(map(asks, ("hello", "", "/ask x", "/code x", "/caption", "/regenerate", "/continue", "/usr/bin/env")))
    assert not any(map(asks, ("/stop", "/help", "/temperature 0.3", "/privacy erase", "/no-such-thing")))
    assert is_stop(" /STOP@party_bot")
    assert not is_stop("please /stop")

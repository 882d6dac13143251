"""One contract for usage, links and personal data in memory and in SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from bots.ports import Known, Received, ReplyRecord, Storage, Turn
from bots.profile.personal import Retention, Sample, Used
from tests.fakes import keep_turn

ANN, BOB, CAT = "telegram:1", "discord:2", "web:3"
DAY_S = 86_400.0
QUICK = Sample("first_token", 3)


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if cast(str, request.param) == "memory":
        yield MemoryStorage()
        return
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        yield SqlStorage(database)


async def link(storage: Storage, giver: str, taker: str) -> None:
    await storage.put_code(f"for {giver}", giver, 100.0)
    assert await storage.request(f"for {giver}", taker, 0.0, 100.0) == giver
    assert await storage.accept(giver, 0.0) == taker


def turn(number: int, person: str = ANN, **more: object) -> Turn:
    fields: dict[str, object] = {"chat": "c", "role": "user", "text": f"words {number}", "created_at": float(number)}
    return Turn(id=f"t{number}", person=person, **(fields | more))  # type: ignore[arg-type]


async def test_what_is_used_at_once_is_all_counted(storage: Storage) -> None:
    one = Used(answers=1, tokens=10, captions=2, seconds=0.5)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(storage.count(ANN, "2026-11-25", one, [QUICK, Sample("hour", 7)]))
    assert await storage.usage([ANN], "2026-11-25") == {
        "2026-11-25": Used(answers=20, tokens=200, captions=40, seconds=10.0)
    }
    histograms = await storage.histograms([ANN], "2026-11-25")
    assert histograms == {("2026-11-25", "first_token"): {3: 20}, ("2026-11-25", "hour"): {7: 20}}


async def test_usage_is_by_person_and_day(storage: Storage) -> None:
    for person, day, tokens in [(ANN, "2026-11-01", 1), (ANN, "2026-11-02", 2), (BOB, "2026-11-02", 4)]:
        await storage.count(person, day, Used(tokens=tokens), [QUICK])
    assert await storage.usage([ANN], "2026-11-02") == {"2026-11-02": Used(tokens=2)}
    assert await storage.usage([ANN, BOB], "2026-11-02") == {"2026-11-02": Used(tokens=6)}
    assert await storage.usage(None, "2026-11-01") == {"2026-11-01": Used(tokens=1), "2026-11-02": Used(tokens=6)}
    assert await storage.usage([CAT], "2026-11-01") == {}
    assert (await storage.histograms(None, "2026-11-01"))["2026-11-02", "first_token"] == {3: 2}


async def test_tokens_of_many_years_are_counted(storage: Storage) -> None:
    for _ in range(2):
        await storage.count(ANN, "2026-11-25", Used(tokens=2**40), [])
    assert (await storage.usage([ANN], "2026-11-25"))["2026-11-25"].tokens == 2**41


async def test_nobody_is_linked_at_first(storage: Storage) -> None:
    assert list(await storage.people(ANN)) == [ANN]
    assert not await storage.unlink(ANN)


async def test_linked_ids_share_settings_and_those_of_the_codes_giver_win(storage: Storage) -> None:
    await storage.set_preferences(ANN, {"temperature": "0.2"})
    await storage.set_preferences(BOB, {"temperature": "0.9", "seed": "7"})
    await link(storage, ANN, BOB)
    assert list(await storage.people(ANN)) == list(await storage.people(BOB)) == [ANN, BOB]
    for person in (ANN, BOB):
        assert await storage.preferences(person) == {"temperature": "0.2", "seed": "7"}
    await storage.set_preferences(BOB, {"seed": None, "top_p": "0.5"})
    assert await storage.preferences(ANN) == {"temperature": "0.2", "top_p": "0.5"}


async def test_what_an_answer_needs_to_know_is_read_at_once(storage: Storage) -> None:
    assert await storage.known(ANN) == Known([ANN], {}, [])
    await storage.set_preferences(ANN, {"seed": "7"})
    await storage.set_preferences("discord:place:1", {"max_tokens": "50"})
    await link(storage, ANN, BOB)
    known = await storage.known(BOB, ("discord:place:1", "discord:place:2"))
    assert known == Known([ANN, BOB], {"seed": "7"}, [{"max_tokens": "50"}, {}])


async def test_links_add_up(storage: Storage) -> None:
    await link(storage, BOB, CAT)
    await link(storage, ANN, CAT)
    await link(storage, CAT, BOB)
    for person in (ANN, BOB, CAT):
        assert list(await storage.people(person)) == [ANN, BOB, CAT]


@pytest.mark.parametrize("leaving", [ANN, BOB])
async def test_who_leaves_keeps_a_copy_of_the_settings(storage: Storage, leaving: str) -> None:
    await link(storage, ANN, BOB)
    await storage.set_preferences(BOB, {"seed": "7"})
    staying = BOB if leaving == ANN else ANN
    assert await storage.unlink(leaving)
    assert [list(await storage.people(person)) for person in (ANN, BOB)] == [[ANN], [BOB]]
    await storage.set_preferences(leaving, {"seed": "8"})
    assert (await storage.preferences(leaving), await storage.preferences(staying)) == ({"seed": "8"}, {"seed": "7"})
    assert not await storage.unlink(staying)


async def test_those_who_stay_stay_linked(storage: Storage) -> None:
    await link(storage, ANN, BOB)
    await link(storage, ANN, CAT)
    await storage.set_preferences(ANN, {"seed": "7"})
    assert await storage.unlink(ANN)
    assert set(await storage.people(BOB)) == {BOB, CAT}
    assert await storage.preferences(CAT) == {"seed": "7"}


async def test_a_code_works_once_and_not_for_its_owner(storage: Storage) -> None:
    await storage.put_code("code", ANN, 100.0)
    for code, taker, now in [("code", ANN, 0.0), ("other", BOB, 0.0), ("code", BOB, 100.0)]:
        assert await storage.giver(code, taker, now) is None
        assert await storage.request(code, taker, now, 200.0) is None
    assert await storage.giver("code", BOB, 99.0) == ANN
    assert await storage.request("code", BOB, 99.0, 200.0) == ANN
    assert await storage.giver("code", CAT, 0.0) is None
    assert await storage.request("code", CAT, 0.0, 200.0) is None


async def test_a_code_is_for_the_first_who_looks_at_it(storage: Storage) -> None:
    await storage.put_code("code", ANN, 100.0)
    assert await storage.giver("code", BOB, 0.0) == ANN
    assert await storage.giver("code", CAT, 0.0) is None
    assert await storage.request("code", CAT, 0.0, 200.0) is None
    assert await storage.giver("code", BOB, 0.0) == ANN
    assert await storage.request("code", BOB, 0.0, 200.0) == ANN
    assert await storage.giver("code", BOB, 0.0) is None


async def test_nothing_is_linked_before_both_have_agreed(storage: Storage) -> None:
    await storage.put_code("code", ANN, 100.0)
    assert await storage.requested(ANN, 0.0) is None
    assert await storage.accept(ANN, 0.0) is None
    await storage.request("code", BOB, 0.0, 100.0)
    assert list(await storage.people(ANN)) == [ANN]
    assert await storage.requested(ANN, 99.0) == BOB
    assert await storage.requested(ANN, 100.0) is None
    assert await storage.accept(ANN, 100.0) is None, "it is too late"
    assert await storage.accept(BOB, 0.0) is None, "the other side is asked"
    assert await storage.decline(ANN)
    assert not await storage.decline(ANN)
    assert await storage.accept(ANN, 0.0) is None
    assert await storage.take_news(BOB) == []


async def test_each_side_is_told_once_what_the_other_has_done(storage: Storage) -> None:
    await link(storage, ANN, BOB)
    assert await storage.take_news(ANN) == []
    assert await storage.take_news(BOB) == [(ANN, "linked")]
    assert await storage.take_news(BOB) == []
    await storage.share_data(BOB, True)
    assert await storage.take_news(ANN) == [(BOB, "shares")]
    await storage.unlink(BOB)
    assert await storage.take_news(ANN) == [(BOB, "unlinked")]


async def test_data_are_shared_by_those_who_all_agree(storage: Storage) -> None:
    assert not await storage.share_data(ANN, True)
    await link(storage, ANN, BOB)
    assert list(await storage.sharing(ANN)) == [ANN]
    await storage.share_data(ANN, True)
    assert (list(await storage.sharing(ANN)), list(await storage.sharing(BOB))) == ([ANN], [BOB])
    await storage.share_data(BOB, True)
    assert (list(await storage.sharing(ANN)), list(await storage.sharing(BOB))) == ([ANN, BOB], [BOB, ANN])
    await link(storage, ANN, CAT)
    assert list(await storage.sharing(ANN)) == [ANN], "somebody has come whom nobody had agreed to"
    for person in (ANN, BOB, CAT):
        await storage.share_data(person, True)
    assert list(await storage.sharing(CAT)) == [CAT, BOB, ANN]
    await storage.share_data(BOB, False)
    assert list(await storage.sharing(CAT)) == [CAT, ANN]
    assert list(await storage.sharing(BOB)) == [BOB]
    await storage.unlink(ANN)
    assert list(await storage.sharing(ANN)) == [ANN]


async def test_who_is_erased_is_in_no_request_and_no_news(storage: Storage) -> None:
    await link(storage, ANN, BOB)
    await storage.put_code("code", CAT, 100.0)
    await storage.request("code", ANN, 0.0, 100.0)
    await storage.erase([ANN], "2026-11-30")
    assert await storage.requested(CAT, 0.0) is None
    assert await storage.take_news(BOB) == []


async def test_the_first_day_of_usage_is_known_of_all_linked_ids(storage: Storage) -> None:
    assert (await storage.known(ANN)).since == ""
    await storage.count(ANN, "2026-11-20", Used(answers=1), [])
    await storage.count(BOB, "2026-11-03", Used(answers=1), [])
    await storage.count(CAT, "2026-11-01", Used(answers=1), [])
    assert (await storage.known(ANN)).since == "2026-11-20"
    await link(storage, ANN, BOB)
    assert (await storage.known(ANN)).since == (await storage.known(BOB)).since == "2026-11-03"


async def test_a_new_code_replaces_the_old_one(storage: Storage) -> None:
    await storage.put_code("old", ANN, 100.0)
    await storage.put_code("new", ANN, 100.0)
    assert await storage.request("old", BOB, 0.0, 200.0) is None
    assert await storage.request("new", BOB, 0.0, 200.0) == ANN


async def test_of_many_who_use_a_code_at_once_one_is_linked(storage: Storage) -> None:
    await storage.put_code("code", ANN, 100.0)
    takers = [f"discord:{number}" for number in range(10)]
    givers = await asyncio.gather(*(storage.request("code", taker, 0.0, 200.0) for taker in takers))
    assert givers.count(ANN) == 1
    assert await storage.accept(ANN, 0.0) == takers[givers.index(ANN)]
    assert list(await storage.people(ANN)) == [ANN, takers[givers.index(ANN)]]


async def test_settings_that_are_changed_while_somebody_links_survive(storage: Storage) -> None:
    await storage.put_code("code", ANN, 100.0)
    await storage.request("code", BOB, 0.0, 100.0)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(storage.set_preferences((ANN, BOB)[number % 2], {f"name{number}": "1"}))
            if number == 10:
                group.create_task(storage.accept(ANN, 0.0))
    assert await storage.preferences(ANN) == {f"name{number}": "1" for number in range(20)}


async def test_everything_of_a_person_is_exported_and_only_theirs(storage: Storage) -> None:
    for person in (ANN, BOB):
        await storage.set_preferences(person, {"seed": person})
        await storage.count(person, "2026-11-25", Used(tokens=5), [QUICK])
        await keep_turn(storage, Turn(id=f"t{person}", chat="c", person=person, role="user", text=f"words of {person}"))
    kept = json.loads(json.dumps(await storage.export([ANN])))
    assert kept["settings"] == {"seed": ANN}
    assert [turn["text"] for turn in kept["conversations"]["c"]] == [f"words of {ANN}"]
    assert [day["tokens"] for day in kept["usage"]] == [5]
    assert BOB not in json.dumps(kept)


async def test_what_is_erased_is_gone_and_others_stay(storage: Storage) -> None:
    for person in (ANN, BOB):
        await storage.set_preferences(person, {"seed": "1"})
        await storage.count(person, "2026-11-25", Used(tokens=5), [QUICK])
        await keep_turn(storage, Turn(id=f"t{person}", chat="c", person=person, role="assistant", text="words"))
        await storage.set_head("c", person, f"t{person}")
        await storage.record_delivery("c", f"t{person}", 0, f"m{person}")
    await link(storage, ANN, CAT)
    await storage.erase([ANN, CAT], "2026-11-25")
    assert (await storage.preferences(ANN), await storage.preferences(BOB)) == ({}, {"seed": "1"})
    assert await storage.usage(None, "2026-11-25") == {"2026-11-25": Used(tokens=5)}
    assert (await storage.turn(f"t{ANN}"), await storage.head("c", ANN)) == (None, None)
    assert await storage.answer_at("c", f"m{ANN}") is None
    assert await storage.answer_at("c", f"m{BOB}") == f"t{BOB}"
    assert list(await storage.people(CAT)) == [CAT]


async def test_what_was_refused_is_erased_too(storage: Storage) -> None:
    for person in (ANN, BOB):
        reply = ReplyRecord(chat="c", event_id=f"e{person}", answer_id=f"a{person}", person=person, created_at=0.0)
        assert await storage.claim(reply)
        await storage.record_delivery("c", f"a{person}", 0, f"m{person}")
    await storage.erase([ANN], "2026-11-25")
    assert await storage.answer_at("c", f"m{ANN}") is None
    assert await storage.answer_at("c", f"m{BOB}") == f"a{BOB}"


async def test_what_is_older_than_it_may_be_goes_in_batches(storage: Storage) -> None:
    now = 100 * DAY_S
    for number in range(10):
        await keep_turn(storage, turn(number, created_at=number * 10 * DAY_S))
        await storage.record_delivery("c", f"t{number}", 0, f"m{number}")
    await storage.set_head("c", ANN, "t2")
    await storage.set_head("c", BOB, "t9")
    retention = Retention(days=45, usage_days=0)
    assert [await storage.expire(retention, now, 4) for _ in range(3)] == [4, 2, 0]
    left = [await storage.turn(f"t{number}") is not None for number in range(10)]
    assert left == [False] * 6 + [True] * 4
    assert (await storage.head("c", ANN), await storage.head("c", BOB)) == (None, "t9")
    assert await storage.answer_at("c", "m2") is None
    assert await storage.answer_at("c", "m9") == "t9"


async def test_usage_and_events_go_after_their_time(storage: Storage) -> None:
    await storage.count(ANN, "1970-01-05", Used(tokens=1), [QUICK])
    await storage.count(ANN, "1970-04-01", Used(tokens=2), [QUICK])
    for number in range(3):
        at = DAY_S * (50 + 20 * number)
        await storage.receive([Received(account="a", id=str(number), chat="c", payload="{}", received_at=at)])
    await storage.answered("a", "0")
    assert await storage.expire(Retention(usage_days=30, event_days=29), 100 * DAY_S, 100) == 4
    assert await storage.usage(None, "1970-01-01") == {"1970-04-01": Used(tokens=2)}
    assert [event.id for event in await storage.unanswered("a")] == ["2"]
    new = Received(account="a", id="0", chat="c", payload="{}")
    assert await storage.receive([new]) == [new]


async def test_nothing_goes_where_everything_may_stay(storage: Storage) -> None:
    await keep_turn(storage, turn(0))
    await storage.count(ANN, "1970-01-01", Used(tokens=1), [])
    assert await storage.expire(Retention(days=0, usage_days=0), 1e9, 100) == 0
    assert await storage.turn("t0") is not None

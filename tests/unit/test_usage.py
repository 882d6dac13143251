"""Histograms, quotas, links and statistics, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.memory.storage import MemoryStorage
from bots.messages import CaptionReady, Ended, ReplyEvent, Started, TextDelta
from bots.people.account_links import GUESSING_S, MAX_GUESSES, Guesses, Linking, new_code
from bots.people.stats import StatsQuery as AskedStats
from bots.people.stats import panels, read, stats
from bots.people.usage import QuotaClaim, QuotaMeter, seconds_to_midnight
from bots.ports import StorageError
from bots.profile.histograms import bucket, percentile
from bots.profile.personal import Quotas, Sample, Used
from bots.profile.preferences import UserError
from bots.profile.tally import day_of
from inference.api import Timings, Usage

ANN, BOB = "telegram:1", "discord:2"
EVENING = 1_795_639_500.0  # 2026-11-25 20:45 UTC


@given(st.lists(st.floats(0.002, 10_000), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_at_most_7_percent_wrong(times: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for time in times:
        histogram[bucket(time)] = histogram.get(bucket(time), 0) + 1
    within = sorted(times)[max(0, -(-round(share * len(times) * 100) // 100) - 1)]
    found = percentile(histogram, share)
    assert found is not None
    assert any(found == pytest.approx(time, rel=0.075) for time in times)
    assert found >= within / 1.16


def test_no_times_have_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert bucket(0.0) == bucket(-1.0) == 0


def test_a_day_ends_at_midnight_in_utc() -> None:
    assert day_of(EVENING) == "2026-11-25"
    assert seconds_to_midnight(EVENING) == 3 * 3600 + 15 * 60
    assert day_of(EVENING + seconds_to_midnight(EVENING)) == "2026-11-26"


def ended(tokens: int = 10, **timings: float) -> Ended:
    times = Timings(**({"total_s": 3.0, "queued_s": 1.0, "time_to_first_token_s": 1.5} | timings))
    usage = Usage(prompt_tokens=99, completion_tokens=tokens, thinking_tokens=5)
    return Ended(reason="stop", usage=usage, timings=times, model="m")


async def answer(*events: ReplyEvent) -> AsyncGenerator[ReplyEvent, None]:
    for event in events:
        yield event


class Desk:
    """A meter with a clock that stands."""

    def __init__(self, tokens: int = 0, captions: int = 0, owners: tuple[str, ...] = ()) -> None:
        self.now = EVENING
        self.storage = MemoryStorage()
        self.meter = QuotaMeter(self.storage, lambda: self.now, Quotas(tokens=tokens, captions=captions), owners)

    async def ask(self, *events: ReplyEvent, person: str = ANN, tokens: int = 100, captions: int = 0) -> None:
        people = await self.storage.people(person)
        async for _ in self.meter.metered(
            self.meter.tally(person), people, QuotaClaim(tokens, captions), answer(*events)
        ):
            pass

    async def used(self, person: str = ANN) -> Used:
        return await self.meter.used_today([person])


async def test_an_answer_is_counted_when_it_ends() -> None:
    desk = Desk()
    await desk.ask(Started(answer_id="a"), CaptionReady("a cat"), CaptionReady("a dog", 1, 2), TextDelta("hi"), ended())
    assert await desk.used() == Used(answers=1, tokens=15, captions=2, seconds=2.0)
    histograms = await desk.storage.histograms([ANN], "2026-11-25")
    assert {kind: sum(each.values()) for (_, kind), each in histograms.items()} == {
        "hour": 1,
        "first_token": 1,
        "queue": 1,
    }
    assert histograms["2026-11-25", "hour"] == {20: 1}


async def test_an_answer_that_is_given_up_counts_for_what_was_said() -> None:
    desk = Desk()
    events = desk.meter.metered(
        desk.meter.tally(ANN), [ANN], QuotaClaim(100, 0), answer(Started(answer_id="a"), TextDelta("x" * 400), ended())
    )
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await desk.used() == Used(tokens=100)
    assert not desk.meter.busy([ANN])


async def test_what_cannot_be_counted_costs_nobody_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    async def fail(*_: object) -> None:
        raise RuntimeError("nobody has foreseen this")

    monkeypatch.setattr(desk.storage, "count", fail)
    await desk.ask(Started(answer_id="a"), TextDelta("hi"), ended())
    assert not desk.meter.busy([ANN])


async def test_a_quota_that_is_used_up_says_when_it_comes_back() -> None:
    desk = Desk(tokens=20)
    await desk.ask(ended(15))
    with pytest.raises(UserError, match=r"20 tokens .* used up; you get new ones at midnight UTC, in 3 h 15 min\.$"):
        await desk.ask(ended())
    await desk.ask(ended(), person=BOB)
    desk.now += seconds_to_midnight(EVENING)
    await desk.ask(ended())


async def test_captions_have_a_quota_of_their_own() -> None:
    desk = Desk(captions=3)
    await desk.ask(CaptionReady("a"), CaptionReady("b", 1, 2), ended(0), tokens=0, captions=2)
    with pytest.raises(UserError, match="only 1 is left"):
        await desk.ask(tokens=0, captions=2)
    await desk.ask(CaptionReady("a"), ended(0), tokens=0, captions=1)
    with pytest.raises(UserError, match="none is left"):
        await desk.ask(tokens=0, captions=1)
    await desk.ask(ended())


async def test_many_at_once_are_not_more_than_one_by_one() -> None:
    desk, release = Desk(tokens=250), asyncio.Event()
    refusals: list[str] = []

    async def slow() -> AsyncGenerator[ReplyEvent, None]:
        yield Started(answer_id="a")
        await release.wait()
        yield ended()

    async def ask() -> None:
        try:
            async for _ in desk.meter.metered(desk.meter.tally(ANN), [ANN], QuotaClaim(100, 0), slow()):
                assert desk.meter.busy([ANN])
        except UserError as refusal:
            refusals.append(str(refusal))
            if len(refusals) == 2:
                release.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(ask())
    assert all("kept for what is being answered" in refusal for refusal in refusals)
    assert (await desk.used()).answers == 3


async def test_owners_have_no_quota() -> None:
    desk = Desk(tokens=1, owners=(ANN,))
    await desk.ask(ended())
    await desk.ask(ended())


async def test_linked_ids_share_a_quota() -> None:
    desk = Desk(tokens=20)
    await desk.storage.put_code("code", ANN, EVENING + 1)
    await desk.ask(ended(), person=BOB)
    assert await desk.storage.request("code", BOB, EVENING, EVENING + 1) == ANN
    assert await desk.storage.accept(ANN, EVENING) == BOB
    await desk.ask(ended(), person=ANN)
    for person in (ANN, BOB):
        with pytest.raises(UserError):
            await desk.ask(ended(), person=person)


async def test_an_answer_is_not_lost_because_it_cannot_be_counted(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    async def full(person: str, day: str, used: Used, marks: Sequence[Sample]) -> None:
        raise OSError("no space left")

    desk.storage.count = full  # type: ignore[method-assign]
    await desk.ask(TextDelta("hi"), ended())
    assert "not counted" in caplog.text


def linking(storage: MemoryStorage) -> tuple[Linking, list[float]]:
    clock = [0.0]
    codes = iter([f"ABCDE2345{number}" for number in range(2, 9)])
    return Linking(storage, lambda: clock[0], lambda: next(codes)), clock


async def test_a_code_links_two_platforms() -> None:
    storage = MemoryStorage()
    link, _ = linking(storage)
    assert "ABCDE-23452" in (await link.do(ANN, "")).text
    assert ANN in (await link.do(BOB, "abcde 23452")).text
    assert "Half done" in (await link.do(BOB, "abcde 23452 yes")).text
    assert list(await storage.people(BOB)) == [BOB]
    assert BOB in (await link.do(ANN, "")).text
    assert f"with `{BOB}`" in (await link.do(ANN, "yes")).text
    assert list(await storage.people(BOB)) == [ANN, BOB]
    assert f"is linked to `{BOB}`" in (await link.do(ANN, "")).text
    assert "is now linked" in await link.news(BOB)
    assert await link.news(BOB) == ""
    assert "on its own" in (await link.do(BOB, "off")).text
    with pytest.raises(UserError, match="linked to no other"):
        await link.do(BOB, "off")


async def test_both_sides_are_told_what_the_other_is_called() -> None:
    link, _ = linking(MemoryStorage())
    await link.do(ANN, "", "Ann")
    assert "calls itself `Ann`" in (await link.do(BOB, "ABCDE23452", "Bob `(telegram:1)\n\n# Ann")).text
    await link.do(BOB, "ABCDE23452 yes", "Bob `(telegram:1)\n\n# Ann")
    assert "calls itself `Bob '(telegram:1) # Ann`" in (await link.do(ANN, "", "Ann")).text
    link.forget(BOB)
    assert "calls itself" not in (await link.do(ANN, "", "Ann")).text


async def test_others_never_see_a_code() -> None:
    link, _ = linking(MemoryStorage())
    given = await link.do(ANN, "")
    assert given.private
    assert "private chat" in given.otherwise
    assert "ABCD" not in given.otherwise


async def test_an_old_code_does_not_work() -> None:
    link, clock = linking(MemoryStorage())
    await link.do(ANN, "")
    clock[0] = 601.0
    with pytest.raises(UserError, match="expired"):
        await link.do(BOB, "ABCDE23452")


async def test_who_guesses_has_to_wait_even_with_the_right_code() -> None:
    storage = MemoryStorage()
    link, clock = linking(storage)
    await link.do(ANN, "")
    results = await asyncio.gather(*(link.do(BOB, f"WRZNGCZD{n + 22}") for n in range(8)), return_exceptions=True)
    assert sum("didn't work. It may" in str(result) for result in results) == MAX_GUESSES
    with pytest.raises(UserError, match="try again in 1 h"):
        await link.do(BOB, "ABCDE23452")
    assert list(await storage.people(BOB)) == [BOB]
    clock[0] = GUESSING_S
    await link.do(ANN, "")
    assert "Half done" in (await link.do(BOB, "ABCDE23453 yes")).text


def test_those_who_guess_are_forgotten_at_some_point() -> None:
    guesses = Guesses()
    for number in range(20_000):
        guesses.missed(str(number), 0.0)
    assert len(guesses) == 10_000
    guesses.take_back("0")
    guesses.take_back("19999")
    assert len(guesses) == 9_999


def test_a_lock_outlasts_ten_thousand_others() -> None:
    guesses = Guesses()
    for number in range(MAX_GUESSES):
        guesses.missed("attacker", float(number))
    for number in range(10_001):
        guesses.missed(str(number), 10.0)
    assert guesses.locked_s("attacker", 10.0) == GUESSING_S - 10


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 600)), max_size=100), st.integers(1, 8))
def test_guesses_lock_whoever_made_them_and_nobody_else(made: list[tuple[int, float]], remembered: int) -> None:
    guesses, now = Guesses(remembered=remembered), 0.0
    for number, later_s in made:
        now += later_s
        if not guesses.locked_s(str(number), now):
            guesses.missed(str(number), now)
        assert len(guesses) <= 2 * remembered
        assert guesses.locked_s("somebody who never guessed", now) == 0
        for other in range(10):
            mine = sum(who == other for who, _ in made)
            assert mine >= MAX_GUESSES or not guesses.locked_s(str(other), now)
            assert guesses.locked_s(str(other), now) <= GUESSING_S


def test_ten_thousand_who_are_locked_keep_nobody_from_linking() -> None:
    guesses = Guesses()
    for number in range(10_000):
        for _ in range(MAX_GUESSES):
            guesses.missed(str(number), 0.0)
    assert guesses.locked_s("newcomer", 1.0) == 0
    for _ in range(MAX_GUESSES):
        guesses.missed("newcomer", 1.0)
    assert guesses.locked_s("newcomer", 1.0) == GUESSING_S
    assert guesses.locked_s("9999", 1.0) > 0


def test_codes_cannot_be_foreseen() -> None:
    codes = {new_code() for _ in range(1000)}
    assert len(codes) == 1000
    assert all(len(code) == 10 for code in codes)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", AskedStats()),
        ("30 dark", AskedStats(days=30, dark=True)),
        ("ALL 1 light", AskedStats(days=1, everybody=True)),
    ],
)
def test_what_stats_is_asked(words: str, asked: AskedStats) -> None:
    assert read(words) == asked


@pytest.mark.parametrize("words", ["0", "91", "-1", "²", "9" * 5000, "0090000", "purple"])
def test_what_stats_cannot_be_asked(words: str) -> None:
    with pytest.raises(UserError, match="up to 90"):
        read(words)


async def test_every_day_has_its_place_in_the_picture() -> None:
    desk = Desk()
    await desk.ask(ended())
    seen = await stats(desk.meter, [ANN], 3)
    assert list(seen.days) == ["2026-11-23", "2026-11-24", "2026-11-25"]
    tokens, first_token, queue, hours = panels(seen)
    assert list(tokens.labels) == ["23 Nov", "24 Nov", "25 Nov"]
    assert list(tokens.series[""]) == [0, 0, 15]
    assert list(first_token.series["p95"])[:2] == [None, None]
    assert list(first_token.series["p95"])[2] == pytest.approx(1.5, rel=0.075)
    assert list(queue.series["p50"])[2] == pytest.approx(1.0, rel=0.075)
    assert list(hours.series[""]) == [float(hour == 20) for hour in range(24)]
    assert seen.busiest_hour == 20


async def test_a_word_behind_link_is_no_guess() -> None:
    link, _ = linking(MemoryStorage())
    await link.do(ANN, "")
    for word in ("help", "please", "to my discord", "?", "ABCDE2345", "ABCDE234520", "0123456789", "help yes"):
        with pytest.raises(UserError, match="didn't work"):
            await link.do(BOB, word)
    assert ANN in (await link.do(BOB, "ABCDE-23452")).text


@pytest.mark.parametrize("agrees", ["", " yes"])
async def test_what_the_storage_could_not_look_up_is_no_guess(agrees: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    link, _ = linking(storage)
    await link.do(ANN, "")

    async def away(*_: Any) -> str | None:
        raise StorageError("away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "giver", away)
        patch.setattr(storage, "request", away)
        for _ in range(2 * MAX_GUESSES):
            with pytest.raises(StorageError):
                await link.do(BOB, f"ABCDE23452{agrees}")
    assert ANN in (await link.do(BOB, "ABCDE23452")).text

"""Who is let in when the queue is full, who gives way, and what accounts without end can cost somebody who is known."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from itertools import count
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.api import Standing
from inference.queueing.eviction import Places, path_of, platform_of
from inference.queueing.fair_queue import KEPT_S, LATELY_S, SERVED_S, SIDE_LATELY_S, FairQueue, QueueFull

STANDINGS = st.sampled_from(get_args(Standing))
OWNERS = st.builds("{}:{}".format, st.sampled_from(["discord", "telegram", "web"]), st.integers(0, 6))
GROUPS = st.sampled_from(["", "telegram:-1", "discord:2"])


def queue(slots: int = 8, waiting: int = 16, per_owner: int = 2, each: int = 8) -> FairQueue:
    return FairQueue(slots=slots, per_owner=per_owner, max_waiting=waiting, max_waiting_per_owner=each)


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Where the places of some people are; each has one standing."""
    standings = draw(st.dictionaries(OWNERS, STANDINGS, min_size=1))
    places = st.tuples(st.sampled_from(sorted(standings)), GROUPS)
    found = draw(st.lists(places, min_size=1, max_size=60))
    return [path_of(owner, standings[owner], group) for owner, group in found]


@example([("guest", "discord", "private", f"discord:{n}") for n in (0, 0, 0, 2, 2)] + 4 * [path_of("discord:1", "new")])
@example(
    [
        path_of("discord:0", "guest"),
        path_of("discord:0", "guest", "discord:2"),
        path_of("discord:1", "guest", "discord:2"),
    ]
)
@given(crowds())
def test_whoever_has_nothing_is_let_in_if_somebody_has_two(crowd: list[tuple[str, ...]]) -> None:
    newcomer, *held = crowd
    places = Places()
    for path in held:
        places.take(path)
    giver = places.giver(newcomer)
    owners = Counter(path[-1] for path in held)
    if not owners[newcomer[-1]] and max(owners.values(), default=0) >= 2:
        assert giver is not None
    if giver is None:
        return
    assert giver in held
    assert giver != newcomer, "nobody gives way to themselves"
    places.leave(giver)
    places.take(newcomer)
    back = places.giver(giver)
    if giver[0] == newcomer[0]:
        assert back is None or back[-1] != newcomer[-1], "it would be taken back at once"
    if giver[0] == "known" != newcomer[0]:
        assert owners[giver[-1]] >= 2, "somebody known loses their only request"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=150), GROUPS, st.sampled_from([2, 16, 64]))
def test_a_raid_on_one_group_keeps_nobody_elsewhere_out(
    raid: list[tuple[int, int]], elsewhere: str, waiting: int
) -> None:
    """Hundreds of new accounts, with one request each or more."""
    fair = queue(waiting=waiting)
    running: list[str] = []
    for number, (account, ends) in enumerate(raid):
        with suppress(QueueFull):
            fair.push(f"r{number}", f"telegram:{account}", 100, group="telegram:-9")
        running += fair.start()
        for _ in range(min(ends, len(running))):
            fair.remove(running.pop(0), 100)
    fair.push("mine", "telegram:4711", 100, group=elsewhere)
    assert fair.position("mine") is not None or "mine" in fair.start()


def test_a_raid_does_not_take_the_places_of_who_is_known_in_that_group() -> None:
    fair = queue(waiting=16)
    for number in range(300):
        with suppress(QueueFull):
            fair.push(f"r{number}", f"telegram:{number}", 100, group="telegram:-9")
        fair.start()
    fair.push("mine", "telegram:4711", 100, standing="known", group="telegram:-9")
    assert fair.position("mine") is not None


ATTACKS = st.lists(st.integers(0, 300), min_size=64, max_size=150)
"""Which account each request is from."""


def attacked(attack: list[int], group: str, known: int = 0) -> FairQueue:
    """A queue that requests of new accounts have filled, beside some of known people who were there before."""
    fair = queue(waiting=64)
    for number in range(8 + known):
        fair.push(f"k{number}", f"telegram:k{number}", 100, standing="known")
        fair.start()
    for number, account in enumerate(attack):
        with suppress(QueueFull):
            fair.push(f"r{number}", f"telegram:{account}", 100, group=group)
    return fair


@given(ATTACKS, st.integers(1, 8), st.booleans())
def test_a_raid_on_one_group_leaves_all_others_their_places(raid: list[int], groups: int, private: bool) -> None:
    fair = attacked(raid, "telegram:-9")
    elsewhere = [f"telegram:-{number}" for number in range(100, 100 + groups)] + 20 * [""] * private
    for number, group in enumerate(elsewhere):
        fair.push(f"m{number}", f"telegram:m{number}", 100, group=group)
    assert all(fair.position(f"m{number}") for number in range(len(elsewhere)))


@given(ATTACKS, st.lists(st.sampled_from(["telegram:-1", "telegram:-2"]), min_size=1, max_size=20), st.integers(1, 8))
def test_private_accounts_keep_nobody_out_of_groups_or_the_page(
    attack: list[int], groups: list[str], guests: int
) -> None:
    fair = attacked(attack, "")
    for number, group in enumerate(groups):
        fair.push(f"m{number}", f"telegram:m{number}", 100, group=group)
    for number in range(guests):
        fair.push(f"g{number}", f"web:{number}", 100, standing="guest")
    assert all(fair.position(f"m{number}") for number in range(len(groups)))
    assert all(fair.position(f"g{number}") for number in range(guests))


@given(st.permutations([""] * 60 + ["discord:1"] * 60))
def test_on_the_first_day_a_server_and_private_chats_share_evenly(arrivals: list[str]) -> None:
    fair = attacked([], "")
    held: Counter[str] = Counter()
    for number, group in enumerate(arrivals):
        with suppress(QueueFull):
            fair.push(f"{group}/{number}", f"discord:{number}", 100, group=group)
    held.update(group for number, group in enumerate(arrivals) if fair.position(f"{group}/{number}"))
    assert held == {"": 32, "discord:1": 32}


@given(st.permutations(["small"] * 12 + ["large"] * 60 + ["other"] * 60))
def test_on_the_first_day_servers_share_evenly(arrivals: list[str]) -> None:
    fair = attacked([], "")
    for number, group in enumerate(arrivals):
        with suppress(QueueFull):
            fair.push(f"{group}/{number}", f"discord:{number}", 100, group=f"discord:{group}")
    held = Counter(group for number, group in enumerate(arrivals) if fair.position(f"{group}/{number}"))
    assert held["small"] == 12
    assert held["large"] == held["other"] == 26


def test_a_large_server_counts_more_than_one_of_many_small_ones() -> None:
    fair = attacked([], "")
    for number in range(60):
        for kind, group in (("s", f"discord:{number}"), ("l", "discord:large")):
            with suppress(QueueFull):
                fair.push(f"{kind}{number}", f"discord:{kind}{number}", 100, group=group)
    assert sum(fair.position(f"l{number}") is not None for number in range(60)) >= 8


@given(ATTACKS, st.sampled_from(["", "telegram:-9"]), st.integers(0, 64), st.sampled_from(["new", "guest"]))
def test_newcomers_never_throw_out_who_is_known(attack: list[int], group: str, known: int, standing: Standing) -> None:
    fair = attacked(attack, group, known)
    for number in range(80):
        with suppress(QueueFull):
            fair.push(f"g{number}", f"web:{number}", 100, standing=standing)
    assert all(fair.position(f"k{number}") for number in range(8, 8 + known))


def test_of_a_known_persons_many_requests_a_newcomer_gets_one() -> None:
    fair = attacked([], "")
    for number in range(64):
        fair.push(f"h{number}", f"discord:h{number % 8}", 100, standing="known")
    assert fair.push("mine", "discord:new", 100) is not None


def test_places_in_several_groups_are_one_owners() -> None:
    fair = queue(waiting=64, each=8)
    fair.push("run", "discord:0", 100)
    fair.push("run 2", "discord:0", 100)
    fair.slots = len(fair.start())
    for number in range(8):
        fair.push(str(number), "telegram:1", 100, group=f"telegram:-{number}")
    with pytest.raises(QueueFull):
        fair.push("one more", "telegram:1", 100, group="telegram:-99")


@given(st.integers(1, 8))
def test_one_accounts_groups_are_not_more_than_one_account(count: int) -> None:
    """Somebody with nothing takes a place of whoever sits in every group."""
    places = Places()
    for number in range(count + 1):
        places.take(path_of("telegram:hog", "new", f"telegram:-{number}"))
    giver = places.giver(path_of("telegram:me", "new"))
    assert giver is not None
    assert giver[-1] == "telegram:hog"


@given(crowds())
def test_places_that_are_left_leave_no_trace(held: list[tuple[str, ...]]) -> None:
    places = Places()
    for path in [*held, *held]:
        places.take(path)
    for path in [*held, *reversed(held)]:
        places.leave(path)
    assert not places._inside
    assert not places._owners


@given(st.lists(st.tuples(OWNERS, STANDINGS), min_size=30, max_size=80), st.sampled_from(["discord:me", "web:me"]))
def test_a_known_person_is_let_in_whatever_others_have(crowd: list[tuple[str, Standing]], person: str) -> None:
    """However many accounts, on whatever platforms: none of them is known."""
    fair = queue(waiting=16)
    for number, (owner, standing) in enumerate(crowd):
        with suppress(QueueFull):
            fair.push(str(number), owner, 100, standing="new" if standing == "known" else standing)
        fair.start()
    fair.push("mine", person, 100, standing="known")
    assert fair.position("mine") is not None or "mine" in fair.start()


@given(st.integers(1, 8), st.lists(st.integers(1, 500), min_size=1, max_size=30), st.data())
def test_of_guests_at_most_one_goes_before_a_known_person(slots: int, costs: list[int], data: st.DataObject) -> None:
    """Any number of new guests, who come and go as they like."""
    fair = queue(slots=slots, waiting=64)
    guests = 0
    running: list[str] = []
    costs_of: dict[str, int] = {}

    def come() -> None:
        nonlocal guests
        for cost in costs:
            guests += 1
            try:
                fair.push(f"g{guests}", f"web:{guests % 40}", cost, standing="guest")
                costs_of[f"g{guests}"] = cost
            except QueueFull:
                return

    def end() -> None:
        if not running:
            return
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        fair.remove(done, data.draw(st.integers(0, 2 * costs_of[done])))

    for _ in range(data.draw(st.integers(1, 10))):
        come()
        running += fair.start()
        end()
    come()
    running += fair.start()
    fair.push("mine", "discord:1", 100, standing="known")
    before = 0
    for _ in range(200):
        come()
        started = fair.start()
        if "mine" in started:
            before += started.index("mine")
            break
        before += len(started)
        running += started
        end()
    else:
        pytest.fail("the known person was never served")
    assert before <= 1


def test_all_new_guests_of_a_platform_share_one_weight() -> None:
    fair = queue(slots=1, waiting=64, per_owner=1)
    for number in range(40):
        fair.push(f"g{number}", f"web:{number}", 100, standing="guest")
    for number in range(8):
        fair.push(f"m{number}", "discord:1", 100)
    order = []
    for _ in range(10):
        (started,) = fair.start()
        order.append(started[0])
        fair.remove(started, 100)
    assert Counter(order) == {"g": 5, "m": 5}


def test_guests_share_among_themselves_by_the_same_rule() -> None:
    fair = queue(slots=1, waiting=64, per_owner=1)
    for number in range(8):
        fair.push(f"hog {number}", "web:hog", 100, standing="guest")
    fair.push("ann", "web:ann", 100, standing="guest")
    (first,) = fair.start()
    fair.remove(first, 100)
    assert fair.position("ann") == 1
    assert fair.start() == ["ann"]


@pytest.mark.parametrize("person", [("discord:1", "new"), ("web:mine", "known")])
def test_two_requests_of_eighty_guests_keep_nobody_out(person: tuple[str, Standing]) -> None:
    fair = queue(waiting=64)
    for number in range(160):
        with suppress(QueueFull):
            fair.push(f"g{number}", f"web:{number // 2}", 100, standing="guest")
        fair.start()
    assert fair.waiting == 64
    for number in range(8):
        assert fair.push(f"mine {number}", person[0], 100, standing=person[1]) is not None
    assert fair.waiting == 64


def test_eight_accounts_in_ten_chats_keep_nobody_out() -> None:
    fair = queue(waiting=64)
    for number in range(80):
        with suppress(QueueFull):
            fair.push(f"t{number}", f"telegram:{number % 8}", 100)
        fair.start()
    gave_way = fair.push("mine", "telegram:4711", 100)
    assert gave_way is not None
    of_the_same = range(int(gave_way[1:]) % 8, 80, 8)
    assert int(gave_way[1:]) > max(number for number in of_the_same if fair.position(f"t{number}")), "the newest"


def test_a_part_of_the_places_is_for_each_platform_and_for_known_people() -> None:
    fair = queue(slots=1, waiting=12)
    for number in range(13):
        fair.push(f"d{number}", f"discord:{number}", 100)
        fair.start()
    with pytest.raises(QueueFull):
        fair.push("one more", "discord:99", 100)
    for number in range(6):
        assert fair.push(f"t{number}", f"telegram:{number}", 100) is not None
    with pytest.raises(QueueFull):
        fair.push("t6", "telegram:6", 100)
    for number in range(6):
        assert fair.push(f"k{number}", f"discord:k{number}", 100, standing="known") is not None
    with pytest.raises(QueueFull):
        fair.push("k6", "discord:k6", 100, standing="known")
    for number in range(2):
        assert fair.push(f"g{number}", f"web:{number}", 100, standing="guest") is not None


def test_a_request_that_gave_way_finds_its_turn_again() -> None:
    fair = queue(slots=1, waiting=3, per_owner=1)
    for number, owner in enumerate(["telegram:run", "telegram:a", "telegram:a", "telegram:b"]):
        fair.push(str(number), owner, 100)
        fair.start()
    assert fair.push("c", "telegram:c", 100) == "2", "the newest of whoever has two"
    fair.remove("0", 100)
    (running,) = fair.start()
    assert running == "1"
    # In the meantime another has come, and the queue is full again; the one that gave way was there before.
    fair.push("d", "telegram:d", 100, now=1.0)
    fair.remove("1", 0)
    assert fair.push("again", "telegram:a", 100, now=1.0) is None
    order: list[str] = []
    while started := fair.start():
        order += started
        fair.remove(started[0], 0)
    assert order == ["again", "3", "c", "d"]


def test_a_place_is_not_kept_for_ever() -> None:
    fair = queue(slots=1, waiting=2, per_owner=1)
    fair.push("0", "telegram:run", 100)
    fair.start()
    fair.push("1", "telegram:a", 100)
    fair.push("2", "telegram:a", 100)
    assert fair.push("b", "telegram:b", 100) == "2"
    fair.remove("1")
    fair.push("late", "telegram:a", 100, now=KEPT_S + 1)
    assert (fair.position("b"), fair.position("late")) == (1, 2)


def test_the_last_slot_is_kept_for_people_of_another_side() -> None:
    fair = queue(slots=8)
    fair.push("hello", "discord:1", 100, standing="known", now=0.0)
    assert fair.start(0.0) == ["hello"]
    fair.remove("hello", 100)
    for number in range(12):
        fair.push(f"t{number}", f"telegram:{number}", 100, now=1.0)
    assert len(fair.start(1.0)) == 7
    fair.push("again", "discord:1", 100, standing="known", now=2.0)
    assert fair.start(2.0) == ["again"]
    fair.remove("again", 100)
    assert fair.start(3.0) == []
    assert len(fair.start(2.0 + SIDE_LATELY_S)) == 1, "nobody else has asked for a while"


def test_no_slot_is_kept_free_where_every_side_has_one() -> None:
    fair = queue(slots=8)
    for number in range(5):
        fair.push(f"d{number}", f"discord:{number}", 100, standing="known")
        fair.push(f"t{number}", f"telegram:{number}", 100)
    assert len(fair.start()) == 8


def test_whoever_asks_one_thing_finds_a_slot_beside_those_who_ask_many() -> None:
    """Eight accounts in ten chats, all of them new and of one platform, as the person is who asks beside them."""
    fair = queue(slots=8, waiting=64)
    flood = [f"{owner}/{chat}" for chat in range(8) for owner in range(8)]
    for request in flood:
        fair.push(request, f"telegram:{request[0]}", 100)
    running = fair.start()
    for number in range(20):
        fair.push(f"mine{number}", "telegram:4711", 100, now=float(number))
        assert fair.start(float(number)) == [f"mine{number}"]
        for ended in (running.pop(0), f"mine{number}"):
            fair.remove(ended, 100)
        running += fair.start(float(number))
        assert len(running) == 6


def test_whoever_asked_many_things_a_moment_ago_leaves_the_slot_too() -> None:
    """Accounts that ask again as soon as they are answered have less waiting now and then, and are no others for it."""
    fair = queue(slots=8, waiting=64)
    for number in range(32):
        fair.push(f"{number}", f"telegram:{number % 8}", 100)
    fair.push("mine", "telegram:4711", 100)
    running = fair.start()
    while running:
        fair.remove(running.pop(0), 100)
        running += fair.start()
    for number in range(8):
        fair.push(f"again{number}", f"telegram:{number}", 100, now=20.0)
    fair.push("more", "telegram:4711", 100, now=20.0)
    assert "more" in (started := fair.start(20.0))
    fair.remove("more", 100)
    assert len(started) - 1 == 6
    fair.push("still more", "telegram:4711", 100, now=25.0)
    assert fair.start(25.0) == ["still more"]


def test_somebody_of_another_platform_who_has_asked_takes_no_slot_from_whoever_asks_one_thing() -> None:
    fair = queue(slots=8, waiting=64)
    fair.push("elsewhere", "discord:1", 100)
    fair.push("mine", "telegram:4711", 100)
    assert fair.start() == ["elsewhere", "mine"]
    for ended in ("elsewhere", "mine"):
        fair.remove(ended, 100)
    for number in range(64):
        fair.push(f"{number}", f"telegram:{number % 8}", 100, now=1.0)
    assert len(fair.start(1.0)) == 6
    fair.push("mine", "telegram:4711", 100, now=2.0)
    assert fair.start(2.0) == ["mine"]
    fair.push("elsewhere", "discord:1", 100, now=3.0)
    assert fair.start(3.0) == ["elsewhere"]


def test_those_who_ask_many_things_have_every_slot_when_nobody_else_asks() -> None:
    fair = queue(slots=8, waiting=64)
    for number in range(32):
        fair.push(f"{number}", f"telegram:{number % 8}", 100)
    assert len(fair.start(LATELY_S)) == 8
    modest = queue(slots=8, waiting=64)
    for number in range(8):
        modest.push(f"{number}", f"telegram:{number}", 100)
    assert len(modest.start()) == 8, "nobody of them asks for more than may run"


def test_whoever_is_alone_has_every_slot() -> None:
    fair = queue(slots=8)
    for number in range(12):
        fair.push(f"t{number}", f"telegram:{number}", 100)
    assert len(fair.start()) == 8
    few = queue(slots=2)
    few.push("d", "discord:1", 1)
    few.push("t", "telegram:1", 1)
    few.push("t2", "telegram:2", 1)
    assert len(few.start()) == 2, "of few slots none is kept"


@given(st.lists(st.tuples(OWNERS, STANDINGS, st.integers(0, 3)), max_size=60))
def test_nobody_who_is_being_answered_gives_way(steps: list[tuple[str, Standing, int]]) -> None:
    fair = queue(slots=2, waiting=4, each=3)
    running: set[str] = set()
    for number, (owner, standing, ends) in enumerate(steps):
        with suppress(QueueFull):
            assert fair.push(str(number), owner, 10, standing=standing, now=float(number)) not in running
        running |= set(fair.start(float(number)))
        for done in sorted(running)[:ends]:
            fair.remove(done, 10)
            running.discard(done)
        assert fair.waiting <= 4 + 1, "one place is for those who gave way"
        assert fair.running == len(running)


def test_users_of_a_client_are_one_platform() -> None:
    assert platform_of("api:notebook/ann") == "api:notebook"
    assert platform_of("api:notebook/team/ann") == "api:notebook"
    assert platform_of("api:notebook") == "api"
    assert platform_of("telegram:4711") == "telegram"
    assert platform_of("ann") == ""


def test_a_client_has_one_share_whatever_it_calls_its_users() -> None:
    """A slash in the names of its users does not make a platform of each of them."""
    fair = queue(slots=1, waiting=64)
    for number in range(30):
        fair.push(f"crowd{number}", f"api:notebook/{number}/x", 10, standing="guest")
    for number in range(3):
        fair.push(f"report{number}", "api:report", 10, standing="known")
    order = []
    while started := fair.start():
        order += started
        fair.remove(started[0], 10)
    assert [each for each in order[:8] if each.startswith("report")] == ["report0", "report1", "report2"]


def asked_again(accounts: int, standing: Standing, group: str = "") -> FairQueue:
    """Accounts that hold all places with one request each, and have asked again whenever they were answered."""
    fair, numbers = queue(waiting=64), count()
    running = deque[tuple[str, str]]()

    def ask(account: str) -> None:
        fair.push(name := f"{account}/{next(numbers)}", account, 100, standing=standing, group=group)
        owners[name] = account
        running.extend((started, owners[started]) for started in fair.start())

    owners: dict[str, str] = {}
    for number in range(accounts):
        ask(f"telegram:x{number}")
    for _ in range(2 * accounts):
        request, account = running.popleft()
        fair.remove(request, 100)
        running.extend((started, owners[started]) for started in fair.start())
        ask(account)
    assert fair.waiting == 64
    return fair


@pytest.mark.parametrize("standing", ["new", "known"])
@pytest.mark.parametrize("group", ["", "telegram:-9"])
def test_accounts_that_ask_again_and_again_keep_no_newcomer_out(standing: Standing, group: str) -> None:
    fair = asked_again(72, standing, group)
    for number in range(8):
        fair.push(f"m{number}", f"telegram:m{number}", 100, group=group)
    assert all(fair.position(f"m{number}") for number in range(8))


def test_an_eighth_of_the_places_is_for_newcomers_and_whoever_gave_way_comes_back() -> None:
    fair = asked_again(72, "known")
    gave_way = [fair.push(f"m{number}", f"telegram:m{number}", 100) for number in range(8)]
    with pytest.raises(QueueFull):
        fair.push("m8", "telegram:m8", 100)
    owner = str(gave_way[0]).partition("/")[0]
    fair.push("again", owner, 100, standing="known")
    assert fair.position("again") is not None


def test_whoever_was_served_takes_no_place_of_somebody_who_was_served() -> None:
    fair = asked_again(72, "new")
    fair.push("first", "telegram:me", 100)
    while "first" not in fair.start():
        fair.remove(next(iter(fair._running)), 100)
    for number in range(64 - fair.waiting):
        fair.push(f"more{number}", f"telegram:more{number}", 100)
    with pytest.raises(QueueFull):
        fair.push("second", "telegram:me", 100)


def test_an_answer_of_long_ago_is_none() -> None:
    fair = asked_again(72, "new")
    with pytest.raises(QueueFull):
        fair.push("late", "telegram:me", 100, now=SERVED_S)

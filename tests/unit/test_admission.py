"""Who is let in, how often, and to what: the gate without a platform."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.access.allow_list import Access
from bots.access.chat_share import ChatShare
from bots.access.gate import Call, Gate, Unheard, call_of
from bots.access.rates import MINUTE_S, Rates
from bots.access.rights import Thing, Verb
from bots.messages import ChatBudget, Incoming, Permit, Person, Refusal
from bots.profile.preferences import UserError


def message(text: str = "hello", person: str = "telegram:1", chat: str = "telegram:9:1", **more: Any) -> Call:
    incoming = Incoming(event_id="e", chat=chat, author=Person(person, "Ann"), text=text, new=True, **more)
    return call_of(incoming)


class Doors:
    """A gate whose clock a test sets, over one answer of Ann's in every message."""

    def __init__(self, **access: Any) -> None:
        self.now = 0.0
        self.spent: set[str] = set()
        self.gate = Gate(Access(**access), lambda: self.now, self._owner_of, self._spent)

    async def _owner_of(self, chat: str, message_id: str) -> str | None:
        return "telegram:1"

    async def _spent(self, person: str) -> str:
        return "Used up." if person in self.spent else ""

    async def at_all(self, now: float, call: Call) -> Permit | Refusal:
        self.now = now
        return await self.gate.decide(call)

    async def at(self, now: float, call: Call) -> Permit:
        self.now = now
        return await self.gate.enter(call)


async def test_without_lists_everybody_is_let_in() -> None:
    doors = Doors()
    for number in range(1000):
        await doors.at(0.0, message(person=f"telegram:{number % 3}"))


@pytest.mark.parametrize(
    ("person", "chat", "is_in"),
    [
        ("telegram:1", "telegram:9:1", True),
        ("discord:1", "discord:5", False),
        ("telegram:2", "telegram:9:2", False),
        ("telegram:7", "telegram:9:7", True),
        ("telegram:2", "telegram:9:-100123", True),
        ("telegram:2", "telegram:9:-100123:44", True),
        ("telegram:2", "telegram:9:-5:78", False),
        ("telegram:2", "telegram:78:-5", False),
        ("telegram:2", "telegram:9:78", True),
        ("telegram:2", "telegram:9:-1001234", False),
        ("telegram:2", "discord:-100123", False),
        ("discord:3", "discord:77", True),
        ("terminal:ann", "terminal:here", True),
    ],
)
async def test_lists_name_people_and_chats(person: str, chat: str, is_in: bool) -> None:
    doors = Doors(
        owners=["telegram:7"],
        allowed_users=["telegram:1"],
        allowed_chats=["telegram:-100123", "telegram:78", "discord:77"],
        strangers="refuse",
    )
    if is_in:
        await doors.at(0.0, message(person=person, chat=chat))
    else:
        with pytest.raises(UserError, match=person):
            await doors.at(0.0, message(person=person, chat=chat))


async def test_a_chat_is_let_in_under_any_of_its_names() -> None:
    doors = Doors(allowed_chats=["telegram:-1001"], strangers="refuse")
    with pytest.raises(UserError):
        await doors.at(0.0, message(chat="telegram:9:-5"))
    await doors.at(0.0, message(chat="telegram:9:-5", places=("telegram:-1001",)))


async def test_a_stranger_is_told_once_in_a_minute_in_each_chat() -> None:
    doors = Doors(allowed_users=["telegram:7"], strangers="refuse")
    for now, chat, error in (
        (0.0, "c:1", UserError),
        (1.0, "c:1", Unheard),
        (1.0, "c:2", UserError),
        (61.0, "c:1", UserError),
    ):
        with pytest.raises(error):
            await doors.at(now, message(chat=chat))


async def test_strangers_share_a_few_sentences_in_a_group_and_nobody_who_is_let_in_has_less() -> None:
    doors = Doors(allowed_users=["telegram:7"], strangers="refuse", requests_per_minute=60)
    place: dict[str, Any] = {"chat": "telegram:9:-5", "budget": ChatBudget("telegram:9:-5", 60 / 3.1)}
    told = []
    for now in range(0, 120, 5):
        for stranger in range(25):
            decision = await doors.at_all(now, message(person=f"telegram:{100 + stranger}", **place))
            assert isinstance(decision, Refusal)
            told += [] if decision.silent else [now]
        if now % 10 == 0:
            await doors.at(now + 1.0, message("/help", person="telegram:7", **place))
    assert len([now for now in told if now < 60]) == len([now for now in told if now >= 60]) == 3


async def test_a_stranger_who_writes_in_private_is_told() -> None:
    doors = Doors(allowed_users=["telegram:7"], strangers="refuse")
    for number in range(20):
        private = message(person=f"telegram:{number + 10}", direct=True, budget=ChatBudget(f"telegram:{number}", 60.0))
        with pytest.raises(UserError):
            await doors.at(0.0, private)


@pytest.mark.parametrize("person", ["telegram:1", "telegram:2"])
async def test_a_flood_costs_a_chat_no_more_than_it_can_be_sent(person: str) -> None:
    """Whatever is written all the time, and whatever is said to it."""
    doors, group = Doors(requests_per_minute=60), ChatBudget("telegram:9:-5", 60 / 3.1)
    calls: list[tuple[float, int]] = []
    for tick in range(1200):
        now = tick / 4
        text = ("hello", "/help", "/stop", "/regenerate")[tick % 4]
        call = message(text, budget=group, person=person, reply_to="5")
        decision = await doors.at_all(now, call)
        if isinstance(decision, Permit):
            calls.append((now, 0 if decision.quiet else call.rule.calls))
        elif not decision.silent:
            calls.append((now, 1))
        assert sum(size for when, size in calls if now - 60 < when) <= 20


async def test_strangers_can_be_met_with_silence() -> None:
    with pytest.raises(Unheard):
        await Doors(strangers="ignore").at(0.0, message())


async def test_a_rate_is_told_once_and_then_kept_in_silence() -> None:
    doors = Doors(requests_per_minute=3, owners=["telegram:7"])
    for now in (0.0, 1.0, 2.0):
        await doors.at(now, message())
    with pytest.raises(UserError, match="50 s"):
        await doors.at(10.0, message())
    with pytest.raises(Unheard):
        await doors.at(11.0, message())
    assert not (await doors.at(11.0, message("/stop"))).quiet
    await doors.at(11.0, message(person="telegram:2"))
    for _ in range(10):
        await doors.at(11.0, message(person="telegram:7"))
    await doors.at(60.0, message())
    with pytest.raises(Unheard):  # told in every minute once, not for every place that becomes free
        await doors.at(60.5, message())
    for now in (61.0, 62.0):
        await doors.at(now, message())
    with pytest.raises(UserError):
        await doors.at(70.5, message())


async def test_a_stop_is_always_done_and_too_many_of_them_without_a_word() -> None:
    """A word about each would be as good as a message to mute a chat with."""
    doors = Doors(requests_per_minute=3)
    said = [await doors.at(0.0, message("/stop")) for _ in range(9)]
    assert [permit.quiet for permit in said] == [False] * 3 + [True] * 6
    await doors.at(0.0, message())


async def test_a_person_may_not_ask_for_more_than_the_chat_can_be_sent() -> None:
    """An answer takes two calls, its first words and its last; a word of the bot's own takes one."""
    doors, group = Doors(requests_per_minute=60), ChatBudget("telegram:9:-5", 60 / 3.1)
    asked = message("hello", budget=group)
    for _ in range(7):
        await doors.at(0.0, asked)
    with pytest.raises(UserError, match="7 messages"):
        await doors.at(0.0, asked)
    with pytest.raises(Unheard):
        await doors.at(0.0, message("/help", budget=group, chat="telegram:9:-5:44"))
    for _ in range(9):
        await doors.at(0.0, message("hello", budget=replace(group, name="telegram:9:1"), direct=True))
    await doors.at(0.0, message("hello"))
    await doors.at(0.0, message("hello", person="telegram:2", budget=group))


async def test_two_people_share_what_a_chat_can_be_sent() -> None:
    """Whoever was there within the minute: then nobody's flood takes the calls that another's first words need."""
    doors, group = Doors(requests_per_minute=60), ChatBudget("telegram:9:-5", 60 / 3.1)
    await doors.at(0.0, message("hello", budget=group))
    done = 0
    while isinstance(await doors.at_all(1.0, message("/help", person="telegram:2", budget=group)), Permit):
        done += 1
    assert done == 12, "what is left"
    for now in (20.0, 40.0):
        await doors.at(now, message("hello", budget=group))
    assert isinstance(await doors.at_all(59.0, message("/help", person="telegram:2", budget=group)), Refusal)


async def test_whoever_asks_and_has_nothing_waiting_is_let_in_whatever_others_have() -> None:
    """Up to what one person may cause there; whoever has something waiting has an equal share."""
    doors = Doors(requests_per_minute=60)
    group = ChatBudget("telegram:9:-5", 60 / 3.1, lambda person: person != "telegram:1")
    await doors.at(0.0, message("hello", budget=group))
    while isinstance(await doors.at_all(1.0, message("hello", person="telegram:2", budget=group)), Permit):
        pass
    for now in range(2, 8):
        await doors.at(float(now), message("hello", budget=group))
    assert isinstance(await doors.at_all(8.0, message("hello", budget=group)), Refusal)
    waits = replace(group, waits_for=lambda person: True)
    assert isinstance(await doors.at_all(50.0, message("/help", person="telegram:3", budget=waits)), Permit)
    assert isinstance(await doors.at_all(59.0, message("hello", budget=waits)), Refusal)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=60), st.integers(1, 60))
def test_a_share_is_fair_and_never_more_than_the_chat_has(steps: list[tuple[int, int]], calls: int) -> None:
    presence, now, seen = ChatShare(), 0.0, dict[int, float]()
    for person, later_s in steps:
        now += later_s
        share = presence.share("chat", str(person), calls, now)
        others = sum(now - MINUTE_S < at for each, at in seen.items() if each != person)
        assert share <= calls
        assert share <= max(6, calls / (others + 1))
        assert share >= min(calls, 6)
        if not others:
            assert share >= int(calls * 0.75)
        presence.saw("chat", str(person), now)
        seen[person] = now
        assert presence.share("elsewhere", str(person), calls, now) >= int(calls * 0.75)


async def test_a_press_is_counted_like_a_message() -> None:
    doors = Doors(requests_per_minute=20)
    press = Call(actor="telegram:1", thing=Thing.PANEL, verb=Verb.PRESS, chat="telegram:9:1", owner="telegram:1")
    for _ in range(20):
        await doors.at(0.0, press)
    with pytest.raises(UserError):
        await doors.at(0.0, press)


async def test_what_was_let_in_before_a_restart_is_not_counted_again() -> None:
    doors = Doors(requests_per_minute=1)
    doors.spent = {"telegram:1"}
    for _ in range(5):
        await doors.at(0.0, replace(message(), new=False))


async def test_nobody_is_locked_out_by_a_clock_that_is_set_back() -> None:
    doors = Doors(requests_per_minute=2)
    for now in (7_200.0, 7_201.0, 3_600.0, 3_601.0):
        await doors.at(now, message())
    with pytest.raises(UserError):
        await doors.at(3_602.0, message())


@pytest.mark.parametrize(
    ("owners", "direct", "served"), [((), True, True), (("t:1",), True, False), (("t:1",), False, True)]
)
async def test_by_default_strangers_have_no_direct_messages_once_there_are_owners(
    owners: tuple[str, ...], direct: bool, served: bool
) -> None:
    decision = await Doors(owners=owners).gate.decide(message(direct=direct))
    assert isinstance(decision, Permit if served else Refusal)


async def test_who_moderates_may_stop_an_answer_and_have_nothing_generated() -> None:
    doors = Doors(owners=["telegram:7"])
    for person, moderates, may_stop in (
        ("telegram:1", False, True),
        ("telegram:2", False, False),
        ("telegram:2", True, True),
        ("telegram:7", False, True),
    ):
        for text, may in (("/stop", may_stop), ("/regenerate", person == "telegram:1")):
            call = message(text, person=person, reply_to="5", moderates=moderates)
            decision = await doors.gate.decide(call)
            assert isinstance(decision, Permit) is may, (person, text)
            if isinstance(decision, Permit):
                assert decision == Permit(person, moderates=person != "telegram:1")


async def test_who_acts_for_a_chat_is_let_in_and_counted_as_themselves() -> None:
    doors = Doors(allowed_users=["telegram:2"], strangers="refuse", requests_per_minute=1)
    asked: list[str] = []

    async def holds(owner: str) -> bool:
        asked.append(owner)
        return True

    panel = Call(actor="telegram:2", thing=Thing.PANEL, verb=Verb.PRESS, chat="c", owner="t:-5", holds=holds)
    assert (await doors.at(0.0, panel)).account == "t:-5"
    with pytest.raises(UserError, match="minute"):
        await doors.at(0.0, panel)
    with pytest.raises(UserError, match="telegram:3"):
        await doors.at(0.0, replace(panel, actor="telegram:3"))
    assert asked == ["t:-5"]  # the platform is asked for nobody who is refused anyway


async def test_a_quota_that_is_used_up_refuses_what_generates() -> None:
    doors = Doors()
    doors.spent = {"telegram:1"}
    for text, refused in (("hello", True), ("/regenerate", True), ("/help", False), ("/stop", False)):
        assert isinstance(await doors.gate.decide(message(text)), Refusal) is refused


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 3)), max_size=80),
    st.integers(1, 20),
)
def test_no_minute_holds_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """And whoever waits for as long as they are told is let in."""
    rates, now, taken = Rates(), 0.0, []
    for pause, size in steps:
        now += pause
        wait_s = rates.wait_s("ann", limit, now, size)
        assert 0 <= wait_s <= MINUTE_S
        if wait_s <= 0:
            rates.add("ann", now, size)
            taken.append((now, size))
            window = [each for time, each in taken if now - MINUTE_S < time]
            assert sum(window) <= max(limit, size)
        elif size <= limit:
            assert deepcopy(rates).wait_s("ann", limit, now + wait_s + 1e-6, size) == 0


@pytest.mark.parametrize(
    "access", [{"requests_per_minute": 60}, {"allowed_users": ["telegram:7"], "strangers": "refuse"}]
)
async def test_refusals_of_many_are_no_more_than_the_chat_can_be_sent(access: dict[str, Any]) -> None:
    """Of sixty accounts each would be told once."""
    doors, group = Doors(**access), ChatBudget("telegram:9:-5", 60 / 3.1)
    told = 0
    for now in range(8):
        for number in range(100, 160):
            decision = await doors.at_all(float(now), message(person=f"telegram:{number}", budget=group))
            told += isinstance(decision, Refusal) and not decision.silent
    assert 0 < told <= 20


async def test_stops_take_nothing_from_what_may_be_asked() -> None:
    doors, group = Doors(requests_per_minute=60), ChatBudget("telegram:9:-5", 60 / 3.1)
    for _ in range(14):
        await doors.at(0.0, message("/stop", budget=group))
    for _ in range(7):
        assert isinstance(await doors.at_all(0.0, message("hello", budget=group)), Permit)
    with pytest.raises(UserError):
        await doors.at(0.0, message("hello", budget=group))


async def test_stops_take_no_calls_from_the_others_of_a_chat() -> None:
    doors, budget = Doors(requests_per_minute=60), ChatBudget("discord:1", 40.0, lambda _: True)
    for second in range(10):
        await doors.at_all(float(second), message("/stop", "discord:eve", "discord:1", budget=budget))
    let_in = [await doors.at_all(10.0, message("hello", "discord:bob", "discord:1", budget=budget)) for _ in range(13)]
    assert all(isinstance(each, Permit) for each in let_in)

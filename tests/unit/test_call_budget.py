"""A chat's and an account's calls are spent where people look: in virtual time, on a platform that counts strictly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery.channel import Frame, Later, Limits, RetryAfter
from adapters.delivery.outbox import Outboxes
from adapters.delivery.outcome import DELIVERED, Outcome
from adapters.delivery.pacing.rate_budget import Rate
from bots.access.allow_list import Access
from bots.access.gate import Call, Gate
from bots.access.rights import Thing, Verb
from bots.messages import ChatBudget, Ended, Failed, Notice, Refusal, ReplyEvent, Started, TextDelta
from inference.api import Timings, Usage
from tests.servers.simulated import PHRASES, Faults, Platform, Records, Rules, SimulatedChannel, run_virtually, told

END = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny")
TELEGRAM = Rules(group_calls=20, overall_calls=30)
ACCOUNT = Rate(29, 1.0)
GROUP = Limits(message_units=4_000, rate=Rate(20, 60.0), typing_s=5.0, account="bot", account_rate=ACCOUNT)
PRIVATE = Limits(message_units=4_000, typing_s=5.0, account="bot", account_rate=ACCOUNT)
TRIPS = Faults(latency_s=(0.04, 0.12))


@dataclass(kw_only=True)
class Asked:
    """What somebody is answered, from that time on."""

    asker: str
    events: Sequence[ReplyEvent | float]
    at: float = 0.0
    party: str = ""
    state_of: str = ""
    outcome: Outcome | None = None


@dataclass
class Seen:
    """When something of an answer was seen, in seconds since it was asked for; by the answer's words."""

    platform: Platform
    asked: list[Asked] = field(default_factory=list)

    def times(self, word: str, *, chat: str = "c", final: bool = False, since: float = 0.0) -> list[float]:
        frames = self.platform.chat(chat).frames
        return [at - since for at, _, frame in frames if word in frame.markdown and not (final and frame.growing)]


def growing(word: str, seconds: float, prefill_s: float = 0.2) -> list[ReplyEvent | float]:
    """Ten words a second, each with that word in it."""
    words = [step for n in range(int(10 * seconds)) for step in (TextDelta(f"{word}-{n} "), 0.1)]
    return [Started(answer_id=word), prefill_s, *words, END]


def seen(asked: Iterable[Asked], limits: Limits = GROUP, rules: Rules = TELEGRAM, faults: Faults = TRIPS) -> Seen:
    platform, asked = Platform(rules, faults), list(asked)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:

            async def one(each: Asked) -> None:
                await asyncio.sleep(each.at)
                each.outcome = await outboxes.deliver(
                    SimulatedChannel(platform, "c", limits),
                    "c",
                    told(each.events),
                    reply_to=None,
                    record=Records(),
                    asker=each.asker,
                    party=each.party,
                    state_of=each.state_of,
                )

            for each in asked:
                tasks.create_task(one(each))

    run_virtually(main())
    assert platform.chat("c").calls_in_ban == 0
    return Seen(platform, asked)


def test_in_a_quiet_private_chat_words_are_shown_when_they_exist_and_the_end_at_once() -> None:
    shown = seen([Asked(asker="ann", events=growing("a", 5.0))], PRIVATE, Rules(chat_interval_s=1.0, burst=4))
    assert shown.platform.chat("c").penalties == 0
    assert shown.times("a-0")[0] <= 0.2 + 0.1 + 0.12
    assert shown.times("a-49", final=True)[0] <= 5.2 + 0.25
    assert len(shown.times("a-")) >= 6


def test_four_people_in_a_group_have_first_words_within_a_second_and_whole_answers_at_once() -> None:
    people = "abcd"
    shown = seen(Asked(asker=name, events=growing(name, 8.0)) for name in people)
    assert shown.platform.chat("c").penalties == 0
    assert all(shown.times(f"{name}-0")[0] < 1.0 for name in people)
    assert all(shown.times(f"{name}-79", final=True)[0] < 8.2 + 1.0 for name in people)


def test_a_group_that_goes_on_asking_has_its_answers_whole_rather_than_begun() -> None:
    rounds = [Asked(asker=name, events=growing(f"{name}{n}", 5.0), at=15.0 * n) for n in range(3) for name in "abcd"]
    shown = seen(rounds)
    assert shown.platform.chat("c").penalties == 0
    last = [shown.times(f"{name}2-49", final=True, since=30.0)[0] for name in "abcd"]
    assert sorted(last)[1] < 6.5, "only what the window cannot hold beside an answer for whoever comes has to wait"


def test_twenty_commands_of_one_person_do_not_delay_the_answer_to_another() -> None:
    flood = [Asked(asker="bob", events=[Notice(f"Help {n}.")], at=0.1 * n) for n in range(20)]
    shown = seen([*flood, Asked(asker="ann", events=growing("a", 4.0), at=3.0)])
    assert shown.times("a-0", since=3.0)[0] < 1.0
    assert shown.times("a-39", since=3.0, final=True)[0] < 5.0
    helped = [message.frames[-1].markdown for message in shown.platform.chat("c").visible]
    assert sum(text.startswith("Help") for text in helped) == 20, "they wait, and none is lost"
    assert shown.platform.chat("c").penalties == 0


def _refused(asker: str, at: float, *, is_answer: bool) -> Asked:
    words = f"No room for {asker} at {at:g}."
    refusal: list[ReplyEvent | float] = [Notice(words, refused=True)]
    if is_answer:
        refusal = [Started(answer_id=words), Failed(words)]
    return Asked(asker=asker, events=refusal, at=at)


def _said(saw: Seen) -> list[str]:
    return [f"{message.frames[-1].markdown}{message.frames[-1].failure}" for message in saw.platform.chat("c").visible]


@pytest.mark.parametrize("is_answer", [True, False])
def test_what_many_are_refused_delays_no_first_words(is_answer: bool) -> None:
    crowd = [_refused(f"p{n}", 0.01 * n, is_answer=is_answer) for n in range(30)]
    saw = seen([*crowd, Asked(asker="ann", events=growing("a", 4.0), at=3.0)])
    assert saw.times("a-0", since=3.0)[0] < 1.0
    assert saw.times("a-39", since=3.0, final=True)[0] < 5.0
    assert sum("No room for" in each for each in _said(saw)) == 30, "each of them is told"
    assert saw.platform.chat("c").penalties == 0


@pytest.mark.parametrize("is_answer", [True, False])
def test_first_words_go_before_refusals_that_wait_for_the_same_call(is_answer: bool) -> None:
    """In a channel that is sent one message after the other, as the page's is, to people who cost nothing until now."""
    crowd = [_refused(f"p{n}", 2.0, is_answer=is_answer) for n in range(100)]
    ann = [Asked(asker="ann", events=growing(f"a{n}x", 1.0), at=1.5 + n / 2) for n in range(3)]
    limits = Limits(message_units=4_000, rate=Rate(1, 0.05, burst=20))
    saw = seen([*crowd, *ann], limits, Rules(), Faults(latency_s=(0.1, 0.1)))
    assert max(saw.times(f"a{n}x-0", since=ann[n].at)[0] for n in range(3)) < 1.0
    assert sum("No room for" in each for each in _said(saw)) == 100


@pytest.mark.parametrize("is_answer", [True, False])
def test_somebody_who_is_refused_again_before_they_have_heard_of_it_is_told_once(is_answer: bool) -> None:
    others = [_refused(f"p{n}", 0.0, is_answer=is_answer) for n in range(20)]
    again = [_refused("bob", 20.0 + n, is_answer=is_answer) for n in range(10)]
    saw = seen([*others, *again])
    assert [each for each in _said(saw) if "bob" in each] == ["No room for bob at 29."]
    assert [each.outcome for each in again] == [DELIVERED] * 10


async def _sentences_to_strangers(doors: Gate, clock: list[float]) -> list[Asked]:
    """What the gate has said to 25 strangers who write every 5 s, for a minute."""
    said = []
    for clock[0] in (5.0 * n for n in range(12)):
        for number in range(25):
            call = Call(
                actor=f"t:{number}", thing=Thing.WORDS, verb=Verb.SEE, chat="c", budget=ChatBudget("c", 60 / 3.1)
            )
            decision = await doors.decide(call)
            if isinstance(decision, Refusal) and not decision.silent:
                said.append(_refused(call.actor, clock[0], is_answer=False))
    return said


def test_who_is_let_in_is_answered_beside_strangers_who_go_on_asking() -> None:
    async def nobody(*_: str) -> str:
        return ""

    clock = [0.0]
    doors = Gate(Access(allowed_users=["t:ann"], strangers="refuse"), lambda: clock[0], nobody, nobody)
    strangers = asyncio.run(_sentences_to_strangers(doors, clock))
    words = [Asked(asker="t:ann", events=[Notice(f"HELP{n}.")], at=3.0 + 15 * n) for n in range(2)]
    answers = [Asked(asker="t:ann", events=growing(f"a{n}x", 3.0), at=8.0 + 15 * n) for n in range(2)]
    alone, saw = seen([*words, *answers]), seen([*strangers, *words, *answers])
    for word, asked in [*((f"HELP{n}", words[n]) for n in range(2)), *((f"a{n}x-0", answers[n]) for n in range(2))]:
        waits = [shown.times(word, since=asked.at)[0] for shown in (alone, saw)]
        assert waits[1] < waits[0] + 3.1, "as long as one call takes to come back, at most"
    assert all(each.outcome == DELIVERED for each in saw.asked)


def test_people_who_share_turns_weigh_like_one() -> None:
    """A hundred guests whose answers ask for more calls than there are, and somebody who has used some, too."""
    guests = [Asked(asker=f"g{n}", party="guests", events=growing(f"g{n}y", 1.0), at=n / 50) for n in range(100)]
    ann = [Asked(asker="ann", events=growing(f"a{n}x", 0.5), at=1.0 + n) for n in range(4)]
    limits = Limits(message_units=4_000, rate=Rate(1, 0.05, burst=20))
    saw = seen([*guests, *ann], limits, Rules(), Faults(latency_s=(0.1, 0.1)))
    assert max(saw.times(f"a{n}x-0", since=ann[n].at)[0] for n in range(4)) < 0.8
    assert all(each.outcome == DELIVERED for each in saw.asked)


def test_in_a_group_that_asks_for_all_its_calls_nobody_waits_for_ever_for_a_command_or_a_beginning() -> None:
    """Twelve people ask for more whole answers than there are calls, for five minutes."""
    crowd = [
        Asked(asker=f"p{n}", events=growing(f"P{n}q{t}", 6), at=t + n) for n in range(12) for t in range(0, 300, 35)
    ]
    words = Asked(asker="new", events=[Notice("HELP")], at=100.0)
    answer = Asked(asker="other", events=growing("LONG", 120), at=150.0)
    saw = seen([*crowd, words, answer])
    assert saw.times("HELP", since=100)[0] <= 25
    assert saw.times("LONG-0", since=150)[0] <= 35, "with its Stop, while it is written"
    assert all(each.outcome == DELIVERED for each in saw.asked)
    assert saw.platform.chat("c").penalties == 0


class _Flooded(SimulatedChannel):
    """A chat of an account that may say nothing anywhere for ten minutes, from the fourth minute on."""

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        if 240 <= (now := asyncio.get_running_loop().time()) < 840:
            raise RetryAfter(840 - now, of_chat=False)
        return await super().send(frame, reply_to=reply_to, nonce=nonce)


def test_a_penalty_of_the_whole_account_is_no_limit_of_the_chat() -> None:
    platform, limits = Platform(faults=TRIPS), Limits(message_units=4_000, rate=Rate(5, 5.1))

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            for name, at in [("before", 235.0), ("in it", 241.0), *((f"after-{n}", 842.0 + n) for n in range(4))]:
                await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
                events = told([Notice(name)])
                channel = _Flooded(platform, "c", limits)
                await outboxes.deliver(channel, "c", events, reply_to=None, record=Records(), asker=name)

    run_virtually(main())
    times = {frame.markdown: at for at, _, frame in platform.chat("c").frames}
    assert 840 <= times["in it"] < 841
    assert times["after-3"] < 846


class _Old(SimulatedChannel):
    """A chat in which the message that names this word may not be edited for half a minute."""

    until = 0.0

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        now = asyncio.get_running_loop().time()
        if "old" in frame.markdown:
            self.until = self.until or now + 30
            if now < self.until:
                raise Later(self.until - now)
        return await super().edit(message_id, frame)


def test_a_message_that_may_not_be_edited_for_a_while_holds_nothing_else_up() -> None:
    platform = Platform(faults=TRIPS)
    channel = _Old(platform, "c", Limits(message_units=4_000, rate=Rate(5, 5.1), edit_rate=Rate(5, 5.1)))

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as people:
            for word in ("old", "new"):
                events = told(growing(word, 3.0))
                people.create_task(outboxes.deliver(channel, "c", events, reply_to=None, record=Records(), asker=word))

    run_virtually(main())
    ends = {frame.markdown[:3]: at for at, _, frame in platform.chat("c").frames if not frame.growing}
    assert ends["new"] < 5.0
    assert 30 <= ends["old"] < 33


class _Typing(SimulatedChannel):
    """A chat in which "typing" is penalised at once."""

    async def typing(self) -> None:
        raise RetryAfter(20.0)


@pytest.mark.parametrize("apart", [True, False])
def test_a_penalty_for_typing_silences_what_shares_its_limit(apart: bool) -> None:
    platform, rate = Platform(faults=TRIPS), Rate(5, 5.1)
    limits = Limits(message_units=4_000, rate=rate, edit_rate=rate if apart else None, typing_s=5.0)

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes:
            events = told(growing("a", 3.0, prefill_s=1.0))
            await outboxes.deliver(_Typing(platform, "c", limits), "c", events, reply_to=None, record=Records())

    run_virtually(main())
    assert (platform.chat("c").frames[0][0] < 2.0) is apart


def test_a_panel_shows_its_newest_state_and_twenty_presses_delay_nobody() -> None:
    presses = [
        Asked(asker="bob", events=[Notice(f"State {n}.")], at=0.05 * n, state_of="panel of bob") for n in range(20)
    ]
    shown = seen([*presses, Asked(asker="ann", events=growing("a", 4.0), at=1.5)])
    frames = [frame.markdown for _, _, frame in shown.platform.chat("c").frames if "State" in frame.markdown]
    assert frames[-1] == "State 19."
    assert len(frames) < 15
    assert [each.outcome for each in presses] == [DELIVERED] * 20
    assert shown.times("a-0", since=1.5)[0] < 1.0
    assert shown.times("a-39", since=1.5, final=True)[0] < 5.0


def test_somebody_elses_panel_is_not_overtaken() -> None:
    presses = [Asked(asker=name, events=[Notice(f"{name}.")], state_of="panel") for name in ("ann", "bob")]
    shown = seen(presses)
    assert len(shown.platform.chat("c").visible) == 2


def test_long_answers_of_one_person_leave_calls_for_another() -> None:
    long = [TextDelta("word " * 400)] * 30
    shown = seen([
        Asked(asker="bob", events=[Started(answer_id="b"), *long, END]),
        Asked(asker="ann", events=growing("a", 4.0), at=20.0),
    ])  # fmt: skip
    assert shown.times("a-0", since=20.0)[0] < 1.0
    assert shown.times("a-39", since=20.0, final=True)[0] < 5.0
    assert sum(message.frames[-1].markdown.count("word") for message in shown.platform.chat("c").visible) == 12_000


def test_typing_shows_at_once_beside_all_calls_until_there_is_a_message() -> None:
    shown = seen([Asked(asker=name, events=[0.4, *growing(name, 1.0)]) for name in "abcd"])
    assert shown.platform.chat("c").typing_times == [pytest.approx(0.1)]
    waiting: list[ReplyEvent | float] = [12.0, *growing("a", 1.0)]
    slow = seen([Asked(asker="ann", events=waiting)])
    assert slow.platform.chat("c").typing_times == pytest.approx([0.1, 5.1, 10.1])
    quick = seen([Asked(asker="ann", events=[Notice("Help.")])])
    assert quick.platform.chat("c").typings == 0


class Slow(SimulatedChannel):
    """Its typing hangs."""

    async def typing(self) -> None:
        await asyncio.sleep(1_000)


def test_a_typing_that_hangs_holds_nothing_up() -> None:
    platform = Platform()

    async def main() -> float:
        async with Outboxes(phrases=PHRASES) as outboxes:
            await outboxes.deliver(
                Slow(platform, "c", PRIVATE), "c", told(growing("a", 1.0)), reply_to=None, record=Records()
            )
            return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(1.2)


@pytest.mark.parametrize("latency_s", [(0.0, 0.0), (0.02, 0.4), (0.0, 3.0)])
def test_however_many_people_write_at_once_the_accounts_limit_is_kept(latency_s: tuple[float, float]) -> None:
    platform = Platform(Rules(chat_interval_s=1.0, burst=4, overall_calls=30), Faults(latency_s=latency_s))

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            for n in range(270):
                channel = SimulatedChannel(platform, f"c{n}", PRIVATE)
                events = told(growing(f"a{n}", 8.0, prefill_s=n / 270))
                tasks.create_task(outboxes.deliver(channel, f"c{n}", events, reply_to=None, record=Records()))

    run_virtually(main())
    assert sum(chat.penalties for chat in platform.chats.values()) == 0
    assert all(chat.frames[-1][2].footer for chat in platform.chats.values())
    assert sum(bool(chat.frames[0][2].growing) for chat in platform.chats.values()) > 50, "first words before ends"


def test_a_last_frame_that_comes_while_its_chat_waits_for_the_account_goes_first() -> None:
    """Forty chats whose previews fill the account's second."""
    platform = Platform(Rules(overall_calls=10), Faults(latency_s=(0.05, 0.05)))
    limits = Limits(message_units=4_000, rate=Rate(1, 0.1, burst=4), account="bot", account_rate=Rate(10, 1.0))
    ended: dict[str, float] = {}

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            for n in range(40):
                channel = SimulatedChannel(platform, f"c{n}", limits)
                seconds = 30.0 if n else 12.0
                tasks.create_task(
                    outboxes.deliver(channel, f"c{n}", told(growing(f"a{n}", seconds)), reply_to=None, record=Records())
                )
        ended["c0"] = platform.chat("c0").frames[-1][0]

    run_virtually(main())
    assert ended["c0"] < 12.2 + 0.5
    assert sum(chat.penalties for chat in platform.chats.values()) == 0


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ann", "bob", "cem", "dia"]), st.floats(0, 40), st.floats(0.1, 20), st.booleans()),
        min_size=1,
        max_size=14,
    ),
    st.sampled_from(
        [
            (GROUP, TELEGRAM),
            (PRIVATE, Rules(chat_interval_s=1.0, burst=4, overall_calls=30)),
            (Limits(message_units=4_000, rate=Rate(5, 5.0), typing_s=5.0), Rules(group_calls=5, group_window_s=5.0)),
        ]
    ),
    st.sampled_from([(0.0, 0.0), (0.04, 0.12), (0.2, 1.5)]),
)
def test_whatever_is_asked_no_budget_is_passed_and_all_of_it_arrives(
    plan: list[tuple[str, float, float, bool]], where: tuple[Limits, Rules], latency_s: tuple[float, float]
) -> None:
    limits, rules = where
    asked = [
        Asked(asker=asker, at=at, events=[Notice(f"n{n}.")] if is_notice else growing(f"n{n}", seconds))
        for n, (asker, at, seconds, is_notice) in enumerate(plan)
    ]
    shown = seen(asked, limits, rules, Faults(latency_s=latency_s))
    chat = shown.platform.chat("c")
    assert chat.penalties == 0
    assert [each.outcome for each in asked] == [DELIVERED] * len(asked)
    finals: list[Frame] = [message.frames[-1] for message in chat.visible]
    for n, (_, _, seconds, is_notice) in enumerate(plan):
        whole = f"n{n}." if is_notice else "".join(f"n{n}-{word} " for word in range(int(10 * seconds)))
        assert any(frame.markdown == whole and not frame.growing for frame in finals)


async def _asks_again(outboxes: Outboxes, platform: Platform, asker: str, chat: str, from_s: float = 0.0) -> None:
    """Somebody who asks again as soon as they are answered, until it is cancelled."""
    await asyncio.sleep(from_s)
    for number in count():
        events = told(growing(f"{asker}-{number}", 2.0))
        channel = SimulatedChannel(platform, chat, GROUP)
        await outboxes.deliver(channel, chat, events, reply_to=None, record=Records(), asker=asker)
        await asyncio.sleep(1.0)


def _waits(
    groups: int, first_s: float = 120.0, rounds: int = 6, *, earlier: Sequence[float] = (), flood_s: float = 0.0
) -> list[float]:
    """Seconds to the first words of somebody who asks in one of so many groups, in which eight others ask again and
    again from that time on; they have asked `earlier`, too."""
    platform, asked = Platform(TELEGRAM, TRIPS), [*earlier, *(first_s + 20.0 * number for number in range(rounds))]

    async def main() -> None:
        async with Outboxes(phrases=PHRASES) as outboxes, asyncio.TaskGroup() as tasks:
            floods = [
                tasks.create_task(_asks_again(outboxes, platform, f"x{number}", f"c{chat}", flood_s))
                for number in range(8)
                for chat in range(groups)
            ]

            async def ann(number: int) -> None:
                await asyncio.sleep(asked[number])
                channel, events = SimulatedChannel(platform, "c0", GROUP), told(growing(f"ann{number}", 2.0))
                await outboxes.deliver(channel, "c0", events, reply_to=None, record=Records(), asker="ann")

            async with asyncio.TaskGroup() as anns:
                for number in range(len(asked)):
                    anns.create_task(ann(number))
            for each in floods:
                each.cancel()

    run_virtually(main())
    assert platform.chat("c0").penalties == 0
    shown = Seen(platform, [])
    return [shown.times(f"ann{number}-0", chat="c0", since=asked[number])[0] for number in range(len(asked))]


@pytest.mark.parametrize("first_s", [2.0, 120.0])
def test_accounts_that_ask_in_ten_groups_leave_each_to_those_who_ask_there_alone(first_s: float) -> None:
    assert max(_waits(10, first_s)) < 0.6, "in their first burst, too: what they are promised elsewhere counts"


def test_calls_that_nobody_else_wanted_are_not_held_against_who_asks_in_one_group_alone() -> None:
    """Four answers within the minute before the accounts come."""
    assert max(_waits(10, 54.0, 3, earlier=(0.0, 5.0, 12.0, 32.0), flood_s=52.0)[4:]) < 0.6


def test_accounts_that_raid_one_group_take_turns_there_with_everybody() -> None:
    """Nine people want more than 20 calls a minute: each has an answer in every minute, whatever they ask."""
    answered = sorted(20.0 * number + wait for number, wait in enumerate(_waits(1)))
    assert answered[0] < 1.0
    assert max(after - before for before, after in pairwise(answered)) < 62.0

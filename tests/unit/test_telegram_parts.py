"""The pure parts of the Telegram adapter: addresses, errors, callback data, records, steps and rendering."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import InlineKeyboardMarkup
from telegram import error as api

from adapters.delivery.channel import (
    ChannelError,
    Forbidden,
    Frame,
    MessageGone,
    Rejected,
    RetryAfter,
    ThinkingView,
    UnknownOutcome,
    Unsent,
)
from adapters.telegram.client.addresses import Destination, api_url, file_url
from adapters.telegram.client.errors import channel_error
from adapters.telegram.handlers.settings_panel import panel_keyboard, stepped
from adapters.telegram.inbound.aggregation import UpdateAggregator
from adapters.telegram.inbound.intake import received
from adapters.telegram.outbound.callback_data import LONGEST, PanelData, PanelPress, action_data, read_action
from adapters.telegram.outbound.rendering import MESSAGE_UNITS, MOST_ENTITIES, entities, keyboard, length, render
from adapters.telegram.updates.parsing import IncomingMessage
from bots.messages import Action, Person
from bots.ports import Received
from bots.profile.preferences import Profile, SettingBounds, settings_of

SETTINGS = settings_of(SettingBounds())


@pytest.mark.parametrize(
    ("base", "file_base", "methods", "files"),
    [
        ("", "", "https://api.telegram.org/bot", "https://api.telegram.org/file/bot"),
        ("http://h:1", "", "http://h:1/bot", "http://h:1/file/bot"),
        ("http://h:1/", "", "http://h:1/bot", "http://h:1/file/bot"),
        ("http://h:1/bot", "", "http://h:1/bot", "http://h:1/file/bot"),
        ("http://h:1/bot/", "", "http://h:1/bot", "http://h:1/file/bot"),
        ("http://h/x/bot", "", "http://h/x/bot", "http://h/x/file/bot"),
        ("http://robot.lan", "", "http://robot.lan/bot", "http://robot.lan/file/bot"),
        ("http://h", "http://f/file", "http://h/bot", "http://f/file/bot"),
        ("http://h", "http://f/file/bot/", "http://h/bot", "http://f/file/bot"),
        ("http://h/bot{token}/test", "", "http://h/bot{token}/test", "http://h/file/bot{token}/test"),
    ],
)
def test_addresses(base: str, file_base: str, methods: str, files: str) -> None:
    assert api_url(base) == methods
    assert file_url(file_base, base) == files


def test_destinations() -> None:
    assert Destination(9, 5).chat == "telegram:9:5"
    assert Destination(9, -100, 7).chat == "telegram:9:-100:7"
    assert Destination(9, -100, 7).group == "telegram:9:-100"
    assert [Destination(9, 5).is_private, Destination(9, -5).is_private] == [True, False]


def test_names_of_messages_in_a_group_that_moved() -> None:
    group, supergroup = Destination(9, -5), Destination(9, -1001, None, -5)
    assert group.chat == supergroup.chat == "telegram:9:-5"
    assert (group.name_of(7), supergroup.name_of(7)) == ("7", "-1001/7")
    assert (group.number_of("7"), supergroup.number_of("-1001/7")) == (7, 7)
    assert group.number_of("-1001/7") is supergroup.number_of("7") is supergroup.number_of("draft:7") is None
    assert (group.places, supergroup.places) == ((), ("telegram:-1001",))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (api.BadRequest("Message to edit not found"), MessageGone),
        (api.BadRequest("Message can't be edited"), MessageGone),
        (api.BadRequest("Not enough rights to send text messages to the chat"), Forbidden),
        (api.BadRequest("Chat not found"), Forbidden),
        (api.BadRequest("TOPIC_CLOSED"), Forbidden),
        (api.BadRequest("Message thread not found"), Forbidden),
        (api.BadRequest("Message is too long"), Rejected),
        (api.BadRequest("SLOWMODE_WAIT_30"), RetryAfter),
        (api.Forbidden("Forbidden: bot was kicked from the supergroup chat"), Forbidden),
        (api.InvalidToken("Unauthorized"), Forbidden),
        (api.InvalidToken("Not Found"), Rejected),
        (api.NetworkError("Too Many Requests: retry after 7"), RetryAfter),
        (api.NetworkError("Request Entity Too Large"), Rejected),
        (api.NetworkError("Bad Gateway"), UnknownOutcome),
        (api.TimedOut(), UnknownOutcome),
        (api.TelegramError("Invalid server response"), UnknownOutcome),
    ],
)
def test_what_an_error_means(error: api.TelegramError, kind: type[ChannelError]) -> None:
    assert type(channel_error(error)) is kind


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx.ConnectError("refused"), Unsent),
        (httpx.ConnectTimeout("slow"), Unsent),
        (httpx.PoolTimeout("full"), Unsent),
        (httpx.ReadError("reset"), UnknownOutcome),
        (httpx.ReadTimeout("slow"), UnknownOutcome),
        (httpx.WriteError("reset"), UnknownOutcome),
        (httpx.RemoteProtocolError("closed"), UnknownOutcome),
    ],
)
def test_only_what_never_left_is_unsent(cause: httpx.HTTPError, kind: type[ChannelError]) -> None:
    error = api.NetworkError("x")
    error.__cause__ = cause
    assert type(channel_error(error)) is kind


@pytest.mark.parametrize("action", list(Action))
def test_actions_are_read_back(action: Action) -> None:
    assert read_action(action_data(action)) is action


@given(st.text(max_size=80))
def test_made_up_data_means_nothing(data: str) -> None:
    assert PanelData("1:secret").read(data) is None
    assert read_action(data) is None or data.startswith("answer:")


@given(st.integers(-(2**52), 2**52), st.sampled_from(sorted(SETTINGS)), st.sampled_from(["+", "-", "show", "creative"]))
def test_panel_data_is_short_and_only_this_bots(owner: int, setting: str, value: str) -> None:
    press = PanelPress(f"telegram:{owner}", setting, value)
    data = PanelData("1:secret").write(press)
    if setting in ("temperature", "top_p", "max_tokens", "preset", "thinking"):
        assert len(data.encode()) <= LONGEST
    assert PanelData("1:secret").read(data) == press
    assert PanelData("1:other").read(data) is None


def test_every_button_of_the_panel_fits() -> None:
    profile = Profile(SETTINGS, {}, SettingBounds())
    panel: InlineKeyboardMarkup = panel_keyboard(SETTINGS, profile, f"telegram:{2**52}", PanelData("1:secret"))
    buttons = [button for row in panel.inline_keyboard for button in row]
    assert all(len(str(button.callback_data).encode()) <= LONGEST for button in buttons)
    assert "• balanced •" in {button.text for button in buttons}


@pytest.mark.parametrize(
    ("name", "value", "direction", "expected"),
    [
        ("temperature", "0.7", "+", "0.75"),
        ("temperature", "0.7", "-", "0.65"),
        ("temperature", "0.72", "+", "0.75"),
        ("temperature", "0.72", "-", "0.7"),
        ("temperature", "1", "+", "1"),
        ("temperature", "0.1", "-", "0.1"),
        ("max_tokens", "500", "-", "450"),
        ("max_tokens", "50", "-", "10"),
        ("max_tokens", "10", "+", "50"),
        ("max_tokens", "487", "+", "500"),
    ],
)
def test_steps_keep_to_a_grid_and_to_the_bounds(name: str, value: str, direction: str, expected: str) -> None:
    assert stepped(SETTINGS[name], value, direction) == expected


def test_the_same_update_is_the_same_event_and_a_recycled_number_is_not() -> None:
    message = {"message_id": 5, "date": 100, "chat": {"id": -7}, "message_thread_id": 3, "is_topic_message": True}
    first = received({"update_id": 1, "message": message}, 9, 0.0)
    assert first == received({"update_id": 1, "message": message}, 9, 0.0)
    assert first.chat == "telegram:9:-7:3"
    assert first.id != received({"update_id": 1, "message": message | {"date": 200}}, 9, 0.0).id
    assert received({"update_id": 2, "poll": {}}, 9, 0.0).chat == "telegram:9:0"


@pytest.mark.parametrize(
    ("body", "person"),
    [
        ({"message": {"from": {"id": 5}, "chat": {"id": -7}}}, "telegram:5"),
        ({"message": {"from": {"id": 5}, "sender_chat": {"id": -7}, "chat": {"id": -7}}}, "telegram:-7"),
        ({"channel_post": {"chat": {"id": -8}}}, "telegram:-8"),
        (
            {"callback_query": {"id": "1", "from": {"id": 5}, "message": {"from": {"id": 9}, "chat": {"id": 6}}}},
            "telegram:5",
        ),
    ],
)
def test_an_event_is_kept_under_its_person(body: dict[str, Any], person: str) -> None:
    assert received({"update_id": 1} | body, 9, 0.0).person == person


LONG = "line\n" * 500 + "end"
HERE = Destination(9, 5)


def said(number: int, text: str, **fields: Any) -> IncomingMessage:
    message = IncomingMessage(destination=HERE, author=Person("telegram:1", "Ann"), message_id=str(number), text=text)
    return replace(message, **{"units": len(text), "written_at": 100} | fields)


async def gathered(
    *messages: IncomingMessage, at: Sequence[float] = (), quiet_s: float = 60.0
) -> list[tuple[str, list[str]]]:
    """What becomes of messages that come at once: the text of each request and the numbers of its events, in order."""
    gathering, requests = UpdateAggregator(quiet_s), []

    async def collect(message: IncomingMessage, recorded_at: float) -> None:
        event = Received(
            account="telegram:9", id=message.message_id, chat=HERE.chat, payload="", received_at=recorded_at
        )
        if (whole := await gathering.collect(event, message)) is not None:
            requests.append((whole[1].text, [each.id for each in whole[0]]))

    async with asyncio.TaskGroup() as tasks:
        for message, recorded_at in zip(messages, at or [0.0] * len(messages), strict=True):
            tasks.create_task(collect(message, recorded_at))
    return requests


async def test_a_short_part_ends_a_divided_text_at_once() -> None:
    parts = said(1, LONG), said(2, LONG), said(3, "rest"), said(4, "next")
    assert await gathered(*parts) == [(f"{LONG}\n{LONG}\nrest", ["1", "2", "3"]), ("next", ["4"])]


async def test_a_part_that_was_cut_within_a_word_goes_on_in_it() -> None:
    full = "x" * MESSAGE_UNITS
    assert await gathered(said(1, full), said(2, "yz")) == [(full + "yz", ["1", "2"])]


async def test_a_block_of_code_that_was_divided_is_one_block() -> None:
    first, second = f"Why?\n```python\n{LONG}\n```", "```python\nrest\n```\nThanks"
    assert await gathered(said(1, first), said(2, second)) == [
        (f"Why?\n```python\n{LONG}\nrest\n```\nThanks", ["1", "2"])
    ]


async def test_parts_in_no_order_are_read_in_theirs() -> None:
    assert await gathered(said(2, LONG), said(1, "first"), said(3, "next")) == [
        (f"first\n{LONG}", ["2", "1"]),
        ("next", ["3"]),
    ]


@pytest.mark.parametrize(
    ("other", "at"),
    [
        (said(2, "written later", written_at=102), 0.0),
        (said(2, "recorded later"), 61.0),
        (said(2, "/help"), 0.0),
        (said(2, "a caption", units=0), 0.0),
    ],
)
async def test_what_is_no_part_of_a_text_comes_after_it(other: IncomingMessage, at: float) -> None:
    assert await gathered(said(1, LONG), other, at=[0.0, at]) == [(LONG, ["1"]), (other.text, ["2"])]


@pytest.mark.parametrize(
    "other",
    [
        said(2, "by another", author=Person("telegram:2", "Bob")),
        said(2, "in another topic", destination=Destination(9, 5, 7)),
    ],
)
async def test_what_is_elsewhere_waits_for_no_text(other: IncomingMessage) -> None:
    assert await gathered(said(1, LONG), other, quiet_s=0.001) == [(other.text, ["2"]), (LONG, ["1"])]


async def test_a_text_that_never_ends_is_cut() -> None:
    parts = [said(number, LONG) for number in range(1, 258)]
    requests = await gathered(*parts, said(258, "end"))
    assert [len(numbers) for _, numbers in requests] == [256, 2]


async def test_an_ordinary_message_waits_for_nothing() -> None:
    assert await gathered(said(1, "x" * 2048), said(2, "y")) == [("x" * 2048, ["1"]), ("y", ["2"])]


def test_what_the_model_wrote_or_thought_is_never_live() -> None:
    thinking = ThinkingView("ask @somebody, /start", 2, True, "Thought for 2 s")
    text = render(Frame(markdown="@anybody and **/stop**", thinking=thinking))
    assert [text.text[each.offset : each.end] for each in text.entities if each.type == "code"] == [
        "@somebody", "/start", "@anybody", "/stop"
    ]  # fmt: skip
    assert [each.type for each in render(Frame(markdown="Send /help.", notice=True)).entities] == []
    assert [each.type for each in render(Frame(failure="Send /help.")).entities] == []
    for frame in (Frame(markdown="Stop is now @all.", notice=True), Frame(footer="stop @all"), Frame(failure="@all")):
        text = render(frame)
        code = [each for each in text.entities if each.type == "code"]
        assert [text.text[each.offset : each.end] for each in code] == ["@all"], frame


def test_a_frame_has_its_parts_in_order() -> None:
    thinking = ThinkingView("hm 🎉", 2, True, "Thought for 2 s")
    text = render(Frame(markdown="**🎉 bold**", thinking=thinking, failure="It broke.", footer="tiny · 3 tokens"))
    assert text.text == "Thought for 2 s\nhm 🎉\n\n🎉 bold\n\nIt broke.\n\ntiny · 3 tokens"
    encoded = text.text.encode("utf-16-le")
    covered = [(e.type, encoded[2 * e.offset : 2 * (e.offset + e.length)].decode("utf-16-le")) for e in text.entities]
    assert covered == [
        ("expandable_blockquote", "Thought for 2 s\nhm 🎉"),
        ("bold", "Thought for 2 s"),
        ("bold", "🎉 bold"),
        ("italic", "tiny · 3 tokens"),
    ]


@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=50))
def test_every_frame_can_be_encoded_and_has_something_to_see(markdown: str, thought: str, footer: str) -> None:
    text = render(Frame(markdown=markdown, thinking=ThinkingView(thought, 1, True, "Thought"), footer=footer))
    assert text.text.encode("utf-8").strip()
    assert all(0 <= e.offset < e.offset + e.length <= text.units for e in text.entities)


def test_more_entities_than_telegram_shows_are_as_good_as_too_long() -> None:
    text = render(Frame(markdown="`a` " * 120 + "\n\n```py\nx\n```"))
    assert length(text) > MESSAGE_UNITS
    sent = entities(render(Frame(markdown="**a** " * 120 + "\n\n```py\nx\n```")))
    assert len(sent) == 100
    assert sent[-1].type == "pre"
    assert length(render(Frame(markdown="plain **words**"))) == 41
    assert length(render(Frame(markdown="🎉"))) == 2


def test_buttons() -> None:
    assert keyboard(Frame(markdown="x")) is None
    markup = keyboard(Frame(markdown="x", actions=(Action.CONTINUE, Action.REGENERATE)))
    assert markup is not None
    assert [button.text for button in markup.inline_keyboard[0]] == ["Continue", "Regenerate"]


def test_of_too_many_entities_names_stay_code() -> None:
    links = " ".join(f"[{n}](https://example.org/{n})" for n in range(MOST_ENTITIES))
    shown = entities(render(Frame(markdown=f"{links} @somebody /command")))
    assert len(shown) == MOST_ENTITIES
    assert [entity.type for entity in shown[-2:]] == ["code", "code"]

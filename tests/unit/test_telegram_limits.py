"""The flood limits of the wire-level Telegram: what they admit, and what a refused call costs."""

from __future__ import annotations

import pytest

from tests.servers.telegram_world import ApiError, Chat, Rules, World

GROUP = -1_001


def admitted(world: World, chat: int, *times: float) -> list[bool]:
    return [refused(world, chat, at) is None for at in times]


def refused(world: World, chat: int, at: float) -> ApiError | None:
    try:
        world.count_call(chat, at)
    except ApiError as error:
        return error
    return None


@pytest.fixture
def world() -> World:
    world = World(Rules.strict())
    for number in range(1, 40):
        world.chats[number] = Chat(number, "private")
    world.chats[GROUP] = Chat(GROUP, "supergroup")
    return world


def test_a_private_chat_takes_four_at_once_then_one_a_second(world: World) -> None:
    assert admitted(world, 1, 10, 10, 10, 10, 11, 12, 13) == [True] * 7
    assert admitted(world, 1, 13.5) == [False]
    assert admitted(world, 2, 13.5, 17.5, 17.5, 17.5, 17.5, 17.6) == [True] * 5 + [False]


def test_a_group_takes_twenty_a_minute(world: World) -> None:
    assert admitted(world, GROUP, *range(20)) == [True] * 20
    error = refused(world, GROUP, 20.5)
    assert error is not None
    assert error.parameters == {"retry_after": 40}
    assert admitted(world, GROUP, 60.6) == [True]


def test_an_account_takes_thirty_in_any_second(world: World) -> None:
    assert [refused(world, number, 5 + number / 100) for number in range(1, 31)] == [None] * 30
    assert admitted(world, 31, 5.9) == [False]
    assert admitted(world, 32, 6.02) == [True]


def test_a_call_within_a_penalty_prolongs_it(world: World) -> None:
    admitted(world, 1, 0, 0, 0, 0)
    assert admitted(world, 1, 0.1) == [False]
    longer = refused(world, 1, 0.2)
    assert longer is not None
    assert longer.parameters["retry_after"] == 2
    assert world.chats[1].calls_in_ban == 1
    assert admitted(world, 1, 2.3) == [True]

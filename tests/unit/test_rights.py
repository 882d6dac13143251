"""The table of rights: the gate decides by it, and the page about it says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from bots.access.allow_list import Access
from bots.access.gate import Call, Gate
from bots.access.rights import TABLE, Actor, Decision, Platform, Rule, cases
from bots.messages import Permit
from tests.rights_page import as_markdown

RATE = 5
_PAGE = Path(__file__).parents[2] / "docs" / "rights.md"


def test_there_are_enough_cases_on_every_platform() -> None:
    platforms = [case[0] for case in cases()]
    assert len(platforms) >= 200
    assert set(platforms) == set(Platform)
    refused = [case for case in cases() if case[3] is Decision.REFUSED]
    assert len(refused) > len(platforms) / 3


def test_the_page_in_the_docs_is_the_table() -> None:
    """On a difference, write what `python -m tests.rights_page` prints into the page."""
    assert as_markdown() in _PAGE.read_text()


def _call(rule: Rule, actor: Actor) -> Call:
    others = actor in (Actor.OTHER, Actor.MODERATOR) or (actor is Actor.OPERATOR and rule.visible)
    return Call(
        actor="t:1",
        thing=rule.thing,
        verb=rule.verb,
        chat="t:room",
        owner="t:2" if others else "t:1",
        moderates=actor is Actor.MODERATOR,
        administers=actor is Actor.ADMIN,
    )


@pytest.mark.parametrize("rule", [rule for rule in TABLE if Platform.API not in rule.platforms], ids=str)
async def test_the_gate_decides_by_the_table(rule: Rule) -> None:
    for actor in (Actor.OWNER, Actor.OTHER, Actor.MODERATOR, Actor.ADMIN, Actor.OPERATOR, Actor.STRANGER, Actor.HASTY):
        expected = next((case[3] for case in cases() if case[1] is rule and case[2] is actor), None)
        if expected is None:
            continue
        gate = _gate(actor)
        for _ in range(RATE if actor is Actor.HASTY else 0):
            await gate.decide(_call(rule, actor))
        decision = await gate.decide(_call(rule, actor))
        found = Decision.REFUSED
        if isinstance(decision, Permit):
            found = Decision.SILENT if decision.quiet else Decision.DONE
        assert found is expected, actor


def _gate(actor: Actor) -> Gate:
    async def nobody(chat: str, message_id: str) -> None:
        return None

    async def unspent(person: str) -> str:
        return ""

    access = Access(
        owners=("t:1",) if actor is Actor.OPERATOR else ("t:9",),
        allowed_users=() if actor is Actor.STRANGER else ("t:1",),
        strangers="refuse",
        requests_per_minute=RATE,
    )
    return Gate(access, lambda: 0.0, nobody, unspent)

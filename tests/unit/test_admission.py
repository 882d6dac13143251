"""Who is let in, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bots.admission import Access, Admission, Unheard
from bots.messages import Incoming, Person
from bots.preferences import Refused


def message(text: str = "hello", person: str = "telegram:1", chat: str = "telegram:9:1") -> Incoming:
    return Incoming(event_id="e", chat=chat, author=Person(person, "Ann"), text=text)


def test_without_lists_everybody_is_let_in() -> None:
    admission = Admission(Access())
    for number in range(1000):
        admission.check(message(person=f"telegram:{number % 3}"), 0.0)


@pytest.mark.parametrize(
    ("person", "chat", "is_in"),
    [
        ("telegram:1", "telegram:9:1", True),
        ("discord:1", "discord:5", False),
        ("telegram:2", "telegram:9:2", False),
        ("telegram:7", "telegram:9:7", True),
        ("telegram:2", "telegram:9:-100123", True),
        ("telegram:2", "telegram:9:-100123:44", True),
        ("telegram:2", "telegram:9:-1001234", False),
        ("telegram:2", "discord:-100123", False),
        ("discord:3", "discord:77", True),
    ],
)
def test_lists_name_people_and_chats(person: str, chat: str, is_in: bool) -> None:
    access = Access(
        owners=["telegram:7"],
        allowed_users=["telegram:1"],
        allowed_chats=["telegram:-100123", "discord:77"],
        strangers="refuse",
    )
    if is_in:
        Admission(access).check(message(person=person, chat=chat), 0.0)
    else:
        with pytest.raises(Refused, match=person):
            Admission(access).check(message(person=person, chat=chat), 0.0)


def test_a_chat_is_let_in_under_any_of_its_names() -> None:
    access = Access(allowed_chats=["telegram:-1001"], strangers="refuse")
    moved = replace(message(chat="telegram:9:-5"), places=("telegram:-1001",))
    assert access.is_stranger(message(chat="telegram:9:-5"))
    assert not access.is_stranger(moved)


def test_strangers_can_be_met_with_silence() -> None:
    with pytest.raises(Unheard):
        Admission(Access(strangers="ignore")).check(message(), 0.0)


def test_a_rate_is_told_once_and_then_kept_in_silence() -> None:
    admission = Admission(Access(requests_per_minute=3, owners=["telegram:7"]))
    for now in (0.0, 1.0, 2.0):
        admission.check(message(), now)
    with pytest.raises(Refused, match="50 s"):
        admission.check(message(), 10.0)
    with pytest.raises(Unheard):
        admission.check(message(), 11.0)
    admission.check(message("/stop"), 11.0)
    admission.check(message(person="telegram:2"), 11.0)
    for _ in range(10):
        admission.check(message(person="telegram:7"), 11.0)
    admission.check(message(), 60.0)
    with pytest.raises(Refused):
        admission.check(message(), 60.5)


def test_nobody_is_locked_out_by_a_clock_that_is_set_back() -> None:
    admission = Admission(Access(requests_per_minute=2))
    for now in (7_200.0, 7_201.0, 3_600.0, 3_601.0):
        admission.check(message(), now)
    with pytest.raises(Refused):
        admission.check(message(), 3_602.0)


@pytest.mark.parametrize(
    ("owners", "direct", "served"), [((), True, True), (("t:1",), True, False), (("t:1",), False, True)]
)
def test_by_default_strangers_have_no_direct_messages_once_there_are_owners(
    owners: tuple[str, ...], direct: bool, served: bool
) -> None:
    incoming = replace(message(), direct=direct)
    assert Admission(Access(owners=owners)).is_stranger(incoming) is not served

"""Who asks over HTTP: each key is one client, and says which owners its requests may have.

Partyline's own bots share a key and name their people, whatever platform these are on. Any other client is an owner of
its own ("api:notebook"). Where the operator lets it, it may name users, who are its own ("api:notebook/ann").
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from inference.api import Standing
from inference.http.wire import WrongRequest

# It is kept for fairness; ids of people are far shorter.
_LONGEST_USER = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Whoever has this key.

    Args:
        name: the operator's, for the log and the owner's id.
        names_users: its requests may be for users of its own.
        is_bot: it is one of Partyline's own processes, and names people and how well they are known.
    """

    name: str
    key: bytes
    names_users: bool = False
    is_bot: bool = False

    def owner(self, user: object, person: object) -> tuple[str, Standing, str]:
        """Whom a request is for, how well that owner is known, and the group in which it was asked.

        Args:
            user: OpenAI's field.
            person: our own, of `inference.http.wire.write_person`.

        Raises:
            WrongRequest: one of them is no name.
        """
        if person is not None and self.is_bot:
            return read_person(person)
        own = f"api:{self.name}"
        name = _name(user or "", "user")
        if not name or not self.names_users:
            # The operator has given the key, so whoever has it is no stranger.
            return own, "known", ""
        return f"{own}/{name}", "guest", ""


def read_person(person: object) -> tuple[str, Standing, str]:
    """The inverse of `inference.http.wire.write_person`. Raises WrongRequest."""
    if not isinstance(person, Mapping):
        raise WrongRequest("partyline", "partyline must be an object")
    known: tuple[Standing, ...] = get_args(Standing)
    standing = next((each for each in known if each == person.get("standing")), None)
    if standing is None:
        raise WrongRequest("partyline", f"partyline.standing must be one of {', '.join(known)}")
    # Bots of an earlier version name no group.
    group = _name(person.get("group", ""), "partyline.group")
    return _name(person.get("owner"), "partyline.owner"), standing, group


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise WrongRequest(what, f"{what} must be a string")
    if len(value) > _LONGEST_USER:
        raise WrongRequest(what, f"{what} must have at most {_LONGEST_USER} characters")
    return value


class Clients:
    """Finds the client of a key, in a time that tells nothing of the keys."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = list(clients)

    def of(self, authorization: str) -> Client | None:
        """The client whose bearer key an `Authorization` header holds."""
        given = authorization.encode("utf-8", "surrogateescape")
        found = [each for each in self._clients if hmac.compare_digest(given, b"Bearer " + each.key)]
        return found[0] if found else None

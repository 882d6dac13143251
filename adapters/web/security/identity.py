"""Who a browser is: an identity that this server minted and signed, in a cookie, and whether it has the password.

The cookie holds the identity, when it was minted, and a signature. Nobody can make one up, and a cookie tells how long
its owner has been known. The page's key signs; it is `web.secret` or stored in the database, so that all processes over
one database know each other's guests.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_VERSION = "3"
_DIGITS = {"2": 16, _VERSION: 32}
"""Hexadecimal ones of a person's id, by the version of the cookie: those of before keep what is theirs."""
_SECRET_BYTES = 32
_SIGNATURE_BYTES = 20
LIFETIME_S = 400 * 24 * 3600
"""Browsers cap a cookie at 400 days (RFC 6265bis)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One browser's. `secret` opens what is the person's, `minted_at` is in seconds since the epoch."""

    secret: str
    minted_at: int
    version: str = _VERSION

    @property
    def person(self) -> str:
        """The public id: everybody on the page may know it, and it opens nothing."""
        return "web:" + hashlib.sha256(self.secret.encode()).hexdigest()[: _DIGITS[self.version]]


class Identities:
    """Mints, signs and reads identities.

    Args:
        key: the page's own secret.
        password: what whoever enters must know; empty: anybody may enter.
        clock: seconds since the epoch.
    """

    def __init__(self, key: str, password: str = "", clock: Callable[[], float] = time.time) -> None:
        self._key = key.encode()
        self._password = password.encode()
        self._clock = clock

    @property
    def wants_password(self) -> bool:
        return bool(self._password)

    def mint(self) -> Identity:
        return Identity(secrets.token_hex(_SECRET_BYTES), int(self._clock()))

    def age_s(self, identity: Identity) -> float:
        """Seconds since it was minted."""
        return self._clock() - identity.minted_at

    def cookie_of(self, identity: Identity) -> str:
        signed = f"{identity.version}.{identity.secret}.{identity.minted_at:x}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, cookie: str | None) -> Identity | None:
        """The identity in a cookie; None for one that this server did not make."""
        signed, _, signature = (cookie or "").rpartition(".")
        if not cookie or not hmac.compare_digest(_bytes(signature), self._signature(signed).encode()):
            return None
        version, secret, minted_at = signed.split(".")
        return Identity(secret, int(minted_at, 16), version) if version in _DIGITS else None

    def is_password(self, given: str) -> bool:
        # Digests, so that the time tells nothing of the length either.
        return hmac.compare_digest(_digest(_bytes(given)), _digest(self._password))

    def pass_of(self, identity: Identity) -> str:
        """What shows that this identity has given the password; another password makes it void."""
        return self._signature(f"pass.{identity.secret}.{_digest(self._password).hex()}")

    def may_enter(self, identity: Identity | None, shown: str | None) -> bool:
        """Whether the identity has given the password, where one is wanted; `shown` is its pass."""
        if not self._password:
            return True
        return identity is not None and hmac.compare_digest(_bytes(shown or ""), self.pass_of(identity).encode())

    def _signature(self, text: str) -> str:
        return hmac.digest(self._key, _bytes(text), "sha256")[:_SIGNATURE_BYTES].hex()


def new_key() -> str:
    return secrets.token_hex(32)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _bytes(text: str) -> bytes:
    """Headers and JSON may hold lone surrogates."""
    return text.encode("utf-8", "surrogatepass")

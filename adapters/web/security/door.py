"""The way in: what each request's browser is, the cookies that say so, and the password of a page that has one."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.web.security.identity import LIFETIME_S, Identities, Identity
from adapters.web.security.token_buckets import TokenBuckets, network, without_port
from inference.untrusted.hosts import is_loopback, plain_address, plain_network

_COOKIE, _PASS = "partyline", "partyline-pass"
_HOST = "__Host-"
"""Browsers take a cookie with this prefix only over TLS, from this very host, so that no sister site can plant one."""
_TLS = {"https", "wss"}
"""Traefik says "wss" of the socket's request."""
_TRIES, _TRIES_S = 10, 600.0
_GUESSES, _GUESSES_S = 50, 3000.0
"""In the long run as slow as the tries: neighbours who guess keep out nobody who knows, unless they do so for long."""
_GUESSES_KNOWN = 4 * _GUESSES
"""Of all browsers at one address that were let in before. Each has tries of its own, which no neighbour uses up."""
_NEW_S = 600.0
_REGULAR_S = 86_400.0
_WRONG = "That password didn't work. Please check it and try again."


class TooManyNew(web.HTTPTooManyRequests):
    """Too many new identities were made for one address."""

    def __init__(self, wait_s: float) -> None:
        seconds = max(1, math.ceil(wait_s))
        super().__init__(
            text=f"Many people came from your network in a short time. Please try again in {seconds} seconds.\n",
            headers={"Cache-Control": "no-store", "Retry-After": str(seconds)},
        )


class NotEntered(web.HTTPUnauthorized):
    """The page has a password, and this browser has not given it."""

    def __init__(self) -> None:
        super().__init__(text="This page has a password.\n", headers={"Cache-Control": "no-store"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request's browser. `address` is where it comes from, `is_fresh`: its identity was made for this request."""

    identity: Identity
    address: str
    secure: bool
    is_fresh: bool

    @property
    def person(self) -> str:
        return self.identity.person


class Door:
    """Knows who comes.

    Args:
        proxies: addresses and networks of proxies, whose `X-Forwarded-For` and `X-Forwarded-Proto` count.
        new_guests: how many new identities one address gets at once, and again over ten minutes; 0: any number.
            Loopback always gets any number.
    """

    def __init__(
        self,
        identities: Identities,
        proxies: Collection[str] = (),
        new_guests: int = 0,
    ) -> None:
        self._identities = identities
        self._proxies = [plain_network(each) for each in proxies]
        self._tries = TokenBuckets(_TRIES, _TRIES_S)
        self._guesses = TokenBuckets(_GUESSES, _GUESSES_S)
        self._guesses_known = TokenBuckets(_GUESSES_KNOWN, _GUESSES_S)
        self._new = TokenBuckets(new_guests, _NEW_S) if new_guests else None

    def visitor(self, request: web.Request) -> Visitor:
        """Who makes the request; somebody without a cookie of ours is somebody new."""
        address, secure = self._origin(request)
        identity = self._identities.read(request.cookies.get(_name(_COOKIE, secure)))
        if identity is not None:
            return Visitor(identity, address, secure, is_fresh=False)
        return Visitor(self._identities.mint(), address, secure, is_fresh=True)

    def entered(self, request: web.Request) -> Visitor:
        """The same, once it may see the page. Raises NotEntered."""
        visitor = self.visitor(request)
        if not self.may_enter(request, visitor):
            raise NotEntered
        return visitor

    def is_regular(self, visitor: Visitor) -> bool:
        """Whether the browser has been here before today; if it has asked anything then, is not known here."""
        return self._identities.age_s(visitor.identity) >= _REGULAR_S

    def may_enter(self, request: web.Request, visitor: Visitor) -> bool:
        return self._identities.may_enter(visitor.identity, request.cookies.get(_name(_PASS, visitor.secure)))

    def welcome(self, visitor: Visitor) -> None:
        """Count an identity that is going to be left with a browser for the first time. Raises TooManyNew."""
        if self._new is None or not visitor.is_fresh or is_loopback(visitor.address):
            return
        if wait_s := self._new.take(network(visitor.address)):
            raise TooManyNew(wait_s)

    def remember(self, response: web.StreamResponse, visitor: Visitor) -> None:
        """Leave the identity with the browser."""
        _set(response, _COOKIE, self._identities.cookie_of(visitor.identity), visitor.secure)
        # What is one person's, or makes one, is nobody's to keep.
        response.headers["Cache-Control"] = "no-store"

    def enter(self, response: web.StreamResponse, visitor: Visitor) -> None:
        """Leave the identity and the pass of somebody who knows the password."""
        self.remember(response, visitor)
        _set(response, _PASS, self._identities.pass_of(visitor.identity), visitor.secure)

    def refusal(self, visitor: Visitor, password: str) -> str:
        """The sentence for somebody who does not know the password, or from whose address too many came; "" for others.

        Beyond ten wrong tries a wrong one is told to wait; beyond `_GUESSES` none is looked at. A browser that was let
        in before (the password is another one since) has its own ten, beyond which none is looked at.
        """
        place, who = network(visitor.address), visitor.person
        guesses, tries = (self._guesses, place) if visitor.is_fresh else (self._guesses_known, who)
        wait_s = max(guesses.wait_s(place), 0.0 if visitor.is_fresh else self._tries.wait_s(who))
        if not wait_s:
            if self._identities.is_password(password):
                return ""
            guesses.take(place)
            wait_s = self._tries.take(tries)
        return f"Those were too many tries. Please wait {math.ceil(wait_s)} seconds." if wait_s else _WRONG

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser is known to speak TLS."""
        return self._origin(request)[1]

    def _origin(self, request: web.Request) -> tuple[str, bool]:
        """Where the request comes from, and whether the browser speaks TLS."""
        peer = request.remote or ""
        if not self._is_proxy(peer):
            return peer, request.secure
        proto = _entries(request, "X-Forwarded-Proto")[-1:]
        return self._client(_entries(request, "X-Forwarded-For")) or peer, bool(_TLS & set(map(str.lower, proto)))

    def _client(self, hops: Sequence[str]) -> str:
        """Of what each proxy added at the end, the last that is no proxy of ours; those before it are anybody's words.

        Where all are, the first: a proxy may ask for itself.
        """
        return next((each for each in reversed(hops) if not self._is_proxy(without_port(each))), "".join(hops[:1]))

    def _is_proxy(self, peer: str) -> bool:
        address = plain_address(peer)
        return address is not None and any(address in each for each in self._proxies)


def _entries(request: web.Request, header: str) -> list[str]:
    """Some proxies add their own as a header of its own."""
    every = ",".join(request.headers.getall(header, ())).split(",")
    return [each.strip() for each in every if each.strip()]


def _name(name: str, secure: bool) -> str:
    return _HOST + name if secure else name


def _set(response: web.StreamResponse, name: str, value: str, secure: bool) -> None:
    # Not "Strict": a browser keeps that one back when a link on another site is followed, and takes a new one. What
    # another site could send by itself is refused by its Origin, and does not carry this cookie either.
    response.set_cookie(
        _name(name, secure), value, max_age=LIFETIME_S, httponly=True, samesite="Lax", path="/", secure=secure
    )

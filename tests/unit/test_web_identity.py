"""Identities are the server's own, cookies are as safe as the connection, and a page with a password has a door."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.app import _check_page
from adapters.delivery.channel import Channel
from adapters.delivery.outcome import DELIVERED, Outcome
from adapters.web.posts.posts import StoredFile
from adapters.web.security.identity import Identities, Identity, new_key
from bots.ports import StorageError
from config.settings import ConfigError, WebSettings, load
from tests.unit.web_parts import Page, Parts, PlainOutboxes, browser_session

IDENTITIES = Identities("key", clock=lambda: 1_000_000.0)
PASSWORD = "grüß \U0001f600"


def test_an_identity_comes_back_from_its_cookie() -> None:
    identity = IDENTITIES.mint()
    cookie = IDENTITIES.cookie_of(identity)
    assert IDENTITIES.read(cookie) == identity
    assert identity.minted_at == 1_000_000
    assert identity.secret not in identity.person
    assert re.fullmatch(r"web:[0-9a-f]{32}", identity.person)
    assert Identities("another key").read(cookie) is None


@given(st.text())
def test_nobody_makes_an_identity_up(cookie: str) -> None:
    assert IDENTITIES.read(cookie) is None


COOKIE = IDENTITIES.cookie_of(Identity("0123456789abcdef" * 4, 1_000_000))
"""The same in every run: hypothesis calls a test that draws by a random cookie flaky."""


@pytest.mark.parametrize("place", range(len(COOKIE)))
def test_a_changed_cookie_is_none(place: int) -> None:
    """Every place, every other sign: nothing of a cookie can be written in two ways."""
    head, tail = COOKIE[:place], COOKIE[place + 1 :]
    others = [chr(code) for code in range(0x250) if chr(code) != COOKIE[place]]
    assert [
        other for other in ["", COOKIE[place] * 2, *others] if IDENTITIES.read(head + other + tail) is not None
    ] == []


@given(st.integers(0, len(COOKIE)), st.text(min_size=1))
def test_nothing_can_be_put_into_a_cookie(place: int, more: str) -> None:
    assert IDENTITIES.read(COOKIE[:place] + more + COOKIE[place:]) is None


@pytest.mark.parametrize(
    "same", [COOKIE.upper(), f" {COOKIE}", f"{COOKIE} ", f'"{COOKIE}"', f"{COOKIE}=", f"{COOKIE}."]
)
def test_a_cookie_is_read_as_it_was_written_alone(same: str) -> None:
    assert IDENTITIES.read(same) is None
    assert IDENTITIES.read(COOKIE) is not None


def test_another_password_voids_the_pass_and_keeps_the_identity() -> None:
    before, after = Identities("key", "one"), Identities("key", "two")
    identity = before.mint()
    shown = before.pass_of(identity)
    assert before.may_enter(identity, shown)
    assert not after.may_enter(identity, shown)
    assert not before.may_enter(before.mint(), shown)
    assert not before.may_enter(identity, None)
    assert after.read(before.cookie_of(identity)) == identity


@pytest.fixture
async def parts() -> Parts:
    return Parts()


@pytest.fixture
async def address(parts: Parts) -> AsyncIterator[str]:
    async with parts.server().serving() as address:
        yield address


async def cookies(address: str, path: str = "", **headers: str) -> SimpleCookie:
    """What the page sets for a request with these headers."""
    async with aiohttp.ClientSession() as session, session.get(address + path, headers=headers) as response:
        return response.cookies


async def test_any_48_digits_are_no_identity(address: str, parts: Parts) -> None:
    made_up = "0123456789ab" * 4
    given_out = (await cookies(address, Cookie=f"partyline={made_up}"))["partyline"].value
    assert made_up not in given_out
    assert (await cookies(address, Cookie=f"partyline={given_out}"))["partyline"].value == given_out


async def test_an_unsigned_cookie_is_nobody_even_if_that_person_is_here(address: str, parts: Parts) -> None:
    """Whoever finds digits that make somebody's id must not become them."""
    secret = "0123456789ab" * 4
    await parts.posts.put_name("web:" + hashlib.sha256(secret.encode()).hexdigest()[:16], "Ada")
    given_out = (await cookies(address, Cookie=f"partyline={secret}"))["partyline"].value
    assert secret not in given_out


async def test_whoever_has_an_id_of_before_keeps_it(parts: Parts) -> None:
    async with parts.server(key="k" * 32).serving() as address:
        old = Identity("ab" * 24, 1_000_000, "2")
        headers = {"Cookie": f"partyline={Identities('k' * 32).cookie_of(old)}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(address + "ws") as socket:
            person = (await socket.receive_json())["person"]
            assert person == "web:" + hashlib.sha256(("ab" * 24).encode()).hexdigest()[:16]
            assert headers["Cookie"] == f"partyline={socket._response.cookies['partyline'].value}"


async def test_a_storage_that_is_away_makes_nobody_somebody_else(address: str, parts: Parts) -> None:
    async def away(person: str) -> str | None:
        raise StorageError("away")

    cookie = (await cookies(address))["partyline"].value
    parts.posts.name_of = away  # type: ignore[method-assign]
    assert (await cookies(address, Cookie=f"partyline={cookie}"))["partyline"].value == cookie


async def test_behind_tls_the_cookie_is_the_hosts_alone(parts: Parts) -> None:
    async with parts.server(proxies=["127.0.0.0/8"]).serving() as address:
        secure = await cookies(address, **{"X-Forwarded-Proto": "http, https"})
        assert list(secure) == ["__Host-partyline"]
        cookie = secure["__Host-partyline"]
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
        plain = await cookies(address)
        assert list(plain) == ["partyline"]
        # One that a sister site could have planted counts for nothing.
        planted = await cookies(
            address, **{"X-Forwarded-Proto": "https", "Cookie": f"partyline={plain['partyline'].value}"}
        )
        assert planted["__Host-partyline"].value != plain["partyline"].value


@pytest.mark.parametrize(
    ("host", "origin", "proto", "status"),
    [
        ("chat.example", "https://chat.example", "https", 101),  # nginx, Caddy, Traefik
        ("chat.example:8443", "https://chat.example:8443", "https", 101),
        ("chat.example", "https://chat.example", "http", 101),  # another proxy before it has the certificate
        ("chat.example", "https://chat.example", "", 101),  # it does not say
        ("chat.example", "http://chat.example", "http", 101),
        ("chat.example", "http://chat.example", "https", 403),
        ("chat.example", "https://sister.example", "https", 403),
    ],
)
async def test_a_page_behind_a_proxy_may_act_and_its_twin_without_tls_may_not(
    parts: Parts, host: str, origin: str, proto: str, status: int
) -> None:
    headers = {"Host": host, "Origin": origin} | ({"X-Forwarded-Proto": proto} if proto else {})
    server = parts.server(proxies=["127.0.0.1"], hostnames=["chat.example"])
    async with server.serving() as address, browser_session() as session:
        handshake = headers | {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        handshake["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        async with session.get(address + "ws", headers=handshake) as response:
            assert response.status == status


async def test_nobody_can_plant_an_identity_that_was_signed_by_taking_its_signature_off(parts: Parts) -> None:
    """A sister site can set `partyline`: to its own secret, whose person is here."""
    async with parts.server(proxies=["127.0.0.0/8"]).serving() as address:
        tls = {"X-Forwarded-Proto": "https"}
        mine = (await cookies(address, **tls))["__Host-partyline"].value
        headers = tls | {"Cookie": f"__Host-partyline={mine}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(address + "ws") as socket:
            assert (await socket.receive_json())["type"] == "hello"
        secret = mine.split(".")[1]
        planted = await cookies(address, **tls | {"Cookie": f"partyline={secret}"})
        assert secret not in planted["__Host-partyline"].value


async def test_whoever_is_no_proxy_says_nothing_of_tls(address: str) -> None:
    assert list(await cookies(address, **{"X-Forwarded-Proto": "https"})) == ["partyline"]


async def test_what_is_one_persons_is_not_stored(address: str, parts: Parts) -> None:
    await parts.posts.put_file(StoredFile(id="all", name="a.png", media_type="image/webp", data=b"x"))
    async with browser_session() as session:
        async with session.get(address) as response:
            assert response.headers["Cache-Control"] == "no-store"
        async with session.get(address + "files/all") as response:
            assert response.headers["Cache-Control"] == "private, max-age=3600"
        async with session.ws_connect(address + "ws") as socket:
            person = (await socket.receive_json())["person"]
    assert person


class PrivateFiles(PlainOutboxes):
    """Answers with a file for the asker alone."""

    async def deliver(self, channel: Channel, chat: str, events: object, **more: Any) -> Outcome:
        await channel.upload("data.json", b"{}", reply_to=None, nonce="n", private=True)
        return DELIVERED


async def test_a_file_for_one_person_is_not_stored() -> None:
    server = Parts(outboxes=PrivateFiles()).server()
    async with server.serving() as address, browser_session() as own, browser_session() as other:
        async with own.ws_connect(address + "ws") as socket:
            page = Page(socket)
            await page.type("give me my data")
            (file,) = (await page.next("notice"))["post"]["attachments"]
        async with own.get(f"{address}files/{file['id']}") as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        async with other.get(f"{address}files/{file['id']}") as response:
            assert response.status == 404


async def test_no_string_is_evaluated(address: str) -> None:
    async with browser_session() as session, session.get(address) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_a_page_with_a_password_shows_nothing_without_it() -> None:
    parts = Parts()
    await parts.posts.put_file(StoredFile(id="f", name="a.png", media_type="image/webp", data=b"x"))
    async with parts.server(password=PASSWORD).serving() as address, browser_session() as session:
        async with session.get(address) as response:
            page = await response.text()
        assert 'type="password"' in page
        assert "composer" not in page
        for path in ("ws", "files/f"):
            async with session.get(address + path) as response:
                assert (response.status, response.cookies) == (401, SimpleCookie()), path
        async with session.post(address + "upload", data=b"x") as response:
            assert response.status == 401
        async with session.post(address + "enter", json={"password": "guess"}) as response:
            assert response.status == 403
            assert "check it" in (await response.json())["sentence"]
        async with session.post(address + "enter", json={"password": PASSWORD}) as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        async with session.get(address) as response:
            assert "composer" in await response.text()
        async with session.ws_connect(address + "ws") as socket:
            assert (await socket.receive_json())["type"] == "hello"
        async with session.get(address + "files/f") as response:
            assert response.status == 200


async def test_guesses_at_the_password_are_few_and_lock_out_nobody_else() -> None:
    server = Parts().server(password=PASSWORD, proxies=["127.0.0.1"])
    async with server.serving() as address:

        async def tried(password: object, where: str) -> str:
            headers = {"X-Forwarded-For": f"198.51.100.9, {where}"}
            async with (
                browser_session() as session,
                session.post(address + "enter", json={"password": password}, headers=headers) as response,
            ):
                return "" if response.status == 200 else str((await response.json())["sentence"])

        said = [await tried(f"guess {number}", "192.0.2.1") for number in range(15)]
        assert sum("check it" in sentence for sentence in said) == 10
        assert all("too many" in sentence for sentence in said[10:])
        assert await tried(PASSWORD, "192.0.2.1") == "", "a neighbour who guesses keeps out nobody who knows"
        for number in range(35):
            assert "too many" in await tried(f"more {number}", "192.0.2.1")
        assert "too many" in await tried(PASSWORD, "192.0.2.1"), "guessing is bounded"
        assert await tried(PASSWORD, "192.0.2.2") == ""


async def test_a_neighbour_who_guesses_locks_out_no_browser_that_was_let_in_before() -> None:
    parts, headers = Parts(), {"X-Forwarded-For": "192.0.2.1"}
    async with browser_session() as ann, browser_session() as eve:

        async def tried(session: aiohttp.ClientSession, address: str, password: str) -> str:
            async with session.post(address + "enter", json={"password": password}, headers=headers) as response:
                return "" if response.status == 200 else str((await response.json())["sentence"])

        async with parts.server(password=PASSWORD, proxies=["127.0.0.1"], key="k" * 32).serving() as address:
            for session in (ann, eve):
                assert await tried(session, address, PASSWORD) == ""
        async with parts.server(password="another", proxies=["127.0.0.1"], key="k" * 32).serving() as address:
            for number in range(60):
                async with browser_session() as stranger:
                    await tried(stranger, address, f"guess {number}")
            said = [await tried(eve, address, f"guess {number}") for number in range(15)]
            assert ["too many" in sentence for sentence in said] == 10 * [False] + 5 * [True]
            assert "too many" in await tried(eve, address, "another"), "her own tries are used up"
            assert await tried(ann, address, "another") == ""


async def test_a_proxy_that_adds_a_header_of_its_own_is_believed_and_not_the_one_before() -> None:
    """HAProxy does: what the client sent stays in a header before it."""
    server = Parts().server(password=PASSWORD, proxies=["127.0.0.1"])
    async with server.serving() as address, browser_session() as session:
        said = []
        for number in range(15):
            headers = CIMultiDict([("X-Forwarded-For", f"198.51.100.{number}"), ("X-Forwarded-For", "192.0.2.1")])
            async with session.post(address + "enter", json={"password": "guess"}, headers=headers) as response:
                said.append(str((await response.json())["sentence"]))
        assert sum("check it" in sentence for sentence in said) == 10


@pytest.mark.parametrize("body", [b"", b"[]", b'{"password": 1}', b"{", b'{"password": "x"', b"[" * 5000])
async def test_a_door_takes_passwords_alone(body: bytes) -> None:
    async with Parts().server(password="x").serving() as address, browser_session() as session:
        headers = {"Content-Type": "application/json"}
        async with session.post(address + "enter", data=body, headers=headers) as response:
            assert response.status in (400, 413)
        async with session.post(address + "enter", data={"password": "x"}) as response:
            assert response.status == 400
        async with session.post(
            address + "enter", json={"password": "x"}, headers={"Origin": "http://evil.example"}
        ) as response:
            assert response.status == 403
        async with session.post(address + "enter", data=b'{"password": "\\ud800"}', headers=headers) as response:
            assert response.status == 403


def web(**values: object) -> WebSettings:
    return WebSettings.model_validate({"enabled": True, **values})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "myhost"])
def test_a_page_that_others_reach_wants_a_password_or_the_operators_word(host: str) -> None:
    with pytest.raises(ConfigError, match="PARTYLINE_WEB__PASSWORD"):
        _check_page(web(host=host))
    _check_page(web(host=host, password="x"))
    _check_page(web(host=host, open=True))


def test_a_page_behind_a_proxy_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        _check_page(web(host=host))
    assert not caplog.records
    _check_page(web(hostnames=["bot.example"]))
    assert "bot.example can use the page" in caplog.text


@pytest.mark.parametrize("values", [{"password": "x"}, {"open": True}, {}])
def test_a_proxy_that_is_not_named_is_warned_of(caplog: pytest.LogCaptureFixture, values: dict[str, object]) -> None:
    _check_page(web(hostnames=["bot.example"], proxies=["127.0.0.1"], **values))
    _check_page(web(password="x"))
    assert "web.proxies" not in caplog.text
    _check_page(web(hostnames=["bot.example"], **values))
    assert "web.proxies" in caplog.text


def test_a_proxys_address_must_be_one() -> None:
    assert load(None, {"PARTYLINE_WEB__PROXIES": "10.0.0.0/8, ::1"}).web.proxies == ("10.0.0.0/8", "::1")
    with pytest.raises(ConfigError, match=r"web\.proxies"):
        load(None, {"PARTYLINE_WEB__PROXIES": "my-proxy"})


def test_the_password_is_shown_nowhere() -> None:
    settings = load(None, {"PARTYLINE_WEB__PASSWORD": "s3cret", "PARTYLINE_WEB__SECRET": "s3cret"})
    assert "s3cret" not in repr(settings)


def test_keys_are_long() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) >= 32

"""Foreign sites and rebound names stay outside."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from adapters.web.security.origins import origin_allowed
from inference.untrusted.hosts import host_allowed, is_loopback, one_place, plain_network


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.1"])
def test_loopback_is_served(host: str) -> None:
    assert host_allowed(host, "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.0.2", "localhost.evil.example", "[::"],
)
def test_anything_else_is_not(host: str) -> None:
    assert not host_allowed(host, "127.0.0.1")
    assert not host_allowed(host, "localhost")


def test_a_wider_binding_takes_addresses_and_configured_names() -> None:
    assert host_allowed("192.168.0.2:8080", "0.0.0.0")
    assert host_allowed("bot.example:443", "0.0.0.0", ["Bot.example"])
    assert not host_allowed("evil.example", "0.0.0.0", ["bot.example"])
    assert host_allowed("myhost:1", "myhost")


def test_an_ipv4_address_in_ipv6_is_that_address() -> None:
    assert host_allowed("[::ffff:127.0.0.1]:8080", "127.0.0.1")
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:10.0.0.1")
    assert plain_network("::ffff:10.0.0.0/104") == ip_network("10.0.0.0/8")
    assert plain_network("::/0") == ip_network("::/0")
    assert one_place("::ffff:10.0.0.1") == one_place("10.0.0.1") == "10.0.0.1"
    assert one_place("fe80::1%eth0") == one_place("fe80::2")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://localhost:8080", True),
        ("http://localhost:9090", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[::", False),
        ("http://[nonsense]:8080", False),
    ],
)
def test_only_our_own_page_may_act(origin: str | None, allowed: bool) -> None:
    assert origin_allowed(origin, "localhost:8080") is allowed
    assert origin_allowed(origin, "localhost:8080", secure=True) is (origin is None)


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed"),
    [
        ("https://chat.example", "chat.example", True, True),
        ("https://Chat.example", "chat.example:443", True, True),
        ("https://chat.example:8443", "chat.example:8443", True, True),
        ("https://chat.example", "chat.example", False, True),  # a proxy before the proxy speaks TLS
        ("http://chat.example", "chat.example", False, True),
        ("http://chat.example", "chat.example:80", False, True),
        ("http://chat.example", "chat.example", True, False),
        ("https://chat.example:9000", "chat.example", True, False),
        ("https://chat.example", "chat.example:80", True, False),
        ("https://evil@chat.example", "chat.example", True, False),
        ("https://evil.example", "chat.example", True, False),
        ("ftp://chat.example", "chat.example", False, False),
        ("file://", "chat.example", False, False),
        ("https://chat.example:x", "chat.example", True, False),
    ],
)
def test_over_tls_only_a_page_that_came_over_tls_may_act(origin: str, host: str, secure: bool, allowed: bool) -> None:
    assert origin_allowed(origin, host, secure=secure) is allowed

"""Which Host headers can be meant for a port of ours: a name that was rebound to this machine is none of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def host_allowed(header: str, bound: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header can be meant for us: loopback, one of our `names`, or an address where we listen on it.

    An address in the header is safe when we do not listen on loopback alone: rebinding takes a name.
    """
    host = _hostname("//" + header)
    if host in {"localhost", *(name.lower() for name in names)}:
        return True
    address = _address(host)
    if address is None:
        return host == bound.lower()
    ours = _address(bound)
    return address.is_loopback or not (bound == "localhost" or (ours and ours.is_loopback))


def is_loopback(host: str) -> bool:
    """Whether a port that listens there is reached from this machine alone."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

"""Which Host headers can be meant for a port of ours: a name that was rebound to this machine is none of them."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

_MAPPED_BITS = 96
"""Of an IPv6 address, before the IPv4 address that it holds (RFC 4291, 2.5.5.2)."""


def host_allowed(header: str, bound: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header can be meant for us: loopback, one of our `names`, or an address where we listen on it.

    An address in the header is safe when we do not listen on loopback alone: rebinding takes a name.
    """
    host = _hostname("//" + header)
    if host in {"localhost", *(name.lower() for name in names)}:
        return True
    address = plain_address(host)
    if address is None:
        return host == bound.lower()
    ours = plain_address(bound)
    return address.is_loopback or not (bound == "localhost" or (ours and ours.is_loopback))


def is_loopback(host: str) -> bool:
    """Whether a port that listens there is reached from this machine alone."""
    address = plain_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, None for what is none. An IPv4 address that a port sees in IPv6 (`::ffff:10.0.0.1`) is IPv4's."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def plain_network(text: str) -> IPv4Network | IPv6Network:
    """The network of an address or network, in the same form. Raises ValueError."""
    network = ip_network(text, strict=False)
    bits = network.prefixlen - _MAPPED_BITS
    if bits < 0 or isinstance(network, IPv4Network) or (mapped := network.network_address.ipv4_mapped) is None:
        return network
    return ip_network((mapped, bits))


def one_place(address: str) -> str:
    """What counts as one address: one of IPv4, or the /64 that one customer of a provider has in IPv6."""
    found = plain_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False).network_address)
    return address if found is None else str(found)


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""

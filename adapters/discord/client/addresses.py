"""Where Discord is: its own addresses, or those of a server that speaks the same protocol. Pure, but for `bind`."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

API = "https://discord.com/api/v10"
_CDN_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net", "images-ext-1.discordapp.net"})
_INVITE = "https://discord.com/oauth2/authorize?client_id="
# View channels, send messages, read their history, attach files, open public threads, write in threads.
_PERMISSIONS = 1 << 10 | 1 << 11 | 1 << 16 | 1 << 15 | 1 << 35 | 1 << 38
_VERSION = re.compile(r"/api(?:/v\d+)?$")


def api_address(configured: str) -> str:
    """The base of every REST path; `configured` may or may not end in `/api/v10`, and is empty for Discord's own."""
    base = configured.rstrip("/")
    if not base:
        return API
    if not _VERSION.search(base):
        return f"{base}/api/v10"
    return base if base.rsplit("/", 1)[1] != "api" else f"{base}/v10"


def serves_files(address: str, api: str) -> bool:
    """Whether a file there may be fetched: over TLS from Discord's own hosts, or from the API's host and port.

    Other ports of that host are other programs, whatever the API names; but its TLS is one's own.
    """
    try:
        parts, own = urlsplit(address), urlsplit(api)
        if api != API and parts.hostname == own.hostname and _is_same(_port(parts), _port(own)):
            return parts.scheme in ("http", "https")
    except ValueError:
        return False
    return parts.scheme == "https" and parts.hostname in _CDN_HOSTS


def _is_same(port: int | None, own: int | None) -> bool:
    return port == own or (port, own) == (443, 80)


def _port(parts: SplitResult) -> int | None:
    """Raises ValueError where it is none."""
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def invitation(application: str) -> str:
    """The link with which the admins of a server let the bot in, with the permissions that it uses."""
    return f"{_INVITE}{application}&scope=bot+applications.commands&permissions={_PERMISSIONS}"


def user_installation(application: str) -> str:
    """The link with which a person takes the commands along, to servers where the bot is not."""
    return f"{_INVITE}{application}&scope=applications.commands&integration_type=1"


def bind(api: str, gateway: str) -> None:
    """Points discord.py to these addresses; an empty gateway leaves the library's own."""
    import yarl
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

    Route.BASE = api
    if gateway:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)

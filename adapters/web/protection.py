"""Who may talk to the page: checks of Host and Origin, and the headers that keep a browser on the safe side.

The page listens on loopback, where every site that is open in the same browser can reach it. A foreign site is stopped
by the Origin that its requests carry, and a name that was rebound to 127.0.0.1 by the Host header.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from inference.hosts import host_allowed

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def origin_allowed(origin: str | None, host: str) -> bool:
    """Whether the request comes from our own page, or from a program (browsers always say their Origin)."""
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def guard(bound: str, names: Collection[str] = ()) -> Middleware:
    """Refuses foreign hosts everywhere and foreign origins on everything that changes or streams something."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not host_allowed(request.headers.get("Host", ""), bound, names):
            raise web.HTTPMisdirectedRequest(text="This address is not served here.\n")
        reading = request.method in {"GET", "HEAD"} and "Upgrade" not in request.headers
        if not reading and not origin_allowed(request.headers.get("Origin"), request.headers["Host"]):
            raise web.HTTPForbidden(text="Only this page itself may do that.\n")
        return await handler(request)

    return check


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)

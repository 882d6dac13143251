"""Who may talk to the page: checks of Host and Origin, and the headers that keep a browser on the safe side.

The page listens on loopback, where every site that is open in the same browser can reach it. A foreign site is stopped
by the Origin that its requests carry, and a name that was rebound to 127.0.0.1 by the Host header.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from inference.untrusted.hosts import host_allowed

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


_PORTS = {"http": 80, "https": 443}


def origin_allowed(origin: str | None, host: str, *, secure: bool = False) -> bool:
    """Whether the request comes from our own page, or from a program (browsers always say their Origin).

    A page that came over TLS is another one than a page of the same name that did not, which anybody on the way can
    make up. Not the other way round: of two proxies, the second one may hear of no TLS.

    Args:
        secure: the browser is known to speak TLS.
    """
    if origin is None:
        return True
    try:
        page, here = urlsplit(origin), urlsplit(f"{urlsplit(origin).scheme}://{host}")
        default = _PORTS[page.scheme]
        same = (page.hostname, page.port or default) == (here.hostname, here.port or default)
    except (ValueError, LookupError):
        return False
    return same and page.username is None and (page.scheme == "https" or not secure)


def guard(bound: str, names: Collection[str], is_secure: Callable[[web.Request], bool]) -> Middleware:
    """Refuses foreign hosts everywhere and foreign origins on everything that changes or streams something.

    Args:
        is_secure: whether a request's browser is known to speak TLS.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not host_allowed(request.headers.get("Host", ""), bound, names):
            raise web.HTTPMisdirectedRequest(text="This address is not served here.\n")
        reading = request.method in {"GET", "HEAD"} and "Upgrade" not in request.headers
        origin, host = request.headers.get("Origin"), request.headers["Host"]
        if not reading and not origin_allowed(origin, host, secure=is_secure(request)):
            raise web.HTTPForbidden(text="Only this page itself may do that.\n")
        return await handler(request)

    return check


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)

"""Model references as logs and people may see them."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^/@\s,]*@")


def without_user(reference: str) -> str:
    """The reference without the user and the password of its addresses, by which a proxy may guard a server."""
    return _USER.sub("", reference)

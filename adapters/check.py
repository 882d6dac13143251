"""What `partyline check` says: the effective settings, and what is missing with the line that mends it."""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretStr

from adapters.storage.database.address import hidden_password
from config.settings import Settings
from inference.engine_factory import missing

_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")


def report(settings: Settings) -> tuple[list[str], bool]:
    """The lines to print, and whether anything is missing."""
    lines = ["Settings:", *(f"  {name} = {value}" for name, value in _effective(settings, ""))]
    gaps = missing(settings.model, settings.captioner)
    platforms = [name for name in ("discord", "telegram") if getattr(settings, name).token.get_secret_value()]
    if not settings.web.enabled and not platforms:
        gaps.append(("no platform is switched on", "PARTYLINE_WEB__ENABLED=true"))
    if not settings.captioner:
        gaps.append(("no captioner is set, so pictures are refused", "PARTYLINE_CAPTIONER=demo"))
    if not gaps:
        return [*lines, "Nothing is missing."], False
    lines.append("Missing:")
    for what, mend in gaps:
        lines += [f"  {what}", f"    {mend}"]
    return lines, True


def _effective(section: BaseModel, prefix: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            rows += _effective(value, f"{prefix}{name}.")
        elif isinstance(value, SecretStr):
            rows.append((f"{prefix}{name}", "(set)" if value.get_secret_value() else "(not set)"))
        else:
            rows.append((f"{prefix}{name}", _shown(name, str(value)) or '""'))
    return rows


def _shown(name: str, value: str) -> str:
    """The value without the passwords in its addresses."""
    return hidden_password(value) if name == "database" else _PASSWORD.sub(r"\1:***@", value)

"""One person's settings: what they may be, how people write them, and what they mean for sampling. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bots.messages import ThinkingMode
from inference.api import Sampling, Standing

SettingKind = Literal["number", "integer", "choice", "texts"]

PRESETS: Mapping[str, tuple[float, float]] = {"precise": (0.2, 0.5), "balanced": (0.7, 0.9), "creative": (0.9, 0.95)}
CUSTOM = "custom"
_OFF = {"off", "none", "default", "auto", "-"}
_MAX_STOPS = 4
_MAX_STOP_CHARACTERS = 40
_MAX_CHARACTERS = 400
"""Of a value as it is written, with blanks: a longer one is looked at no further."""
_QUOTED = 30


class UserError(Exception):
    """A value that cannot be; the message is one sentence for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a setting may be. `low`, `high` and `step` are of numbers; `default` is written as a person would."""

    name: str
    label: str
    kind: SettingKind
    default: str
    help: str
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    choices: tuple[str, ...] = ()
    advanced: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind == "choice":
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.kind == "texts":
            return f"up to {_MAX_STOPS} words separated by commas, or off"
        off = ", or off" if self.default == "off" else ""
        return f"a number from {_written(self.low)} to {_written(self.high)}{off}"

    def parse(self, text: str) -> str:
        """The value as it is stored.

        Raises:
            Refused: not a value of this setting.
        """
        if len(text) > _MAX_CHARACTERS:
            raise UserError(f"{self.label} is {self.allowed}. What you wrote is too long for that.")
        text = text.strip()
        if self.kind == "texts":
            return _stops(self, text)
        if self.kind == "choice":
            if text.lower() in self.choices:
                return text.lower()
            raise UserError(f"{self.label} is {self.allowed}; you wrote {_quoted(text)}.")
        if self.default == "off" and text.lower() in _OFF:
            return "off"
        return self._number(text)

    def _number(self, text: str) -> str:
        try:
            value = float(text.replace(",", ".", 1))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{self.label} is {self.allowed}; you wrote {_quoted(text)}.")
        if self.kind == "integer" and value != int(value):
            raise UserError(f"{self.label} is a whole number; you wrote {_quoted(text)}.")
        if not self.low <= value <= self.high:
            raise UserError(f"{self.label} is {self.allowed}; {_quoted(text)} is outside.")
        return _written(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingBounds:
    """The operator's word: the most tokens of an answer, the budget of reasoning, and the defaults."""

    max_tokens: int = 500
    thinking_budget: int = 1024
    default_temperature: float = 0.7
    default_top_p: float = 0.9
    default_max_tokens: int = 500


def settings_of(bounds: SettingBounds) -> dict[str, Setting]:
    """Every setting by name, in the order in which people see them."""
    settings = [
        Setting(
            name="temperature",
            label="Temperature",
            kind="number",
            default=_written(bounds.default_temperature),
            low=0.1,
            high=1.0,
            step=0.05,
            help="Low (0.1 to 0.4) takes the likeliest word and suits facts and code; high (0.8 to 1.0) is more "
            "creative and less coherent.",
        ),
        Setting(
            name="top_p",
            label="Top-p",
            kind="number",
            default=_written(bounds.default_top_p),
            low=0.1,
            high=1.0,
            step=0.05,
            help="Chooses from the smallest set of words whose probabilities add up to this; 0.5 to 0.7 is more "
            "focused, 0.95 to 1.0 opens the pool.",
        ),
        Setting(
            name="max_tokens",
            label="Max tokens",
            kind="integer",
            default=str(min(bounds.default_max_tokens, bounds.max_tokens)),
            low=10,
            high=bounds.max_tokens,
            step=10,
            help="How long an answer may get: 50 to 100 for brief answers, 200 and more for code and stories; tokens "
            "are not words.",
        ),
        Setting(
            name="preset",
            label="Preset",
            kind="choice",
            default="balanced",
            choices=tuple(PRESETS),
            help="Sets temperature and top-p together: precise for facts and code, creative for stories and ideas.",
        ),
        Setting(
            name="thinking",
            label="Thinking",
            kind="choice",
            default="show",
            choices=("show", "hide", "file"),
            help="What becomes of a model's reasoning: shown folded, hidden, or attached as a file.",
        ),
        Setting(
            name="top_k",
            label="Top-k",
            kind="integer",
            default="off",
            low=1,
            high=1000,
            advanced=True,
            help="Chooses among this many likeliest words only.",
        ),
        Setting(
            name="repetition_penalty",
            label="Repetition penalty",
            kind="number",
            default="off",
            low=1.0,
            high=2.0,
            step=0.05,
            advanced=True,
            help="Above 1 favours words that neither the prompt nor the answer has used; 1.1 to 1.3 is plenty.",
        ),
        Setting(
            name="presence_penalty",
            label="Presence penalty",
            kind="number",
            default="off",
            low=-2.0,
            high=2.0,
            step=0.1,
            advanced=True,
            help="Above 0 makes the answer bring up new things.",
        ),
        Setting(
            name="seed",
            label="Seed",
            kind="integer",
            default="off",
            low=0,
            high=2**32 - 2,
            advanced=True,
            help="The same seed gives the same answer to the same question, as far as possible.",
        ),
        Setting(
            name="stop",
            label="Stop words",
            kind="texts",
            default="off",
            advanced=True,
            help="The answer ends where one of these would come.",
        ),
    ]
    return {setting.name: setting for setting in settings}


BOUNDED = ("max_tokens", "temperature", "top_p")
"""Settings for which the admins of a place may set a lower highest value."""


def within(settings: Mapping[str, Setting], bounds: Mapping[str, str]) -> dict[str, Setting]:
    """The settings as they are in a place with these bounds; the tighter bound wins."""
    tight = dict(settings)
    for name in BOUNDED:
        if (bound := bounds.get(name)) is not None:
            setting = tight[name]
            high = min(setting.high, float(_clamped(setting, bound)))
            tight[name] = replace(setting, high=high, default=_written(min(float(setting.default), high)))
    return tight


class Profile:
    """One person's settings, resolved: what they chose, else the defaults, within today's bounds.

    `people` are all ids of the person; `owner` is who is served fairly: the same for all of them. `standing` is how
    well that owner is known.
    """

    def __init__(
        self,
        settings: Mapping[str, Setting],
        chosen: Mapping[str, str],
        bounds: SettingBounds,
        people: Sequence[str] = ("",),
        standing: Standing = "new",
    ) -> None:
        self.people = people
        self.standing = standing
        self.owner = people[0]
        self._settings = settings
        self._bounds = bounds
        self._values = {name: self._resolve(setting, chosen.get(name)) for name, setting in settings.items()}
        self._values["preset"] = self._preset()

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    @property
    def thinking(self) -> ThinkingMode:
        mode: dict[str, ThinkingMode] = {"show": "show", "hide": "hide", "file": "file"}
        return mode[self._values["thinking"]]

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=float(self["temperature"]),
            top_p=float(self["top_p"]),
            max_new_tokens=int(self["max_tokens"]),
            top_k=int(self._number("top_k", 0)),
            repetition_penalty=self._number("repetition_penalty", 1.0),
            presence_penalty=self._number("presence_penalty", 0.0),
            seed=None if self["seed"] == "off" else int(self["seed"]),
            stop=() if self["stop"] == "off" else tuple(self["stop"].split(", ")),
            thinking_budget=self._bounds.thinking_budget,
        )

    def changed(self) -> tuple[tuple[str, str], ...]:
        """What shapes an answer and differs from the defaults, as (label, value)."""
        skipped = {"preset", "thinking"}
        return tuple(
            (setting.label.lower(), self[name])
            for name, setting in self._settings.items()
            if name not in skipped and self[name] != setting.default
        )

    def _number(self, name: str, off: float) -> float:
        return off if self[name] == "off" else float(self[name])

    @staticmethod
    def _resolve(setting: Setting, chosen: str | None) -> str:
        """A stored value that today's bounds no longer allow falls back to the nearest allowed one."""
        if chosen is None:
            return setting.default
        try:
            return setting.parse(chosen)
        except UserError:
            if setting.kind in ("number", "integer"):
                return _clamped(setting, chosen)
            return setting.default

    def _preset(self) -> str:
        pair = float(self["temperature"]), float(self["top_p"])
        return next((name for name, values in PRESETS.items() if values == pair), CUSTOM)


def change(setting: Setting, text: str) -> dict[str, str | None]:
    """What to store for this new value; choosing the default again forgets the old choice.

    Raises:
        Refused: not a value of this setting.
    """
    value = setting.parse(text)
    if setting.name == "preset":
        temperature, top_p = PRESETS[value]
        return {"temperature": _written(temperature), "top_p": _written(top_p)}
    return {setting.name: None if value == setting.default else value}


def _clamped(setting: Setting, text: str) -> str:
    try:
        return _written(min(max(float(text), setting.low), setting.high))
    except ValueError:
        return setting.default


def _stops(setting: Setting, text: str) -> str:
    if text.lower() in _OFF or not text:
        return "off"
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or len(words) > _MAX_STOPS or any(len(word) > _MAX_STOP_CHARACTERS for word in words):
        raise UserError(f"{setting.label} are {setting.allowed}, each of at most {_MAX_STOP_CHARACTERS} characters.")
    return ", ".join(words)


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) >= 10 else f"{value:g}"


def _quoted(text: str) -> str:
    """Somebody's words inside our sentence: short, and nothing in them can become markup."""
    plain = " ".join("".join(c for c in text if c.isprintable() and c not in "`*_~|<>[]\\").split())
    return f"“{plain[:_QUOTED]}{'…' if len(plain) > _QUOTED else ''}”"

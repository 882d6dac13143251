"""The table of reasoning: families × situations × engines. A cell is missing only for a reason that stands here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inference.reasoning.formats import FORMATS, Format, named
from inference.reasoning.prefix import handed_on
from tests.integration.test_reasoning_engines import ask, told
from tests.reasoning_models import ANSWER, ENGINES, Model
from tests.unit.test_reasoning import FAMILIES, WRITTEN

THOUGHT = "Hm, hm ho"
NAMES = {
    "harmony without marks": "gpt-oss-20b",
    "magistral": "Magistral-Small-2509",
    "gemma": "gemma-4-31B-it",
    "command": "command-a-reasoning-08-2025",
    "kimi": "Kimi-VL-A3B-Thinking",
    "seed:think": "Seed-OSS-36B-Instruct",
    "granite": "granite-3.3-8b-instruct",
}


@dataclass(frozen=True)
class Situation:
    """What the model does, what is asked of it, and what people see.

    Args:
        writes: of the family, what its model writes in the place where the template ends.
        sees: reasoning and answer.
        opened: the template opens the reasoning.
        tells: the server shows how its prompts end.
    """

    writes: Callable[[Format], str]
    sees: Callable[[Format], tuple[str, str]] = lambda format: (THOUGHT, ANSWER)
    thought: Callable[[Format], str] = lambda format: THOUGHT
    asks: Callable[..., Any] = ask
    opened: bool = False
    tells: bool = True


def parts(format: Format) -> tuple[str, str, str]:
    before, middle, after = WRITTEN[format.name].split("{}")
    return before.removesuffix("Hm, "), middle, after


def whole(format: Format, thought: str = THOUGHT, answer: str = ANSWER) -> str:
    before, middle, after = parts(format)
    return f"{before}{thought}{middle}{answer}{after}"


def behind_the_opening(format: Format, thought: str = THOUGHT) -> str:
    return whole(format, thought).removeprefix(format.opening).lstrip("\n")


def unclosed(format: Format) -> str:
    return parts(format)[0] + THOUGHT


def nested(format: Format) -> str:
    before, middle, after = parts(format)
    if format.control or format.answers or not format.certain:
        # Where the mark is no bracket, it is there twice, one behind the other.
        return f"{before}{before}{THOUGHT}{middle}{ANSWER}{after}"
    return f"{before}{THOUGHT}\n{before}inner{middle}outer{middle}{ANSWER}{after}"


def sees_nested(format: Format) -> tuple[str, str]:
    written = nested(format)
    if written.count(format.closing) < 2:
        return THOUGHT, ANSWER
    return written[len(parts(format)[0]) : written.rindex(format.closing)], ANSWER


def code(format: Format) -> str:
    return f"Say `{format.closing}` here\n\n```xml\nx{format.closing}\n{format.opening}\n```\nand on"


LONG = "Hm, " + "hm " * 60

SITUATIONS = {
    "opened by the template": Situation(behind_the_opening, opened=True),
    "opened by the model": Situation(whole),
    "opened by nobody": Situation(behind_the_opening, tells=False),
    "unclosed": Situation(unclosed),
    "unclosed, opened by the template": Situation(lambda format: THOUGHT, opened=True),
    "nested": Situation(nested, sees_nested, thought=lambda format: THOUGHT),
    "in code": Situation(
        lambda format: whole(format, code(format), code(format)), lambda format: (code(format), code(format)), code
    ),
    "cut by the budget": Situation(
        lambda format: whole(format, LONG),
        thought=lambda format: LONG,
        asks=lambda **more: ask(thinking_budget=10, **more),
    ),
    "cut by the budget, opened by the template": Situation(
        lambda format: behind_the_opening(format, LONG),
        thought=lambda format: LONG,
        asks=lambda **more: ask(thinking_budget=10, **more),
        opened=True,
    ),
    "continued in its reasoning": Situation(
        whole, lambda format: ("ho", ANSWER), asks=lambda **more: ask(**more, prefix="<think>Hm, hm ")
    ),
    "continued in its reasoning, opened by the template": Situation(
        behind_the_opening,
        lambda format: ("ho", ANSWER),
        asks=lambda **more: ask(**more, prefix="<think>Hm, hm "),
        opened=True,
    ),
    "continued in its answer": Situation(
        whole, lambda format: ("", "answer"), asks=lambda **more: ask(**more, prefix=handed_on(THOUGHT, "the "))
    ),
    "continued in its answer, opened by the template": Situation(
        behind_the_opening,
        lambda format: ("", "answer"),
        asks=lambda **more: ask(**more, prefix=handed_on(THOUGHT, "the ")),
        opened=True,
    ),
}


def why_missing(engine: str, format: Format, situation: str) -> str:
    """Why a cell cannot be; empty: it can."""
    if SITUATIONS[situation].opened or situation == "opened by nobody":
        if not format.in_template:
            return "no template of this family opens the reasoning"
        if situation == "opened by nobody" and not format.certain:
            return "the end of this family is a sentence, which answers hold as well"
    if format.name == "harmony without marks":
        if engine != "server":
            return "an engine in this process leaves no marks out"
        if (
            "unclosed" in situation
            or "budget" in situation
            or "continued" in situation
            or situation in ("in code", "nested")
        ):
            return "what a server leaves out of its text cannot be written into its prompt, and stands in no code"
    return ""


CELLS = [
    (engine, format.name, situation)
    for engine in ENGINES
    for format in FORMATS
    for situation in SITUATIONS
    if not why_missing(engine, format, situation)
]


def test_no_family_is_left_out() -> None:
    assert set(WRITTEN) == set(FAMILIES), "each family is written as its models write it"
    for format in FORMATS:
        assert named(NAMES.get(format.name, "some-model")) is (format if format.names else None)
        for engine in ENGINES:
            cells = {situation for name, family, situation in CELLS if (name, family) == (engine, format.name)}
            missing = set(SITUATIONS) - cells
            assert format.name == "harmony without marks" or {"opened by the model", "unclosed"} <= cells
            assert all(why_missing(engine, format, situation) for situation in missing)
    assert len(CELLS) == 3 * len(FORMATS) * len(SITUATIONS) - MISSING


MISSING = 77


def knows_better(engine: str, format: Format) -> bool:
    """Whether the engine sees that the model does not reason: no template opens that, and it has no tokens for it."""
    return engine != "server" and not format.tokens


@pytest.mark.parametrize(("engine", "family", "situation"), CELLS)
async def test_cell(engine: str, family: str, situation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    format, case = FAMILIES[family], SITUATIONS[situation]
    model = Model(
        format,
        case.writes(format),
        case.thought(format),
        opened=case.opened,
        name=NAMES.get(family, "some-model"),
        tells=case.tells,
        answer=case.sees(format)[1] if situation == "in code" else ANSWER,
    )
    async with ENGINES[engine](model, tmp_path, monkeypatch) as started:
        thinking, answer, end = await told(started, case.asks(max_new_tokens=400))
    assert end.reason == "stop"
    if situation == "opened by nobody" and knows_better(engine, format):
        assert (thinking, answer) == ("", model.writes)
        return
    wanted, shown = case.sees(format)
    assert answer == shown
    if "budget" in situation:
        assert 0 < thinking.count("hm") < 30
        assert LONG.startswith(thinking.strip())
    else:
        assert thinking.strip() == wanted.strip()

"""Every sentence that the bot itself says. Each failure is one sentence with what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bots.commands import COMMANDS, EXAMPLES, Called
from bots.messages import Ended
from bots.preferences import PRESETS, Setting
from inference.api import BadImage, Busy, InferenceError, ModelInfo, OutOfMemory, TooLong, Unavailable


def seconds(value: float) -> str:
    """A duration for people: "8 s", "2 min"."""
    if value < 1:
        return "1 s"
    return f"{value:.0f} s" if value < 90 else f"{value / 60:.0f} min"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


# Around an answer


def waiting(position: int, eta_s: float | None) -> str:
    wait = "" if eta_s is None else f", about {seconds(eta_s)}"
    return f"{_ordinal(position)} in the queue{wait}"


def starting() -> str:
    return "Writing…"


def thinking(elapsed_s: float, over: bool) -> str:
    if over:
        return f"Thought for {seconds(elapsed_s)}" if elapsed_s else "Thoughts"
    return f"Thinking, {seconds(elapsed_s)}"


def footer(ended: Ended) -> str:
    """Model, tokens, seconds and settings that differ from the defaults, in small print."""
    parts = [ended.model]
    tokens = ended.usage.completion_tokens + ended.usage.thinking_tokens
    if tokens:
        parts.append(f"{tokens:,} token{'s' if tokens != 1 else ''}")
    parts.append(f"{ended.timings.total_s:.1f} s")
    parts += [f"{name} {value}" for name, value in ended.settings]
    if ended.reason == "cancelled":
        parts.append("stopped")
    if ended.reason == "length":
        parts.append("reached the limit of tokens")
    return " · ".join(parts)


def empty() -> str:
    return "The model ended without a word; Regenerate tries again."


def interrupted() -> str:
    return "The bot was restarted while it wrote this; Continue goes on from here."


# Failures


def failure(error: InferenceError) -> str:
    match error:
        case Busy():
            return f"Everyone is being served right now; please send it again in about {seconds(error.retry_in_s)}."
        case TooLong():
            return (
                f"That has {error.tokens:,} tokens and the model reads at most {error.limit:,}; please send less of it."
            )
        case BadImage():
            return f"I can't use this picture: {error.why}; please send another one."
        case OutOfMemory():
            return "That needs more memory than there is; please send less of it, or ask for a shorter answer."
        case Unavailable():
            return unavailable()
    return broken()


def unavailable() -> str:
    return "The model cannot answer at the moment; please try again in a minute, nothing of yours is lost."


def broken() -> str:
    return "Something went wrong on my side; please send it once more, and tell the operator if it happens again."


def empty_message() -> str:
    return "There was nothing in that message; write a question, or add a picture."


def long_message(length: int, limit: int) -> str:
    return f"That message has {length:,} characters and I read at most {limit:,}; please send it in parts."


def too_many_pictures(count: int, limit: int) -> str:
    return f"Those are {count} pictures and I look at most at {limit} at once; please send fewer."


def too_many_waiting(limit: int) -> str:
    return f"{limit} messages of yours are waiting already; please wait for an answer, or stop one."


def no_captioner() -> str:
    return "No captioner is set up here, so I can't see pictures; ask the operator to set PARTYLINE_CAPTIONER."


# Commands


def needs_argument(command: str) -> str:
    usage = next(c.usage for c in COMMANDS if c.name == command)
    return f"Tell me what: `{usage}`."


def needs_picture() -> str:
    return "Add a picture to /caption; text after the command begins the caption."


def unknown_command(called: Called) -> str:
    if called.suggestion:
        return f"There is no command /{called.name}; did you mean /{called.suggestion}?"
    return f"There is no command /{called.name}; /help lists them all."


def nothing_to_stop() -> str:
    return "Nothing is being written for you here right now."


def stopped(count: int) -> str:
    return "Stopped." if count == 1 else f"Stopped {count} answers."


def was_reset() -> str:
    return "A new conversation begins: I have put aside what was said before, and your settings stay."


def nothing_to_regenerate() -> str:
    return "There is no answer of yours to write anew here; ask something first."


def caption_again() -> str:
    return "I have not kept that picture; send it again for another caption."


def nothing_to_continue() -> str:
    return "There is no answer of yours to go on with here; ask something first."


def finished_already() -> str:
    return "That answer is complete; ask for more in a new message, or regenerate it."


def not_yours() -> str:
    return "That answer was written for somebody else; only they can do this with it."


def unknown_setting(name: str, known: Sequence[str], suggestion: str | None) -> str:
    if suggestion:
        return f"There is no setting {name}; did you mean {suggestion}?"
    return f"There is no setting of that name; there are {', '.join(known)}."


def setting_is(setting: Setting, value: str) -> str:
    return f"{setting.label} is {value} for you; it can be {setting.allowed}. {setting.help}"


def setting_changed(setting: Setting, value: str, hint: bool) -> str:
    more = " Temperature and top-p are both changed now; changing one of them is usually enough." if hint else ""
    return f"{setting.label} is {value} for you from now on.{more}"


def preset_changed(name: str) -> str:
    temperature, top_p = PRESETS[name]
    return f"You are on {name} from now on: temperature {temperature:g}, top-p {top_p:g}."


def settings_were_reset() -> str:
    return "All your settings are back at their defaults."


def settings_list(settings: Mapping[str, Setting], values: Mapping[str, str]) -> str:
    lines = ["**Your settings**", ""]
    for name, setting in settings.items():
        lines.append(f"- {setting.label}: **{values[name]}** ({setting.allowed}): `/settings {name} …`")
    return "\n".join([*lines, "", "`/settings reset` brings the defaults back."])


def help_text(info: ModelInfo) -> str:
    lines = [f"Write to me, and {info.name} answers; send a picture, and I describe it."]
    if info.captioner is None:
        lines = [f"Write to me, and {info.name} answers."]
    lines += ["", *(f"- `{command.usage}`: {command.summary}" for command in COMMANDS)]
    return "\n".join(lines)


def examples() -> str:
    lines: list[str] = []
    kind = ""
    for example in EXAMPLES:
        if example.kind != kind:
            kind = example.kind
            lines += ["", f"**{kind}**", ""]
        lines.append(f"- {example.text}" if example.kind != "Picture" else "- `/caption` with a picture of yours")
    return "\n".join(lines[1:])

"""Every sentence that the bot itself says. Each failure is one sentence with what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date

from bots.commands.registry import COMMANDS, EXAMPLES, Called
from bots.messages import Ended
from bots.names import one_line
from bots.profile.histograms import Stats
from bots.profile.personal import News, Quotas, Retention
from bots.profile.preferences import PRESETS, Setting
from inference.api import (
    BadImage,
    Busy,
    Filtered,
    InferenceError,
    Loading,
    ModelInfo,
    OutOfMemory,
    TooLong,
    Unavailable,
)

_LONGEST_NAME = 40


def seconds(value: float) -> str:
    """A duration for people: "8 s", "2 min"."""
    if value < 1:
        return "1 s"
    return f"{value:.0f} s" if value < 90 else f"{value / 60:.0f} min"


def _in_full(value: float) -> str:
    """A duration inside a sentence: "8 seconds", "2 minutes"."""
    number, unit = (max(1, round(value)), "second") if value < 90 else (round(value / 60), "minute")
    return f"{number} {unit}" + ("s" if number != 1 else "")


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


# Around an answer


def waiting(position: int, eta_s: float | None) -> str:
    if not position:
        return "The model is away for a moment; this goes on when it is back"
    wait = "" if eta_s is None else f", about {seconds(eta_s)}"
    return f"{_ordinal(position)} in the queue{wait}"


def was_thinking() -> str:
    return "That was my thinking. The answer comes now."


def loading(awaited: Loading) -> str:
    if awaited.what == "pictures":
        return "I'm getting ready to look at pictures. The first one takes a moment…"
    if awaited.state == "failed":
        return "I can't start right now. Your message is safe, and I'll answer it as soon as I can."
    share = "" if awaited.share is None else f" ({awaited.share:.0%})".replace("%", " %")
    return f"The model is loading{share}…"


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


def empty(ended: Ended) -> str:
    if ended.reason == "cancelled":
        return "Stopped before the first word."
    return "I didn't come up with anything. Press Regenerate to try again."


def interrupted() -> str:
    return "The bot was restarted while it wrote this; Continue goes on from here."


def cut_off() -> str:
    return "The bot was restarted while it wrote this, and this model cannot go on from here; Regenerate tries again."


def too_late() -> str:
    return "I was away for too long to answer this. Please send it again."


def reset_button() -> str:
    return "Reset"


def close_button() -> str:
    return "Close"


def not_your_panel() -> str:
    return "These are somebody else's settings. Send /settings for yours."


def button_is_old() -> str:
    return "That button no longer works. Send the command instead."


# Failures


def failure(error: InferenceError) -> str:
    match error:
        case Busy(gave_way=True):
            return (
                "Somebody who had nothing in the queue has taken this place. Please send it again in about "
                f"{seconds(error.retry_in_s)}, and it gets its turn as if it had waited."
            )
        case Busy():
            return f"I'm at capacity right now. Please try again in about {_in_full(error.retry_in_s)}."
        case TooLong():
            return (
                f"That has {error.tokens:,} tokens and the model reads at most {error.limit:,}; please send less of it."
            )
        case BadImage():
            return f"I can't use this picture: {error.why}; please send another one."
        case OutOfMemory():
            return "That's too much for me. Please send less of it, or ask for a shorter answer."
        case Filtered():
            return "A content filter stopped this answer. Press Regenerate, or ask in other words."
        case Unavailable():
            return unavailable()
    return broken()


def unavailable() -> str:
    return "I can't answer right now. Your conversation is safe, so please try again in a minute."


def broken() -> str:
    return "Sorry, something went wrong. Please try again. If it keeps happening, tell the person who runs this bot."


def unshown() -> str:
    return "This part cannot be shown here; the file below has the whole answer."


def superseded() -> str:
    return "This message is out of date; the answer is above."


def settings_closed() -> str:
    return "Settings closed."


def rest_in_file(over: bool) -> str:
    """Under the last message that a platform allows for one answer."""
    return (
        "I can't send more messages here. The attached file has the whole answer."
        if over
        else ("I can't send more messages here, but I'm still writing. The whole answer will come as a file.")
    )


def out_of_time(can_continue: bool) -> str:
    """Where a command's answer may be written for 15 minutes only."""
    way_on = "Press Continue and I'll pick up where I left off." if can_continue else "Please try again."
    return f"I can write here for only 15 minutes at a time. {way_on}"


def empty_message() -> str:
    return "There was nothing in that message. Write a question, or add a picture."


def long_message(length: int, limit: int) -> str:
    return f"That message has {length:,} characters and I read at most {limit:,}; please send it in parts."


def too_many_pictures(count: int, limit: int) -> str:
    return f"Those are {count} pictures and I look at most at {limit} at once; please send fewer."


def picture_lost(name: str) -> str:
    """`name` is the platform's."""
    return f"{name} did not hand that picture over; please send it once more, smaller if it is a large one."


def too_many_waiting(limit: int) -> str:
    waiting = "1 message" if limit == 1 else f"{limit} messages"
    return f"You already have {waiting} waiting. Please wait for an answer, or send /stop to cancel."


def for_members_only(person: str) -> str:
    return f"I only answer people whom my operator has let in; your id for them is {person}."


def too_fast(limit: int, retry_in_s: float) -> str:
    return f"You can send {limit} messages in a minute. Please wait {_in_full(retry_in_s)}."


def no_captioner() -> str:
    return "I can't look at pictures here. The person who runs this bot can turn that on."


# Buttons, files and places of chat platforms


def button(name: str) -> str:
    """What the button says."""
    return {"thinking": "Show thinking"}.get(name, name.capitalize())


def unreadable_file(name: str) -> str:
    return f"I can't read {_named(name)}; I look at pictures, and at text and code files."


def large_file(name: str, limit: int) -> str:
    return f"{_named(name)} is too large; I read files of that kind up to {limit // 1024:,} kB."


def lost_file(name: str) -> str:
    return f"I couldn't fetch {_named(name)}; please attach it once more."


def no_file(name: str) -> str:
    return f"There is no file {_named(name)}. Check its name and the folder that you are in."


def closed_file(name: str) -> str:
    return f"I can't open {_named(name)}; see whether you may read it, or name another file."


def _named(name: str) -> str:
    """A file's name, which somebody else chose, as code: nothing in it becomes markup."""
    plain = "".join(char for char in name if char.isprintable() and char != "`")
    return f"`{plain[:60] or 'that file'}`"


def no_thinking() -> str:
    return "There is no thinking kept for this answer."


def not_your_thinking() -> str:
    return "Only the person who asked can open that."


def for_admins() -> str:
    return "Only those who may manage this server can do that."


def not_here() -> str:
    return "I don't answer here; ask an admin of this server or the operator which channels I am in."


def goes_on_from_there() -> str:
    return "Your next message here goes on from that answer."


def no_answer_there() -> str:
    return "That message is none of my answers; choose one of mine to go on from."


def presence(writing: int) -> str:
    """A status line."""
    return f"Writing {writing} answer{'s' if writing != 1 else ''}" if writing else "Ready: /help"


def prompt_title() -> str:
    return "A long prompt"


def prompt_label() -> str:
    return "What should I do?"


def advanced_title() -> str:
    return "Advanced settings"


def nothing_changed() -> str:
    return "Nothing was changed."


def explain_request() -> str:
    return "Explain this code:"


def no_picture_there() -> str:
    return "There is no picture in that message."


def no_code_there() -> str:
    return "There are no words and no code in that message."


def answer_is_done() -> str:
    return "Your answer is complete."


def answers_everywhere() -> str:
    return "I answer in every channel of this server that I can see."


def answers_in(channels: Sequence[str]) -> str:
    return f"On this server I answer in {', '.join(channels)} alone."


def place_bound(setting: Setting, value: str | None) -> str:
    if value is None:
        return f"{setting.label} has no bound of this server's."
    return f"{setting.label} is at most {value} on this server."


# Commands


def needs_argument(command: str) -> str:
    usage = next(c.usage for c in COMMANDS if c.name == command)
    return f"Tell me what: `{usage}`."


def needs_picture() -> str:
    return "Add a picture to /caption. Words like “a photo of” begin the caption, and I answer anything else."


def unknown_command(called: Called) -> str:
    if called.suggestion:
        return f"There is no command /{called.name}. Did you mean /{called.suggestion}?"
    return f"There is no command /{called.name}. Send /help for the list."


def nothing_to_stop() -> str:
    return "Nothing is being written for you here right now."


def stopped(count: int) -> str:
    return "Stopped." if count == 1 else f"Stopped {count} answers."


def was_reset() -> str:
    return "New conversation started. Your settings haven't changed."


def nothing_to_regenerate() -> str:
    return "You have no answer here to write again. Ask something first."


def caption_again() -> str:
    return "I have not kept that picture; send it again for another caption."


def nothing_to_continue() -> str:
    return "You have no answer here to continue. Ask something first."


def finished_already() -> str:
    return "That answer is complete. Ask for more in a new message, or press Regenerate."


def underway_already() -> str:
    return "That answer is still being written; it can go on from its end when it has one."


def not_yours() -> str:
    return "That answer was written for somebody else; only they can do this with it."


def unknown_setting(name: str, known: Sequence[str], suggestion: str | None) -> str:
    if suggestion:
        return f"There is no setting {name}. Did you mean {suggestion}?"
    return f"There is no setting of that name. There are {', '.join(known)}."


def _shown(setting: Setting, value: str) -> str:
    """A value inside our sentence. Somebody's own words are code where they might be markup, a name or a command."""
    if setting.kind != "texts" or all(char.isalnum() or char in " ," for char in value):
        return value
    value = " ".join(value.split())
    ticks = "`" * (max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    return f"{ticks} {value} {ticks}" if "`" in value else f"`{value}`"


def setting_is(setting: Setting, value: str) -> str:
    return f"{setting.label} is {_shown(setting, value)} for you; it can be {setting.allowed}. {setting.help}"


def setting_changed(setting: Setting, value: str, hint: bool) -> str:
    more = " Temperature and top-p are both changed now; changing one of them is usually enough." if hint else ""
    return f"{setting.label} is now {_shown(setting, value)}.{more}"


def setting_at_its_end(setting: Setting, value: str) -> str:
    """A step up or down that a bound does not allow."""
    end = "most" if float(value) >= setting.high else "least"
    return f"{setting.label} is {value}. That's the {end} it can be."


def preset_changed(name: str) -> str:
    temperature, top_p = PRESETS[name]
    return f"You're now on {name}: temperature {temperature:g}, top-p {top_p:g}."


def settings_were_reset() -> str:
    return "All your settings are back at their defaults."


def settings_list(settings: Mapping[str, Setting], values: Mapping[str, str]) -> str:
    lines = ["**Your settings**", ""]
    for name, setting in settings.items():
        lines.append(
            f"- {setting.label}: **{_shown(setting, values[name])}** ({setting.allowed}): `/settings {name} …`"
        )
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


# Usage, and its pictures

TOKENS_A_DAY = "Tokens a day"
FIRST_TOKEN = "Time to first token"
QUEUE = "Wait in the queue"
BUSIEST_HOURS = "Answers by hour of the day (UTC)"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _long(value: float) -> str:
    """A duration of minutes to hours: "4 h 10 min"."""
    minutes = max(1, round(value / 60))
    hours, rest = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)


def _short(value: float) -> str:
    """A measured time with two digits: "0.34 s", "12 s"."""
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def short_date(day: str) -> str:
    """ "2026-11-05" as "5 Nov"."""
    when = date.fromisoformat(day)
    return f"{when.day} {when:%b}"


def tokens_used_up(quota: int, in_progress: bool, rest_s: float) -> str:
    what = "used up or kept for what is being answered" if in_progress else "used up"
    return f"Your {quota:,} tokens for today are {what}; you get new ones at midnight UTC, in {_long(rest_s)}."


def captions_used_up(quota: int, left: int, rest_s: float) -> str:
    rest = f"only {left}" if left > 0 else "none"
    return (
        f"Of your {_count(quota, 'caption')} for today {rest} {'are' if left > 1 else 'is'} left; you get new ones at "
        f"midnight UTC, in {_long(rest_s)}."
    )


def stats_usage(most: int) -> str:
    return f"Write /stats, and after it a number of days up to {most}, or dark for a dark picture: `/stats 30 dark`."


def for_owners() -> str:
    return "Only the operator of this bot may see what everybody used; /stats alone shows what you did."


def stats_title(days: int, everybody: bool) -> str:
    when = "today" if days == 1 else f"in the last {days} days"
    return f"What {'everybody' if everybody else 'you'} used {when}"


def stats_summary(title: str, stats: Stats, quotas: Quotas, now: float) -> str:
    total, today = stats.total, stats.used[-1]
    if not total.answers and not total.tokens:
        return f"**{title}**\n\nNothing yet; ask something first."
    lines = [f"**{title}**", ""]
    if len(stats.days) > 1:
        lines.append(f"- Today: {_used(today.answers, today.tokens, today.captions)}")
    lines.append(f"- In all: {_used(total.answers, total.tokens, total.captions)}, {seconds(total.seconds)} of work")
    half, nearly_all = stats.first_token_within(0.5), stats.first_token_within(0.95)
    if half is not None and nearly_all is not None:
        lines.append(f"- Time to first token: half within {_short(half)}, 95% within {_short(nearly_all)}")
    if stats.busiest_hour is not None:
        lines.append(f"- Busiest hour: {stats.busiest_hour:02}:00 to {(stats.busiest_hour + 1) % 24:02}:00 UTC")
    for quota, used, what in ((quotas.tokens, today.tokens, "token"), (quotas.captions, today.captions, "caption")):
        if quota:
            lines.append(
                f"- Left for today: {max(0, quota - used):,} of {_count(quota, what)}; all again at midnight UTC"
            )
    return "\n".join(lines)


def _used(answers: int, tokens: int, captions: int) -> str:
    parts = [_count(answers, "answer"), _count(tokens, "token")]
    return ", ".join([*parts, _count(captions, "caption")] if captions else parts)


# A person's data


def _days(days: int) -> str:
    return f"for {_count(days, 'day')}" if days else "until you erase it"


def privacy(retention: Retention) -> str:
    lines = [
        "**What I keep of you**",
        "",
        f"- What you wrote to me and what I answered, {_days(retention.days)}: it is the memory of our conversations. "
        "Of pictures I keep the caption, and on the page a thumbnail.",
        "- Your settings and which of your accounts are linked, until you erase them.",
        f"- How many tokens, captions and seconds you used on which day, {_days(retention.usage_days)}.",
        f"- Which messages I answered, by number and without their words, {_days(retention.event_days)}.",
        "",
        "The operator of this bot can read all that; the models run here or where the operator says. "
        "`/privacy export` gives you all of it as a file, `/privacy erase` erases it.",
    ]
    return "\n".join(lines)


def privacy_usage() -> str:
    return "Write /privacy, `/privacy export` or `/privacy erase`."


def exported() -> str:
    return "This is everything that I keep of you."


def export_where_alone() -> str:
    return "Others could see that file here; write `/privacy export` to me in a private chat."


def confirm_erasing(people: Sequence[str]) -> str:
    also = f", also those of {_accounts(people[1:])}" if len(people) > 1 else ""
    return (
        f"This erases our conversations, your settings and your usage for good{also}; messages that stand in other "
        "chats stay there. `/privacy export` gives you a copy first. Write `/privacy erase now` to erase."
    )


def erase_later() -> str:
    return "I'm still writing an answer for you. Send /stop or wait for it to finish, then try again."


def erased() -> str:
    return "Everything that I kept of you is erased; what you write next begins anew."


_SHARED = "settings, usage, quotas and the place in the queue"


def _accounts(people: Sequence[str]) -> str:
    return " and ".join(f"`{each}`" for each in people)


def link_code(code: str, lifetime_s: float, others: Sequence[str]) -> str:
    linked = f" This account is linked to {_accounts(others)}; `/link off` takes it out." if others else ""
    return (
        f"Your code is **{code}**. Send `/link {code}` to me from your other account within {_long(lifetime_s)}; then "
        f"both accounts are asked whether they share {_SHARED}. Give the code to nobody else.{linked}"
    )


def link_where_alone() -> str:
    return "Others could see your accounts here; write `/link` to me in a private chat."


def link_of_several() -> str:
    return "Several people write under this name, so it is linked to no account. Send `/link` to me under your own."


def _called(name: str) -> str:
    """The name that somebody chose, as nothing but a name."""
    plain = one_line(name, _LONGEST_NAME).replace("`", "'").strip()
    return f" It calls itself `{plain}` there, as anybody could." if plain else ""


def link_ask(giver: str, code: str, name: str = "") -> str:
    return (
        f"The account `{giver}` and this one would share {_SHARED}. Conversations stay apart. If both are yours, send "
        f"`/link {code} yes`; if somebody else gave you the code, don't.{_called(name)}"
    )


def link_half(giver: str, lifetime_s: float) -> str:
    return f"Half done. Now send `/link yes` to me from `{giver}` within {_long(lifetime_s)}, and both are linked."


def link_asked(other: str, name: str = "") -> str:
    return (
        f"The account `{other}` has your code and would share {_SHARED} with this one. Conversations stay apart. If it "
        f"is yours, send `/link yes`; if not, send `/link no`.{_called(name)}"
    )


def linked(others: Sequence[str]) -> str:
    return (
        f"This account now shares {_SHARED} with {_accounts(others)}. `/link off` undoes that. What I keep of each "
        "stays its own; `/link data on` on both sides lets one export and erase the other's."
    )


def link_declined() -> str:
    return "Nothing was linked, and that code is used up."


def nothing_to_link() -> str:
    return "No account is waiting to be linked to this one; /link gives you a code to begin with."


def data_shared(others: Sequence[str]) -> str:
    if others:
        return (
            f"`/privacy export` and `/privacy erase` now cover {_accounts(others)} too. `/link data off` undoes that."
        )
    return "Your other account must send `/link data on`, too. Until then each exports and erases its own data alone."


def data_kept() -> str:
    return "`/privacy export` and `/privacy erase` cover this account alone again."


def link_news(who: str, what: News) -> str:
    match what:
        case "linked":
            return f"`{who}` is now linked to this account: they share {_SHARED}. `/link off` undoes that."
        case "unlinked":
            return f"`{who}` is no longer linked to this account. Your settings haven't changed."
        case "shares":
            return f"`{who}` lets this account export and erase its data, if you send `/link data on` as well."
    return f"`{who}` keeps its data to itself again."


def wrong_code() -> str:
    return "That code didn't work. It may be mistyped, used, expired or your own. Send /link for a new one."


def too_many_guesses(wait_s: float) -> str:
    return f"Too many codes didn't work. Please try again in {_long(wait_s)}."


def not_linked() -> str:
    return "This account is linked to no other; /link begins that."


def unlinked() -> str:
    return "This account is on its own again, with a copy of the settings."

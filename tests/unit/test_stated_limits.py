"""The numbers by which the docs state limits are those of the code and of the default settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.discord.inbound import message_events
from adapters.discord.outbound.channel import CALLS_PER_MINUTE
from adapters.telegram.inbound import intake
from adapters.web import server
from adapters.web.channel import history, protocol, subscribers
from adapters.web.files import uploads
from adapters.web.posts import private_files
from adapters.web.security import connection_limits, door, token_buckets
from adapters.web.sessions import inbound, sessions
from bots.access import chat_share
from bots.access.chat_share import shared
from bots.conversation import person_queue
from bots.people import account_links
from config.settings import Settings

ROOT = Path(__file__).parents[2]
S = Settings()
MIB = 2**20
GROUP, PRIVATE = (60 / each for each in (S.telegram.group_interval_s, S.telegram.private_interval_s))
N = r"([\d,.]+)"
"""A number in a sentence; the others are those of the expectation, in their order."""

SECURITY: dict[str, tuple[float, ...]] = {
    rf"settings \| {N} a minute over all chats \| `access.requests_per_minute`": (S.access.requests_per_minute,),
    rf"three quarters .*: {N} in a Telegram group, {N} in a Discord channel \({N} in a private chat on Telegram\)": (
        *(shared(GROUP), shared(CALLS_PER_MINUTE), int(PRIVATE)),
    ),
    rf"an equal share of that, at least {N},": (chat_share._LEAST,),
    rf"messages that wait or are answered, in one chat \| {N} ": (person_queue.MAX_LINE,),
    rf"places in the queue of the model \| {N} of {N} ": (
        *(S.inference.max_waiting_per_person, S.inference.max_waiting),
    ),
    rf"answers at the same time \| {N} of {N} ": (S.inference.max_active_per_person, S.inference.slots),
    rf"time of one request \| {N} minutes": (S.inference.deadline_s / 60,),
    rf"tokens of one answer \| {N}, and {N} of reasoning": (S.limits.max_tokens, S.limits.thinking_budget),
    rf"words of one message \| {N} characters, {N} KiB on the page": (
        *(person_queue.MAX_CHARACTERS, protocol.MAX_MESSAGE_BYTES / 1024),
    ),
    rf"pictures of one message \| {N} of {N} MiB each": (
        *(person_queue.MAX_PICTURES, uploads.MAX_PICTURE_BYTES / MIB),
    ),
    rf"messages of the page that wait for the storage \| {N} ": (inbound.MAX_WAITING,),
    rf"frames of the page's sockets, .* \| {N} in {N} s, ": (sessions._FRAMES, sessions._FRAMES_S),
    rf"Of the {N} updates of Telegram that are in work": (intake._AT_ONCE,),
    rf"beyond that and beyond {N} waiting ones": (intake._WAITING,),
    rf"A code has ten characters of {N}": (len(account_links._ALPHABET),),
    rf"locks are remembered \({N}\)": (account_links._REMEMBERED_GUESSERS,),
    rf"`web.new_guests` \({N}\) of\s+them in ten minutes": (S.web.new_guests,),
}
RIGHTS: dict[str, tuple[float, ...]] = {
    rf"is read for {N} messages of one person in a minute": (message_events._READS,),
    rf": {N} in a Telegram group,\s+{N} in a Discord channel; all {N} in a private chat": (
        *(shared(GROUP), shared(CALLS_PER_MINUTE), int(PRIVATE)),
    ),
}
PAGE: dict[str, tuple[float, ...]] = {
    rf"`retention.name_days` \({N}\)": (S.retention.name_days,),
    rf"text of messages \| {N} MiB at once, and again over {N} minutes \| {N} MiB": (
        *(token_buckets.POST_BYTES / MIB, token_buckets.POST_S / 60, token_buckets.ADDRESS_POST_BYTES / MIB),
    ),
    rf"one message \| {N} kB": (protocol.MAX_MESSAGE_BYTES / 1024,),
    rf"messages that wait to be stored \| {N} \| \| {N} MiB; {N} people": (
        *(inbound.MAX_WAITING, inbound._MAX_BYTES / MIB, inbound._MOST_PEOPLE),
    ),
    rf"messages that are handled at the same time \| 1 \| \| {N}, in turns": (inbound._AT_ONCE,),
    rf"what a page sends \| {N} messages at once, .* over {N} seconds": (sessions._FRAMES, sessions._FRAMES_S),
    rf"who is here \| {N} at once, and again over a minute; .* \| \| two are drawn": (token_buckets.READS,),
    rf"presses of Stop that are looked into \| {N} ": (sessions._STOPS_AT_ONCE,),
    rf"changes of the name \| {N} at once, and again over {N} minutes": (
        *(token_buckets.NAMES, token_buckets.NAMES_S / 60),
    ),
    rf"wait for their message, {N} minutes at most \| {N} MiB, {N} pictures \| {N} MiB \| {N} MiB": (
        *(uploads.LIFETIME_S / 60, uploads.PERSON_BYTES / MIB, 2 * uploads.MAX_PICTURES),
        *(uploads.ADDRESS_BYTES / MIB, uploads.MAX_WAITING_BYTES / MIB),
    ),
    rf"files for one person .*, {N} minutes at most \| {N} files, {N} MiB \| \| {N} MiB": (
        *(private_files.LIFETIME_S / 60, private_files.MAX_FILES),
        *(private_files.MAX_BYTES / MIB, private_files.TOTAL_BYTES / MIB),
    ),
    rf"`web.new_guests` \({N}\) at once, and again over {N} minutes": (S.web.new_guests, door._NEW_S / 60),
    rf"wrong tries at the password \| \| {N} in {N} minutes; {N}, and one more each minute": (
        *(door._TRIES, door._TRIES_S / 60, door._GUESSES),
    ),
    rf"open sockets, one for each tab \| {N}; .* \| {N}, loopback": (
        *(connection_limits.PERSON, connection_limits.ADDRESS),
    ),
    rf"uploads that arrive at the same time \| {N} \| {N}, loopback": (
        *(connection_limits.PERSON, server._FORMS_OF_ADDRESS),
    ),
    rf"makes room for a new one \| \| {N}, loopback and `web.proxies` any number \| {N} ": (
        *(server._CONNECTIONS.per_address, server._CONNECTIONS.total),
    ),
    rf"{N} kB of a file to be taken \| {N} s": (server._CHUNK_BYTES / 1024, server._TAKE_S),
    rf"waiting news of a slow socket \| {N} million": (subscribers._MAX_BACKLOG_CHARACTERS / 1e6,),
    rf"newest posts, at most {N} and {N} KiB": (history.PAGE_POSTS, history.PAGE_BYTES / 1024),
    rf"A post of more than {N} KiB comes as its head": (history.HELD_BYTES / 1024,),
    rf"With more than {N} people here, whoever asked .*\s.* {N} ms later for each person": (
        *(subscribers._CROWD, subscribers._PACE_S * 1000),
    ),
    rf"begin at least {N} ms apart for each person": (subscribers._ASKS_S * 1000,),
    rf"When {N}\s+others wait, whoever comes next": (inbound._MOST_PEOPLE,),
}
STATED = [
    pytest.param(page, pattern, expected, id=f"{page}: {pattern[:50]}")
    for page, limits in (("SECURITY.md", SECURITY), ("docs/rights.md", RIGHTS), ("docs/page.md", PAGE))
    for pattern, expected in limits.items()
]


@pytest.mark.parametrize(("page", "pattern", "expected"), STATED)
def test_a_stated_limit_is_the_one_that_holds(page: str, pattern: str, expected: tuple[float, ...]) -> None:
    text = (ROOT / page).read_text()
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{len(found)} sentences of {page} are like this"
    numbers = [found[0]] if isinstance(found[0], str) else found[0]
    stated = [float(number.rstrip(".,").replace(",", "")) for number in numbers]
    assert stated == [pytest.approx(each) for each in expected]


def test_every_line_of_the_pages_table_is_held_by_one_of_these() -> None:
    """A new limit has a line here, or a reason for having none."""
    lines = (ROOT / "docs/page.md").read_text().partition("## What one guest can cost")[2].split("\n\n")[1]
    by_settings_or_elsewhere = ("| calls (", "| answers under way", "| bytes of one socket")
    for line in lines.splitlines()[2:]:
        assert line.startswith(by_settings_or_elsewhere) or any(re.search(each, line + "\n") for each in PAGE), line

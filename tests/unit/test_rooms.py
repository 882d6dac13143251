"""Habits of the tree: one sentence for each folder, few modules in each, one meaning for each name, true paths."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("adapters", "bots", "inference", "config")
FOLDERS = {
    init.parent.relative_to(ROOT).as_posix(): init
    for package in PACKAGES
    for init in sorted((ROOT / package).rglob("__init__.py"))
}
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MOST_MODULES = 12
SEVERAL_MEANINGS = {"Example"}
"""A protocol and the class that implements it, in two layers."""

OLD_NAMES = """
adapters.storage.write_behind: Behind Work
adapters.storage.database.batch_executor: Line
adapters.storage.leases: living
adapters.storage.errors: StorageError Away Refused
adapters.delivery.composing.frame_builder: Assembler
adapters.delivery.markdown.block_parser: Blocks Cut
adapters.delivery.markdown.tree: Text Rule
adapters.delivery.message_state: Shown Job Reply
adapters.delivery.pacing.account_limiter: Turn
adapters.delivery.ports: Outboxes
adapters.telegram.updates.parsing: Asked Pressed
adapters.telegram.updates.chat_migration: Move Moves
adapters.telegram.handlers.keyed_lock: Turns
adapters.telegram.handlers.message_handler: Answering
adapters.telegram.handlers.dispatcher: Events
adapters.telegram.handlers.callback_handler: Presses
adapters.telegram.handlers.edits: Questions
adapters.telegram.inbound.aggregation: Gathering
adapters.telegram.outbound.reply_sender: Post
adapters.telegram.client.redaction: hidden
adapters.discord.client.rest: Calls Refused
adapters.discord.inbound.interaction_intake: Desk
adapters.discord.inbound.event_handler: Answers
adapters.discord.inbound.catch_up: Missed
adapters.discord.inbound.guild_state: Places Seen
adapters.discord.inbound.message_events: Listener
adapters.discord.inbound.aggregation: Gathering
adapters.discord.inbound.events: Event
adapters.discord.inbound.interaction_tokens: Tokens
adapters.discord.outbound.interaction_channel: Token
adapters.web.sessions.sessions: Visits
adapters.web.sessions.event_handler: Answers
adapters.web.sessions.events: Event
adapters.web.sessions.guest_data: PageData
adapters.web.sessions.inbound: Full Work
adapters.web.channel.channel_log: Board
adapters.web.channel.subscribers: Audience Listener
adapters.web.posts.private_files: Handouts
adapters.web.posts.posts: Attachment Kind
adapters.web.security.token_buckets: Buckets
adapters.web.security.connection_limits: Seats
adapters.web.repeated_faults: Faults
adapters.web.background_tasks: Tasks
adapters.web.files.uploads: Refused Lost
bots.conversation.person_queue: Lines Place Seen
bots.conversation.reply_claim: Entry
bots.conversation.ledger: Asked
bots.conversation.context_window: Count
bots.people.usage: Asked Meter
bots.people.stats: Asked
bots.profile.preferences: Refused Bounds Kind
bots.profile.personal: Mark Kind
bots.profile.histograms: together
bots.access.chat_share: Presence
bots.access.rights: Outcome
bots.messages: Said Thought Captioned Waiting
bots.ports: Reply State
inference.queueing.admission: Lane Bounds
inference.queueing.fair_queue: Full
inference.queueing.eviction: Path
inference.queueing.fair_shares: Shares
inference.serving.generation: Answer Meter
inference.serving.resumption: Count
inference.serving.lifecycle: State
inference.processes.gc_freeze: made_to_last
inference.tasks.micro_batcher: Batches
inference.http.server.routes: Handler
inference.reasoning.prefix: Said
inference.reasoning.splitter: Kind
inference.engines.port: Rejected
inference.engines.placeholders: Marks
inference.engines.stop_strings: Stops Cut
inference.engines.partial_answer: SoFar
inference.engines.scripted: Line
inference.engines.llamacpp.thread_bridge: Handover
inference.engines.llamacpp.presence_penalty: Presence
inference.engines.openai.server: Away Lost
inference.engines.openai.refused_fields: Refusal
inference.engines.transformers.prompts: Prompt
inference.engines.transformers.attention: Prompt
inference.demo_captioner.scenes: Thing
inference.demo_captioner.train: Captioner Text
inference.demo_captioner.evaluate: Captioner
"""
"""Names that were replaced by the field's terms, by the module that had them."""

GONE = """
Answering Asked Assembler Audience Behind Board Buckets Captioned Desk Gathering Handouts Handover Lane Lines Missed
Moves Presses Said Seats SoFar Thought Visits Waiting made_to_last
"""
"""Those of them that no module may define again."""


def _defined(path: Path) -> dict[str, str]:
    """Return the classes, functions and aliases at the top level of a module, with their kind."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = type(node).__name__
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = "Assign"
    return found


def _sentence(init: Path) -> str:
    text = ast.get_docstring(ast.parse(init.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


@pytest.mark.parametrize("line", OLD_NAMES.split("\n")[1:-1], ids=lambda line: line.split(":")[0])
def test_old_names_are_gone_from_their_modules(line: str) -> None:
    module, names = line.split(": ")
    assert module in MODULES, f"{module} has moved: move its line of OLD_NAMES, too"
    assert not set(names.split()) & set(_defined(MODULES[module]))


def test_old_names_are_defined_nowhere() -> None:
    assert {name: module for module, path in MODULES.items() for name in _defined(path) if name in GONE.split()} == {}


def test_one_class_for_each_name() -> None:
    where = defaultdict(list)
    for module, path in MODULES.items():
        for name, kind in _defined(path).items():
            if kind == "ClassDef" and not name.startswith("_"):
                where[name].append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1}.keys() <= SEVERAL_MEANINGS


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_says_what_it_is(folder: str) -> None:
    assert re.fullmatch(r"[A-Z`a-z].{20,}\.", _sentence(FOLDERS[folder]))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_holds_more_than_a_dozen_modules(folder: str) -> None:
    # One file for each version of the tables: that folder grows with the years.
    if folder != "adapters/storage/migrations/versions":
        assert len(list((ROOT / folder).glob("[!_]*.py"))) <= MOST_MODULES


def test_all_code_lies_in_packages() -> None:
    assert {path.parent.relative_to(ROOT).as_posix() for path in MODULES.values()} == set(FOLDERS)


def test_the_architecture_page_lists_every_folder_with_its_sentence() -> None:
    rows = dict(re.findall(r"^\| `([a-z_/]+)/` \| (.+) \|$", ARCHITECTURE, re.MULTILINE))
    assert rows == {folder: _sentence(init) for folder, init in FOLDERS.items()}


def test_every_stop_on_the_path_of_a_message_exists() -> None:
    stops = re.findall(r"`([a-z_/]+\.py)` `([A-Za-z_]+)(?:\.(\w+))?`", ARCHITECTURE)
    assert len(stops) >= 20
    assert [stop for stop in stops if not _has(*stop)] == []


def _has(path: str, name: str, method: str) -> bool:
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return not method or any(getattr(each, "name", None) == method for each in node.body)
    return False


PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
_PATH = re.compile(r"`((?:adapters|bots|inference|config|tests|docs|benchmarks)/[\w./*-]*)`")
_OPEN = re.compile("NAME|NNNN")
"""What a recipe leaves open in a path."""
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
# What these two tell of is the past: a path may have been moved since.
_OF_THE_PAST = ("CHANGELOG.md", "docs/decisions/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_in_a_page_exists(page: Path) -> None:
    text = page.read_text()
    missing = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    if not page.relative_to(ROOT).as_posix().startswith(_OF_THE_PAST):
        paths = [path for path in _PATH.findall(text) if not _OPEN.search(path)]
        missing += [path for path in paths if not list(ROOT.glob(path.rstrip("/")))]
    assert missing == []

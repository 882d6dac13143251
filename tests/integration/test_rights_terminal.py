"""The table of rights in the terminal: whoever is there has the program, and a rate and a quota all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.app import App, phrases
from adapters.delivery.outbox import Outboxes
from adapters.terminal import chat, keyboard
from adapters.terminal.channel import TerminalChannel
from bots.access.rights import Actor, Platform, Rule, Thing, Verb
from bots.messages import Person
from tests.rights import Attempt, Case, Results, World, a_bot, name_of, on, tried_out

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

_TEXTS = {
    (Thing.CONVERSATION, Verb.ASK): "hello",
    (Thing.CONVERSATION, Verb.RESET): "/reset",
    (Thing.ANSWER, Verb.REGENERATE): "/regenerate",
    (Thing.ANSWER, Verb.CONTINUE): "/continue",
    (Thing.SETTINGS, Verb.SEE): "/settings",
    (Thing.SETTINGS, Verb.CHANGE): "/temperature 0.3",
    (Thing.DATA, Verb.SEE): "/privacy",
    (Thing.DATA, Verb.EXPORT): "/privacy export",
    (Thing.DATA, Verb.ERASE): "/privacy erase now",
    (Thing.LINK, Verb.CHANGE): "/link",
    (Thing.USAGE, Verb.SEE): "/stats",
    (Thing.EVERYBODY, Verb.SEE): "/stats all",
    (Thing.WORDS, Verb.SEE): "/help",
}


class Keyboard:
    """Somebody at a terminal of their own."""

    def __init__(self, conversation: chat._Conversation, printed: list[str]) -> None:
        self.conversation, self.printed = conversation, printed


class InTheTerminal(World):
    outboxes: Outboxes
    app: App
    folder: Path
    group: asyncio.TaskGroup
    tasks: list[asyncio.Task[None]]
    says_that_it_is_stopped = False

    async def person(self, actor: Actor) -> Keyboard:
        printed: list[str] = []
        conversation = chat._Conversation(self.app, self.outboxes, keyboard.Keyboard(asyncio.get_running_loop()))
        conversation._channel = TerminalChannel(printed.append, colour=False, width=80, folder=self.folder)
        name = f"p{next(self.numbers)}"
        conversation._person = Person(f"terminal:{name}", name)
        self._begin(conversation._stop_when_interrupted())
        return Keyboard(conversation, printed)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.group.create_task(work))

    def id_of(self, person: Keyboard) -> str:
        return person.conversation._person.id

    async def prepared(self, rule: Rule, owner: Keyboard) -> None:
        match rule.thing, rule.verb:
            case Thing.ANSWER, Verb.STOP:
                self._begin(owner.conversation._answer("slow"))
                while not any("word" in each for each in owner.printed):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            case Thing.ANSWER, _:
                await owner.conversation._answer("count")
            case _, Verb.RESET:
                await owner.conversation._answer("hello")
            case _, Verb.ERASE:
                await self.storage.set_preferences(self.id_of(owner), {"temperature": "0.4"})

    async def act(self, rule: Rule, person: Keyboard, thing: Any) -> Attempt:
        since = len(person.printed)
        if rule.verb is Verb.STOP:
            person.conversation._interrupt()  # Ctrl-C
        else:
            self._begin(person.conversation._answer(_TEXTS[rule.thing, rule.verb]))
        return Attempt(lambda: ["".join(person.printed[since:]).strip()])


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with (
        a_bot(folder) as (bot, storage, allowed, owners, inference),
        Outboxes(phrases=phrases()) as outboxes,
        asyncio.TaskGroup() as tasks,
    ):
        made = InTheTerminal(bot, storage, allowed, owners)
        made.outboxes, made.app, made.folder, made.tasks = outboxes, App(bot, inference, storage), folder, []
        made.group = tasks
        yield made
        for task in made.tasks:
            task.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return await tried_out(world(tmp_path_factory.mktemp("terminal")), Platform.TERMINAL)


@pytest.mark.parametrize("case", on(Platform.TERMINAL), ids=name_of)
async def test_the_table_holds(results: Results, case: Case) -> None:
    results.check(case)

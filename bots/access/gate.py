"""The gate: whatever somebody causes passes access, rate, quota and rights here, before anything is done or shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from bots import wording
from bots.access.allow_list import Access
from bots.access.chat_share import ChatShare, shared
from bots.access.rates import Rates
from bots.access.rights import RULES, Relation, Rule, Thing, Verb
from bots.commands.registry import Called, read
from bots.messages import ChatBudget, Holds, Incoming, Permit, Refusal
from bots.people.stats import EVERYBODY
from bots.profile.preferences import UserError

_FOR_STRANGERS = 6
"""One in so many of the calls to a chat tells strangers that they are refused."""


class Unheard(Exception):
    """Do not reply: the operator ignores strangers, or this person was told within the last minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Something that one person does to one thing in one chat.

    Args:
        actor: who does it, whatever account the thing belongs to.
        message_id: the bot's message that shows the thing; its owner is looked up. "": the actor's own thing.
        owner: whose the thing is, where the platform knows; "" otherwise.
        holds: asks the platform whether the actor acts for that owner, too (the chat, for an admin who writes in its
            name). It is asked only about the owner of the thing, behind access and rate.
        moderates, administers: the platform lets the actor remove other people's messages there, or manage the server.
        budget: what the chat can be sent; None where that is no limit.
        posted: other people see it as a message of the actor's, so beyond the rate even a Stop is refused.
        files: it comes with files, so what it takes of the quota is not known yet.
        new: it happens now. What an earlier process let in is not counted again.
    """

    actor: str
    thing: Thing
    verb: Verb
    chat: str
    places: tuple[str, ...] = ()
    direct: bool = False
    message_id: str = ""
    owner: str = ""
    holds: Holds | None = None
    moderates: bool = False
    administers: bool = False
    budget: ChatBudget | None = None
    posted: bool = False
    files: bool = False
    new: bool = True

    @property
    def rule(self) -> Rule:
        """The line of the table that it falls under."""
        return RULES[self.thing, self.verb]


def call_of(incoming: Incoming, *, files: bool = False, posted: bool = False) -> Call:
    """What a message, command or pressed button does."""
    thing, verb = _meant(read(incoming.text))
    return Call(
        actor=incoming.author.id,
        thing=thing,
        verb=verb,
        chat=incoming.chat,
        places=incoming.places,
        direct=incoming.direct,
        message_id=(incoming.reply_to or "") if thing is Thing.ANSWER else "",
        holds=incoming.holds,
        moderates=incoming.moderates,
        budget=incoming.budget,
        posted=posted,
        files=files or bool(incoming.pictures),
        new=incoming.new,
    )


_COMMANDS = {
    "reset": (Thing.CONVERSATION, Verb.RESET),
    "stop": (Thing.ANSWER, Verb.STOP),
    "regenerate": (Thing.ANSWER, Verb.REGENERATE),
    "continue": (Thing.ANSWER, Verb.CONTINUE),
    "link": (Thing.LINK, Verb.CHANGE),
}
_ASKING = ("ask", "code", "caption")


def _meant(called: Called | None) -> tuple[Thing, Verb]:
    if called is None or called.name in _ASKING:
        return Thing.CONVERSATION, Verb.ASK
    words = called.argument.lower().split()
    match called.name:
        case "settings":
            return Thing.SETTINGS, Verb.CHANGE if words else Verb.SEE
        case "privacy":
            return Thing.DATA, {"export": Verb.EXPORT, "erase": Verb.ERASE}.get(words[0] if words else "", Verb.SEE)
        case "stats":
            return (Thing.USAGE if EVERYBODY.isdisjoint(words) else Thing.EVERYBODY), Verb.SEE
    if called.name in _COMMANDS:
        return _COMMANDS[called.name]
    # The other commands change one setting each, or show words; what is no command of ours gets a sentence.
    return (Thing.SETTINGS, Verb.CHANGE) if words else (Thing.WORDS, Verb.SEE)


class Gate:
    """Decides calls.

    Args:
        now: seconds since the epoch.
        owner_of: whose answer a message (chat, id) shows; None where it shows none.
        spent: the sentence for a person whose quota of tokens is used up, "" for everybody else.
    """

    def __init__(
        self,
        access: Access,
        now: Callable[[], float],
        owner_of: Callable[[str, str], Awaitable[str | None]],
        spent: Callable[[str], Awaitable[str]],
    ) -> None:
        self._access = access
        self._now = now
        self._owner_of = owner_of
        self._spent = spent
        self._rates = Rates()
        self._presence = ChatShare()
        self._told = Rates()
        """Who was told that they are refused, and where."""

    def is_stranger(self, call: Call) -> bool:
        """Whether this person is not let in there. Nothing is counted."""
        return self._access.is_stranger(call.actor, (call.chat, *call.places), direct=call.direct)

    async def enter(self, call: Call) -> Permit:
        """Let the call in.

        Raises:
            Refused: it is refused; the sentence is for the actor alone.
            Unheard: the same, and not a word.
        """
        decision = await self.decide(call)
        if isinstance(decision, Permit):
            return decision
        if decision.silent:
            raise Unheard(decision.sentence)
        raise UserError(decision.sentence)

    async def decide(self, call: Call) -> Permit | Refusal:
        """Return whether the call is let in, and count it. Every call is decided once.

        Raises:
            StorageError: whose the thing is, or what is left of the quota, cannot be read.
        """
        rule = call.rule
        if self.is_stranger(call):
            if self._access.strangers == "ignore":
                return Refusal(wording.not_here(), silent=True)
            return Refusal(wording.for_members_only(call.actor), silent=not self._may_tell(call, stranger=True))
        late = self._count(call) if call.new else None
        if late is not None and (rule.rated or call.posted):
            return late
        owner = await self._owner(call)
        holds = call.holds is not None and owner not in ("", call.actor) and await call.holds(owner)
        person = owner if holds else call.actor
        relations = self._relations(call, is_owner=owner in ("", person))
        if not rule.allows(relations):
            return Refusal(_refusal(rule), silent=late is not None)
        if call.new and rule.generates and not call.files and (sentence := await self._spent(person)):
            return Refusal(sentence)
        others = Relation.OWNER not in relations
        return Permit(person, quiet=late is not None, moderates=others and rule.allows(relations))

    async def _owner(self, call: Call) -> str:
        """Whose the thing is; "" where it is the actor's or nobody's."""
        if call.owner or not call.message_id:
            return call.owner
        return await self._owner_of(call.chat, call.message_id) or ""

    def _relations(self, call: Call, *, is_owner: bool) -> list[Relation]:
        found = [Relation.OWNER if is_owner else Relation.OTHER]
        if call.moderates:
            found.append(Relation.MODERATOR)
        if call.administers:
            found.append(Relation.ADMIN)
        # By the account alone: whoever was talked into a link must not have given the operator's rights away.
        if call.actor in self._access.owners:
            found.append(Relation.OPERATOR)
        return found

    def _count(self, call: Call) -> Refusal | None:
        """Count the call, and say if it is one too many: of the person, or of what its chat can be sent."""
        person, now, rule = call.actor, self._now(), call.rule
        most = self._access.requests_per_minute
        if not most or person in self._access.owners:
            return None
        # To stop an answer must not take from what may be asked, nor the other way round.
        windows: list[tuple[Hashable, int, int]] = [((person, rule.rated), most, 1)]
        if call.budget is not None:
            chat = person, call.budget.name, rule.rated
            windows.append((chat, self._share(call, call.budget, now), rule.calls))
        waits = [(self._rates.wait_s(key, limit, now, size), limit // size) for key, limit, size in windows]
        wait_s, limit = max(waits)
        if wait_s <= 0:
            for key, _, size in windows:
                self._rates.add(key, now, size)
            if call.budget is not None and rule.rated:
                self._presence.saw(call.budget.name, person, now)
                self._rates.add(call.budget.name, now, rule.calls)
            return None
        if not rule.rated and not call.posted:
            return Refusal(wording.too_fast(max(1, limit), wait_s), silent=True)  # it is done, without a word
        silent = not self._may_tell(call)
        if not silent:  # to be told costs the chat a call, too
            for key, _, _ in windows[1:]:
                self._rates.add(key, now)
        return Refusal(wording.too_fast(max(1, limit), wait_s), silent=silent)

    def _share(self, call: Call, budget: ChatBudget, now: float) -> int:
        """How many calls to the chat the actor may cause in a minute, by asking or by stopping answers."""
        if not call.rule.rated:
            return max(1, int(budget.calls_per_minute) - shared(budget.calls_per_minute))
        if call.direct:
            return int(budget.calls_per_minute)
        calls = shared(budget.calls_per_minute)
        if not self._rates.wait_s(budget.name, calls, now, call.rule.calls):
            return calls  # there is enough for everybody
        if call.rule.generates and not budget.waits_for(call.actor):
            return calls  # whoever asks and has nothing waiting is let in, however much others have
        return self._presence.share(budget.name, call.actor, budget.calls_per_minute, now)

    def _may_tell(self, call: Call, *, stranger: bool = False) -> bool:
        """Whether a refusal is said: to each person once a minute, and once to all together where the chat is full.

        It costs the chat a call, which is counted here; a sentence for each refusal would mute a chat like a flood.

        Args:
            stranger: it is said to somebody who is not let in. All of them share a part of the calls: as many accounts
                as one likes can be made, and whoever is let in needs the rest.
        """
        now, chat = self._now(), call.budget.name if call.budget else call.chat
        told: dict[Hashable, int] = {(call.actor, chat): 1}
        if self._is_full(call, now):
            told[chat] = 1
        if stranger and call.budget is not None and not call.direct:
            told["strangers", chat] = max(1, int(call.budget.calls_per_minute / _FOR_STRANGERS))
        if any(self._told.wait_s(key, most, now) for key, most in told.items()):
            return False
        for key in told:
            self._told.add(key, now)
        if call.budget is not None:
            self._rates.add(call.budget.name, now)
        return True

    def _is_full(self, call: Call, now: float) -> bool:
        """Whether the chat, where many write, has no call left for a sentence to one of them."""
        budget = call.budget
        if budget is None or call.direct:
            return False
        return self._rates.wait_s(budget.name, int(budget.calls_per_minute), now) > 0


def _refusal(rule: Rule) -> str:
    if rule.thing is Thing.PANEL:
        return wording.not_your_panel()
    if rule.thing is Thing.EVERYBODY:
        return wording.for_owners()
    if rule.thing is Thing.SERVER:
        return wording.for_admins()
    if rule.thing is Thing.REASONING:
        return wording.not_your_thinking()
    return wording.not_yours()

"""Who may do what to what: the table behind the gate, behind its tests, and behind `docs/rights.md`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Thing(StrEnum):
    """What somebody acts on."""

    CONVERSATION = "a conversation"
    ANSWER = "an answer"
    REASONING = "folded reasoning"
    SETTINGS = "settings"
    PANEL = "a settings panel"
    DATA = "stored data"
    LINK = "the link of two accounts"
    USAGE = "usage"
    EVERYBODY = "everybody's usage"
    WORDS = "help and examples"
    SERVER = "a server's limits"
    UPLOAD = "an upload"
    NAME = "a name"
    COMPLETION = "an answer over HTTP"
    CAPTION = "a caption over HTTP"
    TOKENS = "a count of tokens"
    MODELS = "the list of models"
    STATE = "health and metrics"


class Verb(StrEnum):
    """What somebody does."""

    ASK = "ask"
    RESET = "reset"
    STOP = "stop"
    REGENERATE = "regenerate"
    CONTINUE = "continue"
    FOLLOW = "continue from here"
    OPEN = "open"
    SEE = "see"
    CHANGE = "change"
    PRESS = "press"
    EXPORT = "export"
    ERASE = "erase"
    ADD = "add"
    REMOVE = "remove"


class Relation(StrEnum):
    """What somebody is to the thing."""

    OWNER = "owner"
    OTHER = "other"
    MODERATOR = "moderator"
    ADMIN = "admin"
    OPERATOR = "operator"
    CLIENT = "client"


Platform = StrEnum("Platform", ["DISCORD", "TELEGRAM", "PAGE", "TERMINAL", "API"])
CHATS = (Platform.DISCORD, Platform.TELEGRAM, Platform.PAGE, Platform.TERMINAL)
SHARED = (Platform.DISCORD, Platform.TELEGRAM, Platform.PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table.

    Args:
        who: the relations that may do it. Those who may do it to other people's things are named.
        platforms: where it can be done.
        visible: platforms where other people see the thing, and so can try.
        rated: it is refused beyond the rate. Otherwise it is done beyond the rate, without a word.
        generates: a person whose quota of tokens is used up is refused.
        calls: calls to the platform that the reply costs its chat.
    """

    thing: Thing
    verb: Verb
    who: Collection[Relation] = (Relation.OWNER,)
    platforms: Collection[Platform] = CHATS
    visible: Collection[Platform] = ()
    rated: bool = True
    generates: bool = False
    calls: int = 1

    def allows(self, relations: Collection[Relation]) -> bool:
        """Whether one of these relations may do it."""
        return any(relation in self.who for relation in relations)


_MODERATED = (Relation.OWNER, Relation.MODERATOR, Relation.OPERATOR)

TABLE = (
    Rule(thing=Thing.CONVERSATION, verb=Verb.ASK, generates=True, calls=2),
    Rule(thing=Thing.CONVERSATION, verb=Verb.RESET),
    Rule(thing=Thing.ANSWER, verb=Verb.STOP, who=_MODERATED, visible=SHARED, rated=False),
    Rule(thing=Thing.ANSWER, verb=Verb.REGENERATE, visible=SHARED, generates=True, calls=2),
    Rule(thing=Thing.ANSWER, verb=Verb.CONTINUE, visible=SHARED, generates=True, calls=2),
    Rule(
        thing=Thing.ANSWER,
        verb=Verb.FOLLOW,
        who=(Relation.OWNER, Relation.OTHER),
        platforms=(Platform.DISCORD,),
        visible=(Platform.DISCORD,),
    ),
    Rule(thing=Thing.REASONING, verb=Verb.OPEN, platforms=(Platform.DISCORD,), visible=(Platform.DISCORD,)),
    Rule(thing=Thing.SETTINGS, verb=Verb.SEE),
    Rule(thing=Thing.SETTINGS, verb=Verb.CHANGE),
    Rule(thing=Thing.PANEL, verb=Verb.PRESS, platforms=(Platform.TELEGRAM,), visible=(Platform.TELEGRAM,)),
    Rule(thing=Thing.DATA, verb=Verb.SEE),
    Rule(thing=Thing.DATA, verb=Verb.EXPORT),
    Rule(thing=Thing.DATA, verb=Verb.ERASE),
    Rule(thing=Thing.LINK, verb=Verb.CHANGE),
    Rule(thing=Thing.USAGE, verb=Verb.SEE),
    Rule(thing=Thing.EVERYBODY, verb=Verb.SEE, who=(Relation.OPERATOR,)),
    Rule(thing=Thing.WORDS, verb=Verb.SEE),
    Rule(thing=Thing.SERVER, verb=Verb.CHANGE, who=(Relation.ADMIN,), platforms=(Platform.DISCORD,)),
    Rule(thing=Thing.UPLOAD, verb=Verb.ADD, platforms=(Platform.PAGE,)),
    Rule(thing=Thing.UPLOAD, verb=Verb.REMOVE, platforms=(Platform.PAGE,)),
    Rule(thing=Thing.NAME, verb=Verb.CHANGE, platforms=(Platform.PAGE,)),
    Rule(thing=Thing.COMPLETION, verb=Verb.ASK, who=(Relation.CLIENT,), platforms=(Platform.API,)),
    Rule(thing=Thing.CAPTION, verb=Verb.ASK, who=(Relation.CLIENT,), platforms=(Platform.API,)),
    Rule(thing=Thing.TOKENS, verb=Verb.SEE, who=(Relation.CLIENT,), platforms=(Platform.API,)),
    Rule(thing=Thing.MODELS, verb=Verb.SEE, who=(Relation.CLIENT,), platforms=(Platform.API,)),
    Rule(
        thing=Thing.STATE,
        verb=Verb.SEE,
        who=(Relation.CLIENT, Relation.OTHER),
        platforms=(Platform.API,),
        visible=(Platform.API,),
    ),
)
RULES = {(rule.thing, rule.verb): rule for rule in TABLE}


class Actor(StrEnum):
    """The people of the table. The operator acts on other people's things where they can be seen."""

    OWNER = "the person whose it is"
    OTHER = "somebody else"
    MODERATOR = "a moderator"
    ADMIN = "an admin of the server"
    OPERATOR = "the operator"
    STRANGER = "somebody who isn't let in"
    HASTY = "the same person, beyond the rate"
    SPENT = "the same person, beyond the quota"
    CLIENT = "a client with the key"
    KEYLESS = "a client without the key"


class Decision(StrEnum):
    """What comes of a call. A refusal is one sentence, for the asker alone where the platform can."""

    DONE = "yes"
    SILENT = "silently"
    """Done without a word."""
    REFUSED = "no"


def outcome(rule: Rule, actor: Actor) -> Decision:
    """What happens if this actor does it."""
    match actor:
        case Actor.STRANGER | Actor.KEYLESS:
            return Decision.DONE if rule.allows([Relation.OTHER]) and actor is Actor.KEYLESS else Decision.REFUSED
        case Actor.HASTY if not rule.allows([Relation.OWNER]):
            return Decision.REFUSED
        case Actor.HASTY:
            return Decision.REFUSED if rule.rated else Decision.SILENT
        case Actor.SPENT:
            return Decision.REFUSED if rule.generates or not rule.allows([Relation.OWNER]) else Decision.DONE
        case Actor.OPERATOR if rule.visible:
            return Decision.DONE if rule.allows([Relation.OTHER, Relation.OPERATOR]) else Decision.REFUSED
    return Decision.DONE if rule.allows(_RELATIONS[actor]) else Decision.REFUSED


_RELATIONS = {
    Actor.OWNER: (Relation.OWNER,),
    Actor.OTHER: (Relation.OTHER,),
    Actor.MODERATOR: (Relation.OTHER, Relation.MODERATOR),
    Actor.ADMIN: (Relation.OTHER, Relation.ADMIN),
    Actor.OPERATOR: (Relation.OWNER, Relation.OPERATOR),
    Actor.CLIENT: (Relation.CLIENT,),
}


def actors(rule: Rule, platform: Platform) -> Iterator[Actor]:
    """Those who can try it there."""
    if platform is Platform.API:
        yield from (Actor.CLIENT, Actor.KEYLESS)
        return
    yield from (Actor.OWNER, Actor.HASTY, Actor.SPENT)
    if platform is not Platform.TERMINAL:  # whoever is there has the program
        yield from (Actor.OPERATOR, Actor.STRANGER)
    if platform in rule.visible:
        yield Actor.OTHER
        if platform is Platform.DISCORD:
            yield Actor.MODERATOR
    if rule.who == (Relation.ADMIN,):
        yield Actor.ADMIN


def cases() -> Iterator[tuple[Platform, Rule, Actor, Decision]]:
    """Every line of the table for everybody who can try it, with what comes of it."""
    for rule in TABLE:
        for platform in rule.platforms:
            for actor in actors(rule, platform):
                yield platform, rule, actor, outcome(rule, actor)

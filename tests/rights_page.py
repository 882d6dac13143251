"""The table of rights as `docs/rights.md` shows it; `python -m tests.rights_page` prints it."""

from __future__ import annotations

from bots.access.rights import TABLE, Actor, Platform, Rule, actors, outcome

_COLUMNS = {
    Actor.OWNER: "the person whose it is",
    Actor.OTHER: "somebody else",
    Actor.MODERATOR: "a moderator",
    Actor.ADMIN: "an admin",
    Actor.OPERATOR: "the operator",
    Actor.STRANGER: "a stranger",
    Actor.HASTY: "beyond the rate",
    Actor.SPENT: "beyond the quota",
}
_KEYS = {Actor.CLIENT: "with the key", Actor.KEYLESS: "without it"}
_NAMES = {
    Platform.DISCORD: "Discord",
    Platform.TELEGRAM: "Telegram",
    Platform.PAGE: "page",
    Platform.TERMINAL: "terminal",
}


def as_markdown() -> str:
    """Two tables: what people do, and what clients of `partyline serve` do."""
    people = [rule for rule in TABLE if Platform.API not in rule.platforms]
    clients = [rule for rule in TABLE if Platform.API in rule.platforms]
    return "\n".join([*_table(people, _COLUMNS), "", *_table(clients, _KEYS)])


def _table(rules: list[Rule], columns: dict[Actor, str]) -> list[str]:
    where = columns is _COLUMNS
    head = ["what", *(["where"] if where else []), *columns.values()]
    rows = [[f"{rule.thing}: {rule.verb}", *_where(rule, where), *_cells(rule, columns)] for rule in rules]
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _cells(rule: Rule, columns: dict[Actor, str]) -> list[str]:
    tried = {actor for platform in rule.platforms for actor in actors(rule, platform)}
    return [str(outcome(rule, actor)) if actor in tried else "" for actor in columns]


def _where(rule: Rule, wanted: bool) -> list[str]:
    if not wanted:
        return []
    everywhere = len(rule.platforms) == len(_NAMES)
    return ["everywhere" if everywhere else ", ".join(_NAMES[platform] for platform in rule.platforms)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(as_markdown())

"""`bots.profile.personal.UsageRecord` in SQL: sums that grow by what is added, whoever else adds at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from adapters.storage.database.database import Database
from adapters.storage.database.retry import PATIENCE_S, lasting
from adapters.storage.sql.quotas import carried_over
from adapters.storage.sql.tables import histograms, usage
from adapters.storage.sql.upsert import add
from adapters.storage.write_behind import WriteBehind
from bots.profile.personal import Histogram, Sample, SampleKind, Spent, UsageRecord, Used


class SqlUsage(UsageRecord):
    """A part of `adapters.storage.sql.storage.SqlStorage`."""

    _database: Database
    behind: WriteBehind

    async def count(self, person: str, day: str, used: Used, marks: Sequence[Sample]) -> None:
        spent = Spent(person=person, day=day, used=used, marks=tuple(marks))
        # The answer was given: what it took is counted in any case, if need be when the database is back.
        await self.behind.enqueue(lambda connection: add_spent(connection, spent))

    @lasting
    async def usage(self, people: Sequence[str] | None, since: str) -> Mapping[str, Used]:
        await self.behind.caught_up(PATIENCE_S)
        sums = [func.sum(usage.c[name]).label(name) for name in ("answers", "tokens", "captions", "seconds")]
        query = select(usage.c.day, *sums).where(_of(usage, people, since)).group_by(usage.c.day)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        # PostgreSQL's sum of BIGINT is a Decimal.
        return {
            row.day: Used(
                answers=int(row.answers), tokens=int(row.tokens), captions=int(row.captions), seconds=float(row.seconds)
            )
            for row in rows
        }

    @lasting
    async def used_on(self, people: Sequence[str], day: str) -> Used:
        sums = select(func.sum(usage.c.tokens), func.sum(usage.c.captions)).where(
            usage.c.person.in_(people), usage.c.day == day
        )

        def read(connection: Connection) -> Used:
            tokens, captions = connection.execute(sums).one()
            return Used(tokens=int(tokens or 0), captions=int(captions or 0)) + carried_over(connection, people, day)

        await self.behind.caught_up(PATIENCE_S)  # an answer that was given while the database was slow counts too
        return await self._database.read(read)

    @lasting
    async def histograms(self, people: Sequence[str] | None, since: str) -> Mapping[tuple[str, SampleKind], Histogram]:
        keys = (histograms.c.day, histograms.c.kind, histograms.c.bucket)
        query = select(*keys, func.sum(histograms.c["count"]).label("number"))
        query = query.where(_of(histograms, people, since)).group_by(*keys)
        found: defaultdict[tuple[str, SampleKind], dict[int, int]] = defaultdict(dict)
        for row in await self._database.read(lambda connection: connection.execute(query).all()):
            found[row.day, row.kind][row.bucket] = int(row.number)
        return found


def add_spent(connection: Connection, spent: Spent) -> None:
    used, own = spent.used, {"person": spent.person, "day": spent.day}
    sums = {"answers": used.answers, "tokens": used.tokens, "captions": used.captions, "seconds": used.seconds}
    add(connection, usage, own | sums)
    # In one order, so that two transactions cannot wait for each other.
    marks = sorted(set(spent.marks), key=_order)
    if rows := [own | {"kind": mark.kind, "bucket": mark.bucket, "count": 1} for mark in marks]:
        add(connection, histograms, *rows)


def _order(mark: Sample) -> tuple[str, int]:
    return mark.kind, mark.bucket


def _of(table: Table, people: Sequence[str] | None, since: str) -> ColumnElement[bool]:
    recent = table.c.day >= since
    return recent if people is None else and_(recent, table.c.person.in_(people))

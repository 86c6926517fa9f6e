"""The same records in one batch and each alone, and all that can be seen of them afterwards."""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    Engine,
    Text,
    cast,
    literal,
    select,
)  # fmt: skip
from sqlalchemy.orm import (
    Session,
)  # fmt: skip

from streamfea.database.copy.plans import Plans, Row
from streamfea.database.session.session import Sessions
from streamfea.worker.policy import Outcome, Verdict
from tests.support.bulk_tables import Base
from tests.support.entries import entries, group_commit, number_of, run_entries
from tests.support.plain_loop import one_by_one

_GENERATED = {"id", "parent_id", "counted"}

Process = Callable[[Session, int], None]
Seen = tuple[list[object], list[tuple[Verdict, str]]]


def in_bulk(engine: Engine, sessions: Sessions, process: Process, count: int) -> Seen:
    """Run records, from 0 on, in one batch; return the rows, and what became of each record."""
    _empty(engine)
    commit = group_commit(sessions, lambda session, entry: process(session, number_of(entry)))
    return _seen(engine, run_entries(commit, entries(*range(count))))


def each_alone(engine: Engine, process: Process, count: int) -> Seen:
    """Run the same, each in a session and a transaction of its own."""
    _empty(engine)
    outcomes = one_by_one(
        lambda: Session(engine), lambda session, entry: process(session, number_of(entry)), entries(*range(count))
    )
    return _seen(engine, outcomes)


def planned_row(engine: Engine, instance: object) -> Row | None:
    """Return the row that COPY is given for an object; `None` when it is to be flushed."""
    with engine.connect() as connection:
        plan = Plans().of(type(instance), lambda: connection)
        return None if plan is None else plan.row("1-0", instance)


def _seen(engine: Engine, outcomes: Sequence[Outcome]) -> Seen:
    return _rows(engine), [(outcome.verdict, _kind(outcome.error)) for outcome in outcomes]


def _kind(error: BaseException | None) -> str:
    return "" if error is None else type(getattr(error, "orig", error)).__name__


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


def _rows(engine: Engine) -> list[object]:
    """All rows in the order of their keys, but without generated ones: rolled back transactions skip numbers."""
    found: list[object] = []
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            columns = [cast(column, Text) for column in table.columns if column.name not in _GENERATED]
            query = select(literal("a row"), *columns).select_from(table).order_by(*table.primary_key)
            found.append([table.name, *map(tuple, connection.execute(query))])
    return found

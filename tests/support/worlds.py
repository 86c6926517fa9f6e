"""All that can be seen of random records afterwards: their rows, and what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, insert, select, text

from streamfea.worker.policy import Outcome, Verdict
from tests.support.entries import number_of
from tests.support.steps import Item, Owner, Plain

__all__ = ["World", "empty_tables", "row_notes", "world_of"]


@dataclass(frozen=True)
class World:
    """The rows, and the verdict on each record."""

    rows: list[object]
    verdicts: list[tuple[int, Verdict]]


def world_of(engine: Engine, outcomes: Sequence[Outcome]) -> World:
    """Return what there is to see now, after these outcomes."""
    return World(_rows(engine), [(number_of(outcome.entry), outcome.verdict) for outcome in outcomes])


def empty_tables(engine: Engine) -> None:
    """Leave one owner and nothing else."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE item, plain, owner RESTART IDENTITY"))
        connection.execute(insert(Owner).values(id=1, hits=0))


def row_notes(engine: Engine) -> list[str]:
    """Return the notes of all rows of `plain`."""
    with engine.connect() as connection:
        return list(connection.scalars(select(Plain.note)))


def _rows(engine: Engine) -> list[object]:
    # Without generated ids, which skip numbers as transactions are rolled back.
    with engine.connect() as connection:
        return [
            connection.execute(select(Owner.id, Owner.hits).order_by(Owner.id)).all(),
            connection.execute(select(Item.note, Item.code, Item.late, Item.owner_id).order_by(Item.id)).all(),
            connection.execute(select(Plain.note, Plain.code).order_by(Plain.id)).all(),
        ]

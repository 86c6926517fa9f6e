"""A handler that takes whole batches, typed; the number of its batch goes into `pid`.

The first record of a batch says by `by` how its rows are written.
"""

from collections.abc import Callable
from typing import TypedDict

from recorder import Seen  # type: ignore[import-not-found]  # the folder of handlers is on the path where this runs
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from streamfea import Reject


class Wanted(TypedDict, total=False):
    n: int
    do: str
    by: str


def process_batch(dbsession: Session, records: list[Wanted]) -> None:
    rows = [{"number": wanted["n"], "pid": len(records)} for wanted in records]
    _WAYS[records[0].get("by", "insert")](dbsession, rows)
    for wanted in records:
        if wanted.get("do") == "fail":
            raise ValueError("asked to fail")
        if wanted.get("do") == "reject":
            raise Reject("asked to reject")


def _add_each(then: Callable[[Session], object]) -> Callable[[Session, list[dict[str, int]]], None]:
    def write(dbsession: Session, rows: list[dict[str, int]]) -> None:
        for row in rows:
            dbsession.add(Seen(**row))
            then(dbsession)

    return write


def _add_and_roll_back(dbsession: Session, rows: list[dict[str, int]]) -> None:
    for number, row in enumerate(rows):
        dbsession.add(Seen(**row))
        if number % 2:
            dbsession.rollback()


_WAYS: dict[str, Callable[[Session, list[dict[str, int]]], object]] = {
    "insert": lambda dbsession, rows: dbsession.execute(insert(Seen), rows),
    "add": _add_each(lambda _: None),
    "add_all": lambda dbsession, rows: dbsession.add_all([Seen(**row) for row in rows]),
    "add and flush": _add_each(lambda dbsession: dbsession.flush()),
    "add and commit": _add_each(lambda dbsession: dbsession.commit()),
    "add and roll back every second": _add_and_roll_back,
    "add and query": _add_each(lambda dbsession: dbsession.scalars(select(Seen)).all()),
}

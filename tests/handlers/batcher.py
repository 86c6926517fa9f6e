"""A handler that takes whole batches, typed; the number of its batch goes into `pid`.

The first record of a batch says by `by` how its rows are written.
"""

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
    match records[0].get("by"):
        case "add":
            for row in rows:
                dbsession.add(Seen(**row))
        case "add_all":
            dbsession.add_all([Seen(**row) for row in rows])
        case "add and flush":
            for row in rows:
                dbsession.add(Seen(**row))
                dbsession.flush()
        case "add and commit":
            for row in rows:
                dbsession.add(Seen(**row))
                dbsession.commit()
        case "add and query":
            for row in rows:
                dbsession.add(Seen(**row))
                dbsession.scalars(select(Seen)).all()
        case _:
            dbsession.execute(insert(Seen), rows)
    for wanted in records:
        if wanted.get("do") == "fail":
            raise ValueError("asked to fail")
        if wanted.get("do") == "reject":
            raise Reject("asked to reject")

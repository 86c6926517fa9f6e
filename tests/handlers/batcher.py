"""A handler that takes whole batches, typed; the number of its batch goes into `pid`."""

from typing import TypedDict

from recorder import Seen  # type: ignore[import-not-found]  # the folder of handlers is on the path where this runs
from sqlalchemy import insert
from sqlalchemy.orm import Session

from streamfea import Reject


class Wanted(TypedDict, total=False):
    n: int
    do: str


def process_batch(dbsession: Session, records: list[Wanted]) -> None:
    dbsession.execute(insert(Seen), [{"number": wanted["n"], "pid": len(records)} for wanted in records])
    for wanted in records:
        if wanted.get("do") == "fail":
            raise ValueError("asked to fail")
        if wanted.get("do") == "reject":
            raise Reject("asked to reject")

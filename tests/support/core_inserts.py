"""Handlers that write as many do: Core's INSERT, each in a table that is its own."""

import json
from collections.abc import Callable

from sqlalchemy import Column, Integer, String, Table, insert, select
from sqlalchemy.orm import Session

from streamfea.model import Base


def writes_to(name: str) -> Callable[[Session, bytes], None]:
    """Return a handler's `process()` for the table of this name."""
    table = Table(
        name,
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("number", Integer, nullable=False),
        Column("writer", String, nullable=False),
    )

    def process(dbsession: Session, record: bytes) -> None:
        wanted = json.loads(record)
        dbsession.execute(insert(table).values(number=wanted["n"], writer=name))
        if wanted["n"] % 7 == 0:
            dbsession.execute(select(table.c.id).where(table.c.number == wanted["n"])).all()

    return process

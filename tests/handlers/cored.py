"""A handler that writes as many do: Core's INSERT, in a table that is its own."""

import json

from sqlalchemy import Column, Integer, String, Table, insert, select
from sqlalchemy.orm import Session

from streamfea.model import Base

cored = Table(
    "cored",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("writer", String, nullable=False),
)


def process(dbsession: Session, record: bytes) -> None:
    wanted = json.loads(record)
    dbsession.execute(insert(cored).values(number=wanted["n"], writer="cored"))
    if wanted["n"] % 7 == 0:
        dbsession.execute(select(cored.c.id).where(cored.c.number == wanted["n"])).all()

"""As `cored`, in a table that is its own."""

import json

from sqlalchemy import Column, Integer, String, Table, insert, select
from sqlalchemy.orm import Session

from streamfea.model import Base

cored_too = Table(
    "cored_too",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("writer", String, nullable=False),
)


def process(dbsession: Session, record: bytes) -> None:
    wanted = json.loads(record)
    dbsession.execute(insert(cored_too).values(number=wanted["n"], writer="cored_too"))
    if wanted["n"] % 7 == 0:
        dbsession.execute(select(cored_too.c.id).where(cored_too.c.number == wanted["n"])).all()

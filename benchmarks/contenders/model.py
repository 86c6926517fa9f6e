"""The table of `handlers_example.events`, mapped as SQLAlchemy's documentation does, for others."""

import json
from typing import Any

from sqlalchemy import Column, DateTime, Integer, Unicode
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The declarative base."""


class MyEvent(Base):
    """An event."""

    __tablename__ = "my_event"

    id = Column(Integer, primary_key=True)
    name = Column(Unicode, nullable=False)
    timestamp = Column(DateTime(timezone=True), nullable=False)


def event(record: str | bytes) -> MyEvent:
    """Return a record's row."""
    fields: dict[str, Any] = json.loads(record)
    return MyEvent(**fields)

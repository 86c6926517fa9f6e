"""Flights that left New York: typed models, and a handler that turns away what can never be right."""

import json
from datetime import datetime

from sqlalchemy import DateTime, Index
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea import Reject
from streamfea.model import Base


class Flight(Base):
    __tablename__ = "flight"
    __table_args__ = (Index("ix_flight_carrier_time_hour", "carrier", "time_hour"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]  # local, hhmm; None if it was cancelled
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]  # minutes
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str]
    flight: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str]
    dest: Mapped[str]
    air_time: Mapped[int | None]  # minutes
    distance: Mapped[int]  # miles
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def process(dbsession: Session, record: bytes) -> None:
    flight = json.loads(record)
    if flight.get("origin") == flight.get("dest"):
        raise Reject(f"a flight from {flight.get('origin')} to itself")
    dbsession.add(Flight(**flight))

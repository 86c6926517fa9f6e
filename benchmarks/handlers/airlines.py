"""Flights of 19 columns that refer to their carrier, which the first of its flights creates."""

import json
from datetime import datetime

from sqlalchemy import DateTime, ForeignKey
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base


class Airline(Base):
    """An airline."""

    __tablename__ = "airline"

    code: Mapped[str] = mapped_column(primary_key=True)


class AirlineFlight(Base):
    """A flight of a carrier."""

    __tablename__ = "airline_flight"

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str] = mapped_column(ForeignKey("airline.code"))
    flight: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str]
    dest: Mapped[str]
    air_time: Mapped[int | None]
    distance: Mapped[int]
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def process(dbsession: Session, record: bytes) -> None:
    """Store a flight, and its carrier if it is new."""
    flight = json.loads(record)
    if dbsession.get(Airline, flight["carrier"]) is None:
        dbsession.add(Airline(code=flight["carrier"]))
        dbsession.flush()
    dbsession.add(AirlineFlight(**flight))

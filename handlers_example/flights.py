"""Flights that left New York: typed models, a relation, and a row that many records share.

Each flight refers to its carrier, which the first flight of that carrier adds. `streamfea handlers flights delays` is
a command of this handler's own.
"""

from datetime import datetime
from functools import cache
from typing import Any

import typer
from sqlalchemy import DateTime, Engine, ForeignKey, Index, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from streamfea import Reject, commands
from streamfea.model import Base


class Carrier(Base):
    __tablename__ = "carrier"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


class Flight(Base):
    __tablename__ = "flight"
    __table_args__ = (Index("ix_flight_carrier_id_time_hour", "carrier_id", "time_hour"),)

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
    carrier_id: Mapped[int] = mapped_column(ForeignKey(Carrier.id))
    flight: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str]
    dest: Mapped[str]
    air_time: Mapped[int | None]  # minutes
    distance: Mapped[int]  # miles
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    carrier: Mapped[Carrier] = relationship()


def process(dbsession: Session, record: dict[str, Any]) -> None:
    if record.get("origin") == record.get("dest"):
        raise Reject(f"a flight from {record.get('origin')} to itself")
    carrier = record.pop("carrier")
    dbsession.add(Flight(**record, carrier_id=carrier_id(dbsession.bind, carrier)))


@cache
def carrier_id(database: Engine | Connection | None, code: str) -> int:
    """Return the id of the carrier with this code, which is added if it is new.

    There is no race: who adds the same carrier at the same time waits for the other's commit and then finds its row.
    It is added in a transaction of its own. So nobody waits for a whole batch of flights, batches that add several
    carriers cannot deadlock, and the id may be remembered for good, since no flight's failure takes it back.
    """
    with Session(database) as own, own.begin():
        own.execute(insert(Carrier).values(code=code).on_conflict_do_nothing())
        return own.scalars(select(Carrier.id).where(Carrier.code == code)).one()


def register_commands(app: typer.Typer) -> None:
    @app.command()
    def delays(carrier: str = typer.Option("", help="Only this carrier's, as in UA.")) -> None:
        """Show the mean delay at departure of each carrier, in minutes."""
        query = select(Carrier.code, func.count(), func.avg(Flight.dep_delay)).join(Flight.carrier)
        if carrier:
            query = query.where(Carrier.code == carrier)
        query = query.group_by(Carrier.code).order_by(Carrier.code)
        for code, flights, delay in commands.dbsession().execute(query):
            print(f"{code}  {flights:>7,} flights  {delay or 0:+.1f} min")

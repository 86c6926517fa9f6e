"""Readings of sensors, a batch at a time: `process_batch()` writes many rows with few statements.

It also keeps the last reading of each sensor, with a statement for a batch instead of one for a record.
"""

from datetime import datetime

from msgspec import Struct, structs
from sqlalchemy import DateTime, insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base


class Reading(Base):
    __tablename__ = "reading"

    id: Mapped[int] = mapped_column(primary_key=True)
    sensor: Mapped[str] = mapped_column(index=True)
    value: Mapped[float]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class LastReading(Base):
    __tablename__ = "last_reading"

    sensor: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Record(Struct):
    """What a record holds; one that does not is rejected, and the others stay a batch."""

    sensor: str
    value: float
    at: datetime


def process_batch(dbsession: Session, records: list[Record]) -> None:
    rows = [structs.asdict(record) for record in records]
    dbsession.execute(insert(Reading), rows)
    last = {record.sensor: row for record, row in sorted(zip(records, rows, strict=True), key=_by_time)}
    # In the order of the sensors, so that two workers with the same ones wait for each other instead of deadlocking.
    statement = upsert(LastReading).values([last[sensor] for sensor in sorted(last)])
    newer = {"value": statement.excluded.value, "at": statement.excluded.at}
    dbsession.execute(
        statement.on_conflict_do_update(
            index_elements=[LastReading.sensor], set_=newer, where=LastReading.at <= statement.excluded.at
        )
    )


def _by_time(pair: tuple[Record, dict[str, object]]) -> datetime:
    return pair[0].at

"""A typed handler with a typed model."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base


class Reading(Base):
    __tablename__ = "reading"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    value: Mapped[int]
    at: Mapped[datetime | None]


@dataclass
class Wanted:
    name: str
    value: int
    at: datetime | None = None


def process(dbsession: Session, record: Wanted) -> None:
    dbsession.add(Reading(name=record.name, value=record.value, at=record.at))

"""A table with a constraint of each kind, for records that violate them."""

import json

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base


class Spoilable(Base):
    """An event that can be wrong in several ways."""

    __tablename__ = "spoilable"
    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount_is_not_negative"),
        UniqueConstraint("number", deferrable=True, initially="DEFERRED"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    number: Mapped[int]
    amount: Mapped[int]


def process(dbsession: Session, record: bytes) -> None:
    """Store a record."""
    dbsession.add(Spoilable(**json.loads(record)))

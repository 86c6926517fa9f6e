"""The simplest useful handler: a JSON record becomes a row."""

import json
import logging

from sqlalchemy.orm.session import Session
from sqlalchemy.schema import Column
from sqlalchemy.types import DateTime, Integer, Unicode

from streamfea.model import Base

log = logging.getLogger(__name__)


class MyEvent(Base):
    __tablename__ = "my_event"

    id = Column(Integer, primary_key=True)
    name = Column(Unicode, nullable=False)
    timestamp = Column(DateTime(timezone=True), nullable=False)


def process(dbsession: Session, record: bytes) -> None:
    event = MyEvent(**json.loads(record.decode("utf-8")))
    dbsession.add(event)
    log.debug("Inserting event record:\n%s", event)

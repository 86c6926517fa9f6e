"""A handler that takes as long as its record says."""

import json
import time

from sqlalchemy.orm import Session

from handlers_example.events import MyEvent

__all__ = ["MyEvent", "process"]


def process(dbsession: Session, record: bytes) -> None:
    """Sleep, then store a record."""
    event = json.loads(record)
    time.sleep(event.pop("milliseconds") / 1000)
    dbsession.add(MyEvent(**event))

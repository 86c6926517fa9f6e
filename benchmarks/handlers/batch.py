"""The seed's table, written by COPY in the handler."""

import json
from typing import Any

from sqlalchemy.orm import Session

from handlers_example.events import MyEvent

__all__ = ["MyEvent", "process_batch"]


def process_batch(dbsession: Session, records: list[bytes]) -> None:
    """Write all of a batch's records."""
    driver: Any = dbsession.connection().connection.dbapi_connection
    with driver.cursor() as cursor, cursor.copy("COPY my_event (name, timestamp) FROM STDIN") as copy:
        for record in records:
            event = json.loads(record)
            copy.write_row((event["name"], event["timestamp"]))

import json
import logging

from sqlalchemy.orm.session import Session
from sqlalchemy.schema import Column
from sqlalchemy.types import DateTime, Integer, Unicode

from streamfea.model import Base


log = logging.getLogger(__name__)


class MyEvent(Base):
    __tablename__ = 'my_event'

    id = Column(Integer, primary_key=True)
    name = Column(Unicode, nullable=False)
    timestamp = Column(DateTime(timezone=True), nullable=False)


def process(dbsession: Session, record: bytes) -> None:
    # Deserialize the record; for example it could be JSON
    record = json.loads(record.decode('utf-8'))

    # Create the event, and add it to the transaction; it will be automatically
    # committed if no error is raised
    event = MyEvent(**record)
    dbsession.add(event)

    # Models can be pretty-printed, to make debugging easier
    log.debug('Inserting event record:\n%s', event)

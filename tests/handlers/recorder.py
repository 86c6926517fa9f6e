"""The handler of the tests: a record is a JSON object that says what shall happen to it."""

import json
import os
import signal
import time

from sqlalchemy import text
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea import Reject, Retry
from streamfea.model import Base


class Seen(Base):
    __tablename__ = "seen"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    pid: Mapped[int]


def process(dbsession: Session, record: bytes) -> None:
    wanted = json.loads(record)
    match wanted.get("do"):
        case "fail":
            raise ValueError("asked to fail")
        case "reject":
            raise Reject("asked to reject")
        case "retry":
            raise Retry("asked to wait", delay=wanted["delay"])
        case "exit":
            os._exit(3)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(3600)
        case "slow":
            time.sleep(wanted["seconds"])
        case "cross":
            # Two that do this in opposite orders are a deadlock.
            for number in wanted["order"]:
                dbsession.execute(text("UPDATE seen SET pid = pid + 1 WHERE number = :number"), {"number": number})
                time.sleep(0.3)
    dbsession.add(Seen(number=wanted["n"], pid=os.getpid()))

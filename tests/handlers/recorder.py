"""The handler of the tests: a record is a JSON object that says what shall happen to it."""

import ctypes
import json
import os
import resource
import time
from pathlib import Path

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
        case "cross":
            # Two that do this in opposite orders are a deadlock.
            for number in wanted["order"]:
                dbsession.execute(text("UPDATE seen SET pid = pid + 1 WHERE number = :number"), {"number": number})
                time.sleep(0.3)
        case "slow in a transaction":
            dbsession.execute(text("SELECT 1"))
            time.sleep(wanted["seconds"])
        case other:
            take_time_or_die(other, wanted.get("seconds", 3600))
    dbsession.add(Seen(number=wanted["n"], pid=os.getpid()))


def take_time_or_die(how: str | None, seconds: float) -> None:
    match how:
        case "slow" | "hang":
            time.sleep(seconds)
        case "slow in C" | "hang in C":
            # With the interpreter's lock held, so that no other thread of the process can run.
            ctypes.PyDLL(None).sleep(int(seconds))
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "allocate":
            allocate_more_than_allowed()


def allocate_more_than_allowed() -> None:
    """Have C code run out of memory: it kills the process where Python code would raise MemoryError."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**24, resource.RLIM_INFINITY))
    memory = ctypes.PyDLL(None).malloc(2**30)
    ctypes.memset(memory, 0, 2**30)

"""A handler that does to its process what no handler should: each record says what."""

import asyncio
import gc
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base

_forking = multiprocessing.get_context("fork")


class Seen(Base):
    __tablename__ = "seen"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    pid: Mapped[int]


def process(dbsession: Session, record: bytes) -> None:
    wanted = json.loads(record)
    if wanted["n"] < 0:
        wanted["n"] = dbsession.scalar(text("SELECT 0"))
    deed = DEEDS[wanted.get("do", "nothing")]
    if deed(dbsession) != "return":
        dbsession.add(Seen(number=wanted["n"], pid=os.getpid()))


Deed = Callable[[Session], object]


def forked(child: Deed) -> Deed:
    """Return what has a child do something, and waits until that has ended."""

    def run(dbsession: Session) -> object:
        pid = os.fork()
        if pid == 0:
            return child(dbsession)
        assert os.waitpid(pid, 0)[0] == pid
        return None

    return run


def exit_with_words(_: Session) -> None:
    sys.exit("the child of a handler is done")


def fail(_: Session) -> None:
    raise ValueError("the child of a handler fails")


def query(dbsession: Session) -> None:
    """Use what is the parent's; whatever comes of it."""
    dbsession.execute(text("INSERT INTO seen (number, pid) VALUES (-1, 0)"))
    dbsession.commit()


def use_multiprocessing(_: Session) -> None:
    child = _forking.Process(target=exit_with_words, args=(None,))
    child.start()
    child.join()


def terminate_a_child(_: Session) -> None:
    """Stop a child by SIGTERM, which must neither spare it nor reach its parent."""
    child = _forking.Process(target=time.sleep, args=(3600,))
    child.start()
    child.terminate()
    child.join()


def raising(error: type[BaseException]) -> Deed:
    def run(_: Session) -> None:
        raise error

    return run


def handle_sigterm(_: Session) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the handler's own"))


def set_timeout(_: Session) -> None:
    socket.setdefaulttimeout(0.001)


def close_descriptors(_: Session) -> None:
    os.closerange(3, 256)


def make_warnings_errors(_: Session) -> None:
    warnings.simplefilter("error")


def change_environment(_: Session) -> None:
    os.environ.clear()
    os.chdir("/")


def leave_a_thread(_: Session) -> None:
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


DEEDS: dict[str, Deed] = {
    "nothing": lambda _: None,
    "fork and exit": forked(exit_with_words),
    "fork and fail": forked(fail),
    "fork and return": forked(lambda _: "return"),
    "fork and add": forked(lambda _: None),
    "fork and query": forked(query),
    "multiprocessing": use_multiprocessing,
    "terminate a child": terminate_a_child,
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "GeneratorExit": raising(GeneratorExit),
    "SystemExit": raising(SystemExit),
    "CancelledError": raising(asyncio.CancelledError),
    "BaseException": raising(BaseException),
    "handle SIGTERM": handle_sigterm,
    "ignore SIGTERM": lambda _: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "socket.setdefaulttimeout": set_timeout,
    "close descriptors": close_descriptors,
    "warnings.simplefilter": make_warnings_errors,
    "gc.disable": lambda _: gc.disable(),
    "os.environ.clear": change_environment,
    "threading.Thread": leave_a_thread,
}

"""A handler whose records end, slow down or are refused their own SQL."""

import json
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea.model import Base


class Ended(Base):
    __tablename__ = "ended"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


SQL = {
    "end its backend": "SELECT pg_terminate_backend(pg_backend_pid())",
    "read a missing file": "SELECT pg_read_file('/nowhere/at/all')",
    "sort too much": "SET LOCAL work_mem = '64kB'; SET LOCAL temp_file_limit = '1kB';"
    "SELECT count(*) FROM (SELECT n FROM generate_series(1, 300000) AS n ORDER BY n DESC OFFSET 1) AS sorted",
    "write nothing": "SET TRANSACTION READ ONLY",
    "take far too long": "SELECT pg_sleep(60)",
    "take long": "SELECT pg_sleep(3)",
    "name no table": "SELECT * FROM never_there",
}


def process(dbsession: Session, record: bytes) -> None:
    wanted: dict[str, Any] = json.loads(record)
    do = wanted.get("do")
    if do == "sleep after a query":
        dbsession.execute(text("SELECT 1"))
        time.sleep(wanted["seconds"])
    elif do is not None:
        dbsession.execute(text(SQL[do]))
    dbsession.add(Ended(number=wanted["n"]))

"""Without handler, ORM or isolation: XREADGROUP, `executemany()`, commit, XACK.

psycopg's `executemany()` sends its statements in a pipeline. One bad record fails its whole batch.
"""

import json

import psycopg

from benchmarks.contenders.contender import Contender, acknowledged_by_group, add_to_stream
from benchmarks.contenders.copy_loop import run

CONTENDER = Contender(
    "executemany by hand, without ORM",
    ("-m", "benchmarks.contenders.executemany_loop"),
    add_to_stream,
    acknowledged_by_group,
    commits_each=False,
    isolates=False,
)

_INSERT = "INSERT INTO my_event (name, timestamp) VALUES (%(name)s, %(timestamp)s)"


def _write(connection: psycopg.Connection, records: list[bytes]) -> None:
    connection.cursor().executemany(_INSERT, [json.loads(record) for record in records])


if __name__ == "__main__":
    run(_write)

"""For tests: runs a handler on records as a worker does.

from streamfea.testing import try_handler

def test_a_record_becomes_a_row() -> None:
    with try_handler("readings") as trial:
        [outcome] = trial.run(b'{"sensor": "s1", "value": 21.5}')
        assert outcome.verdict is Verdict.DONE
        assert trial.dbsession.scalars(select(Reading.value)).all() == [21.5]
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from streamfea.config.loading import load_settings
from streamfea.config.sections import DatabaseSettings, Queue
from streamfea.core.entry import Entry
from streamfea.database.connection.engine import open_database
from streamfea.database.exactly_once.ledger import ledger_of
from streamfea.database.schema.setup import all_schemas, create_all
from streamfea.database.session.session import Sessions, open_sessions
from streamfea.handlers.loading import Handler, load_handler
from streamfea.worker.commits import group_commit
from streamfea.worker.policy import Outcome, Verdict
from streamfea.worker.stop_signal import StopSignal

__all__ = ["Outcome", "Trial", "Verdict", "try_handler"]


@contextmanager
def try_handler(
    handler: str, *, database: str | None = None, config: Path | None = None, **settings: Any
) -> Iterator["Trial"]:
    """Yield a trial of the handler in the module `handler`, in a database schema of its own that is dropped at the end.

    The schema is made in `database`, a URL as in `[database]` or `embedded:DIR`, else in the database of the
    configuration (`config`, or the one in force); its user must be permitted to create schemas. `settings` are those
    of a queue, such as `batch_size` or `guarantee`. No Redis is needed.

    Raises `ConfigurationError`, and pydantic's `ValidationError` for a setting or a URL that there is not.
    """
    where = DatabaseSettings(url=database) if database else load_settings(config).database
    loaded = load_handler(Queue(name=handler, **{"stream": handler, "handler": handler, **settings}))
    engine = open_database(where)
    schema = f"streamfea_test_{token_hex(6)}"
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        event.listen(engine, "connect", lambda driver, _: _search_in(driver, schema))
        engine.dispose()
        yield from _trials(loaded, engine)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        engine.dispose()


def _trials(handler: Handler, engine: Engine) -> Iterator["Trial"]:
    create_all(engine, all_schemas([handler]))
    with Session(engine) as dbsession:
        yield Trial(handler, open_sessions(engine, bulk=handler.queue.bulk), dbsession)


class Trial:
    """A handler with its tables, which are empty at first; `dbsession` is a session to look at them."""

    def __init__(self, handler: Handler, sessions: Sessions, dbsession: Session) -> None:
        self.dbsession = dbsession
        self._handler = handler
        self._sessions = sessions
        self._entries = 0

    def run(self, *records: bytes | str | dict[str, Any]) -> list[Outcome]:
        """Run records through the handler in group commits; return the outcome of each.

        Text is encoded, a dict becomes JSON. An outcome has a `verdict` and, where the handler raised, the `error`.
        """
        self.dbsession.rollback()
        entries = [self._entry(record) for record in records]
        commits = group_commit(self._handler, self._sessions, StopSignal(), ledger=ledger_of(self._handler.queue))
        outcomes: list[Outcome] = []
        commits.submit(entries, lambda some, _: outcomes.extend(some))
        return outcomes

    def _entry(self, record: bytes | str | dict[str, Any]) -> Entry:
        self._entries += 1
        queue = self._handler.queue
        fields = record if queue.field == "*" and isinstance(record, dict) else {queue.field: record}
        entry_id = f"{self._entries}-0"
        return Entry(
            queue.name, queue.stream, entry_id, {name.encode(): _bytes(value) for name, value in fields.items()}
        )


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _search_in(driver: Any, schema: str) -> None:
    driver.execute(f'SET search_path TO "{schema}"')
    driver.commit()

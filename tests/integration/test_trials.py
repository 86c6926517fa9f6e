"""Trying a handler in a test: as a worker would, in a schema that is gone afterwards."""

import importlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, text

from streamfea.errors import ConfigurationError
from streamfea.testing import Verdict, try_handler

Write = Callable[[str], str]

_HEAD = """
from sqlalchemy import text
from streamfea import Retry
from streamfea.model import Base

class Row(Base):
    __tablename__ = "TABLE"
    from sqlalchemy.orm import Mapped, mapped_column
    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[str]
"""
_PROCESS = """
def process(dbsession, record: str):
    dbsession.add(Row(data=record))
    if record == "later":
        raise Retry("not yet")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a handler with a table of its own; return its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(source: str) -> str:
        name = f"trial_{secrets.token_hex(4)}"
        (tmp_path / f"{name}.py").write_text(_HEAD.replace("TABLE", name) + source)
        importlib.invalidate_caches()
        return name

    return written


def test_outcomes_are_those_of_a_worker_and_rows_can_be_looked_at(write: Write, database_url: str) -> None:
    handler = write(_PROCESS)
    with try_handler(handler, database=database_url, batch_size=2) as trial:
        outcomes = trial.run("one", b"two", "later", b"\xff")
        verdicts = [outcome.verdict for outcome in outcomes]
        assert verdicts == [Verdict.DONE, Verdict.DONE, Verdict.POSTPONED, Verdict.REJECTED]
        assert str(outcomes[2].error) == "not yet"
        query = text(f"SELECT data FROM {handler} ORDER BY id")
        assert list(trial.dbsession.scalars(query)) == ["one", "two"]
        trial.run("three")
        assert list(trial.dbsession.scalars(query)) == ["one", "two", "three"]


def test_settings_are_those_of_a_queue(write: Write, database_url: str) -> None:
    handler = write(_PROCESS)
    with try_handler(handler, database=database_url, field="*", guarantee="exactly-once") as trial:
        [outcome] = trial.run({"n": 1, "name": "x"})
        assert outcome.verdict is Verdict.DONE
        [record] = trial.dbsession.scalars(text(f"SELECT data FROM {handler}"))
        assert json.loads(record) == {"n": "1", "name": "x"}
        assert trial.dbsession.scalar(text("SELECT count(*) FROM streamfea_ledger")) == 1


def test_nothing_is_left_in_the_database_even_if_the_test_fails(write: Write, database_url: str) -> None:
    engine = create_engine(database_url)
    query = text("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'streamfea_test_%'")

    def schemas() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def fail() -> None:
        with try_handler(write(_PROCESS), database=database_url) as trial:
            trial.run("one")
            raise ZeroDivisionError(f"with {schemas()} schema")

    with pytest.raises(ZeroDivisionError, match="with 1 schema"):
        fail()
    assert schemas() == 0
    engine.dispose()


def test_a_handler_that_cannot_be_used_is_told_in_a_sentence(database_url: str) -> None:
    def attempt(**settings: Any) -> None:
        with try_handler("nowhere", database=database_url, **settings):
            pass

    with pytest.raises(ConfigurationError, match="there is no module 'nowhere'"):
        attempt()
    with pytest.raises(ValidationError, match="guarantee"):
        attempt(guarantee="twice")

"""What is relied upon in Alembic, psycopg and redis-py beyond their documented API, and what that means."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from redis import Redis
from sqlalchemy import create_engine, make_url

from streamfea.core.known_versions import KnownVersions
from streamfea.database.connection import psycopg_internals
from streamfea.database.schema import alembic_internals
from streamfea.orm import internals
from streamfea.streams.connection import redis_internals


@pytest.mark.parametrize("versions", [internals.VERSIONS, psycopg_internals.VERSIONS, redis_internals.VERSIONS])
def test_the_installed_version_is_known(versions: KnownVersions) -> None:
    assert versions.has_installed


# Alembic


def test_one_row_of_alembics_table_is_removed() -> None:
    with create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        alembic_internals.create_version_table(context)
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('one'), ('two')")
        connection.execute(alembic_internals.delete_of_version(context, "one"))
        assert context.get_current_heads() == ("two",)


def test_alembics_steps_from_one_revision_to_another_are_told(tmp_path: Path) -> None:
    for revision, before in (("one", None), ("two", "one"), ("three", "two")):
        source = f"revision = {revision!r}\ndown_revision = {before!r}\ndef upgrade(): pass\n"
        (tmp_path / f"{revision}.py").write_text(source)
    script = ScriptDirectory(str(tmp_path), version_locations=[str(tmp_path)])
    steps = alembic_internals.upgrade_revisions(script, "heads", ("one",))
    assert [step.revision.revision for step in steps] == ["two", "three"]


# psycopg


def test_each_call_of_psycopg_waits_by_its_connections_method(database_url: str) -> None:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    ready: list[object] = []

    class Watching(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.01, timeout: float | None = None) -> Any:
            return super().wait(self._watched(gen), interval, timeout)

        def _watched(self, gen: Any) -> Any:
            result = None
            try:
                while True:
                    result = yield gen.send(result)
                    ready.append(result)
            except StopIteration as end:
                return end.value

    with Watching.connect(url) as connection:
        connection.execute("SELECT pg_sleep(0.1)")
    assert {psycopg_internals.Ready.NONE, psycopg_internals.Ready.R} <= set(ready)


# redis-py


def test_a_connection_to_redis_tells_of_its_socket_and_of_what_it_receives(redis_url: str) -> None:
    sockets, sizes = [], []

    class Parser(redis_internals.ParserHook):
        def note_received(self, size: int) -> None:
            sizes.append(size)

    with Redis.from_url(redis_url, protocol=2, parser_class=Parser) as client:
        pool = client.connection_pool

        class Connected(redis_internals.ConnectionHook, pool.connection_class):  # type: ignore[name-defined,misc]
            def note_socket(self, sock: Any) -> None:
                sockets.append(sock)

        pool.connection_class = Connected
        connection: Any = pool.get_connection()
        assert sockets == [redis_internals.socket_of(connection)]
        sizes.clear()
        connection.send_packed_command(connection.pack_commands([("ECHO", "x" * 100)]))
        assert connection.can_read(timeout=5)
        assert connection.read_response() == b"x" * 100
        assert sum(sizes) == len("$100\r\n") + 100 + len("\r\n")
        assert type(redis_internals.parser_of(connection)) is Parser
        pool.release(connection)

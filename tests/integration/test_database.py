"""The database commands, for real, with handlers made for each test."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, inspect, text

from streamfea.database.schema.tables import lock_schema
from tests.support.commands import Project
from tests.support.waiting import wait_until

_HEAD = """
import json
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID
import enum
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column, relationship
from streamfea.model import Base, NullableBoolean, View


def process(dbsession, record):
    dbsession.add(Thing(**json.loads(record)))

"""
_THING = """
class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
"""
_VIEW = """

class Names(View):
    __tablename__ = "names"
    __query__ = sa.select(Thing.name, sa.func.count().label("times")).where(Thing.name != "no").group_by(Thing.name)
    __table_args__ = (sa.Index("ix_names_name", "name", unique=True),)


class Plain(View):
    __tablename__ = "a_plain"
    __query__ = sa.select(Names.times)
"""
_EVERYTHING = """
class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Thing(Base):
    __tablename__ = "thing"
    __table_args__ = (sa.UniqueConstraint("name", "known"), sa.CheckConstraint("number > 0", name="positive"))
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.Unicode(40), index=True)
    number: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(sa.BigInteger, index=True)
    ratio: Mapped[float] = mapped_column(server_default="1.5")
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), server_default="0")
    day: Mapped[date | None]
    at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    raw: Mapped[bytes | None]
    flag: Mapped[bool] = mapped_column(server_default=sa.true())
    uuid: Mapped[UUID | None]
    data = sa.Column(postgresql.JSONB, nullable=False, server_default="{}")
    words = sa.Column(postgresql.ARRAY(sa.Unicode))
    colour: Mapped[Colour | None]
    known = sa.Column(NullableBoolean, nullable=False, server_default="unknown", index=True)
    sure: Mapped[bool | None] = mapped_column(NullableBoolean, nullable=False)


class Part(Base):
    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    thing_id: Mapped[int] = mapped_column(sa.ForeignKey("thing.id", ondelete="CASCADE"))
    thing = relationship(Thing)
"""


class Workplace:
    """A folder with a handler that tests write and run commands in."""

    def __init__(self, folder: Path, project: Project) -> None:
        self.folder = folder
        self.project = project
        project.configure("things")

    def handler(self, models: str, name: str = "things.py") -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(_HEAD + models)

    def run(self, *arguments: str, expect: int = 0) -> str:
        return self.project.run(*arguments, cwd=self.folder, expect=expect)


@pytest.fixture
def place(tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str) -> Workplace:
    return Workplace(tmp_path, Project(tmp_path, redis_url, database_url, f"{name}:stream"))


def columns(engine: Engine) -> set[str]:
    return {column["name"] for column in inspect(engine).get_columns("thing")}


def scalar(engine: Engine, sql: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(sql)).scalar_one()


def test_initdb_leaves_no_difference_for_a_migration(place: Workplace, engine: Engine) -> None:
    place.handler(_EVERYTHING)
    assert "Created thing, part" in place.run("initdb")
    assert "nothing to migrate" in place.run("make-migration", "q", "-m", "none")
    assert not (place.folder / "things_migrations").exists()
    assert "already" in place.run("initdb")


def test_migrations_alone_make_what_the_models_say(place: Workplace, engine: Engine) -> None:
    place.handler(_EVERYTHING)
    place.run("make-migration", "q", "-d", "everything there is")
    [file] = (place.folder / "things_migrations").glob("*.py")
    assert "streamfea" not in file.read_text()
    for check in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *check, str(file)], check=True, cwd=place.folder)
    url = engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", _MIGRATE_ONLY, url], check=True, cwd=place.folder)
    assert "nothing to migrate" in place.run("make-migration", "q", "-m", "none")
    assert "Nothing to migrate" in place.run("migratedb")
    place.run("dropdb", "--yes")
    assert scalar(engine, "SELECT count(*) FROM alembic_version") == 0
    assert scalar(engine, "SELECT to_regtype('nullable_boolean_enum') IS NULL AND to_regtype('colour') IS NULL")


def test_a_changed_model_is_migrated_and_until_then_consume_says_what_to_run(place: Workplace, engine: Engine) -> None:
    place.handler(_THING + _VIEW)
    place.run("initdb")
    place.handler(_THING + "    known = sa.Column(NullableBoolean, nullable=False, server_default='unknown')\n" + _VIEW)
    assert "lacks column thing.known" in place.run("consume", "--until-empty", expect=2)
    place.run("make-migration", "q", "-m", "is it known")
    told = place.run("consume", "--until-empty", expect=2)
    assert "pending" in told
    assert "streamfea migratedb" in told
    assert "streamfea migratedb" in place.run("check", expect=1)
    assert "streamfea migratedb" in place.run("initdb")
    assert "up to date" in place.run("make-migration", "q", "-m", "again", expect=1)
    assert "Applied" in place.run("migratedb")
    assert "known" in columns(engine)
    assert "Nothing to migrate" in place.run("migratedb")
    assert "nothing to migrate" in place.run("make-migration", "q", "-m", "none")
    place.run("consume", "--until-empty")
    place.run("dropdb", "--yes")
    place.run("initdb")  # everything at once, and nothing pending
    assert "Nothing to migrate" in place.run("migratedb")


def test_a_migration_changes_the_tables_of_its_handler_only(place: Workplace, engine: Engine) -> None:
    place.handler(_THING, "pkg/__init__.py")
    other = _THING.replace("Thing", "Other").replace('"thing"', '"other"')
    place.handler(other + "\nThing = Other\n")
    servers = place.project.config.read_text()
    place.project.config.write_text(servers + '[queues.p]\nhandler = "pkg"\n[queues.again]\nhandler = "pkg"\n')
    place.run("initdb")
    place.handler(_THING + "    more: Mapped[int | None]\n", "pkg/__init__.py")
    place.handler(other + "    more: Mapped[int | None]\n\nThing = Other\n")
    place.run("make-migration", "again", "-m", "more")
    [file] = (place.folder / "pkg" / "migrations").glob("*.py")
    assert '"thing"' in file.read_text()
    assert '"other"' not in file.read_text()
    assert 'branch_labels = ("pkg",)' in file.read_text()
    place.run("migratedb")
    place.run("make-migration", "q", "-m", "more of the others")
    place.run("migratedb")
    assert scalar(engine, "SELECT count(*) FROM alembic_version") == 2
    place.project.config.write_text(servers)  # the rows of the other handler's branch are nobody's here
    assert "Nothing to migrate" in place.run("migratedb")
    place.run("dropdb", "--yes")
    assert scalar(engine, "SELECT count(*) FROM alembic_version") == 1


def test_two_that_migrate_at_once_do_it_once(place: Workplace, engine: Engine) -> None:
    place.handler(_THING)
    place.run("initdb")
    place.handler(_THING + "    more: Mapped[int | None]\n")
    place.run("make-migration", "q", "-m", "more")
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor() as pool:
        with engine.begin() as connection:
            lock_schema(connection)
            runs = [pool.submit(place.run, "migratedb") for _ in range(2)]
            wait_until(lambda: scalar(engine, waiting) == 2, "both wait for their turn")
        told = [one.result() for one in runs]
    assert sorted("Applied" in one for one in told) == [False, True]
    assert "more" in columns(engine)


def test_a_migration_that_fails_changes_nothing(place: Workplace, engine: Engine) -> None:
    place.handler(_THING)
    place.run("initdb")
    place.handler(_THING + "    more: Mapped[int | None]\n")
    place.run("make-migration", "q", "-m", "more")
    [file] = (place.folder / "things_migrations").glob("*.py")
    file.write_text(
        file.read_text().replace("\n\n\ndef downgrade", "\n    op.execute('SELECT 1/0')\n\n\ndef downgrade")
    )
    assert "division by zero" in place.run("migratedb", expect=1)
    assert "more" not in columns(engine)


def test_views_are_made_refreshed_and_made_anew(place: Workplace, engine: Engine) -> None:
    place.handler(_THING + _VIEW)
    assert "Created thing, names, a_plain" in place.run("initdb")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO thing (name) VALUES ('a'), ('a'), ('no')"))
    told = place.run("refresh-views")
    assert "Refreshed names while it could be read." in told
    assert "Refreshed a_plain." in told
    assert scalar(engine, "SELECT times FROM names") == 2
    place.handler(_THING + _VIEW.replace('"no"', '"a"'))
    assert "Created names, a_plain" in place.run("migratedb")
    assert scalar(engine, "SELECT name FROM names") == "no"
    with engine.begin() as connection:
        connection.execute(text("DROP MATERIALIZED VIEW a_plain; DROP MATERIALIZED VIEW names"))
        connection.execute(text("CREATE MATERIALIZED VIEW names AS SELECT 1/id FROM thing WITH NO DATA"))
        connection.execute(text("CREATE MATERIALIZED VIEW a_plain AS SELECT 1"))
        connection.execute(text("INSERT INTO thing VALUES (0, 'zero')"))
    told = place.run("refresh-views", expect=1)
    assert "names failed: division by zero" in told
    assert "Refreshed a_plain." in told
    assert "Dropped names, a_plain, thing" in place.run("dropdb", "--yes")


@pytest.mark.core
def test_reset_processes_everything_again_and_drops_nothing(place: Workplace, client: Redis, engine: Engine) -> None:
    place.project.configure("things", retention="keep")
    place.handler(_THING + _VIEW)
    place.run("initdb")
    put(client, place, 20)
    place.run("consume", "--until-empty")
    put(client, place, 20)
    stream = place.project.stream
    client.xgroup_create(stream, "others", id="0")
    client.xreadgroup("others", "slow", {stream: ">"}, count=7)
    client.xreadgroup("streamfea", "gone", {stream: ">"}, count=5)
    assert "consumers are at work (gone)" in place.run("reset", "q", "--yes", expect=1)
    assert scalar(engine, "SELECT count(*) FROM thing") == 20, "a refusal changes nothing"
    assert "Dropped 20 rows of thing; 40 entries" in place.run("reset", "q", "--yes", "--force")
    assert client.xpending(stream, "streamfea")["pending"] == 0
    assert client.xpending(stream, "others")["pending"] == 7
    place.run("consume", "--until-empty")
    assert scalar(engine, "SELECT count(*) FROM thing") == 40
    assert scalar(engine, "SELECT count(DISTINCT name) FROM thing") == 20
    place.project.run("reset", "q", cwd=place.folder, stdin=b"n\n", expect=1)
    assert scalar(engine, "SELECT count(*) FROM thing") == 40


def test_nullable_boolean_and_chunks_work_in_a_handler(place: Workplace, engine: Engine) -> None:
    place.handler(_EVERYTHING)
    place.run("initdb")
    script = place.folder / "try_it.py"
    script.write_text(_TRY)
    said = subprocess.run(
        [sys.executable, str(script), engine.url.render_as_string(hide_password=False)],
        check=True, cwd=place.folder, env=os.environ, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.splitlines()[-1] == "all as expected"


_MIGRATE_ONLY = """
import sys
import sqlalchemy as sa
from streamfea.database.schema.migrations import Migrations
from streamfea.handlers.loading import load_handler
from streamfea.handlers.schemas import schema_of
from streamfea.config.sections import Queue

schema = schema_of(load_handler(Queue(name="q", handler="things", stream="s")))
engine = sa.create_engine(sys.argv[1])
with engine.begin() as connection:
    Migrations([schema]).upgrade(connection)
engine.dispose()
"""
_TRY = """
import sys, tracemalloc
import sqlalchemy as sa
from streamfea.database.session.session import open_sessions
from things import Thing

engine = sa.create_engine(sys.argv[1])
factory = open_sessions(engine)
with factory() as session:
    session.add_all([Thing(name="a", known=True), Thing(name="a", known=False, sure=True), Thing(name="a", known=None)])
    session.add(Thing(name="default"))
    session.commit()
    names = lambda *criteria: sorted(t.name + str(t.known) for t in session.query(Thing).filter(*criteria))
    assert names(Thing.known == None) == names(Thing.known.is_(None)) == ["aNone", "defaultNone"]
    assert names(Thing.known == True) == ["aTrue"] and names(Thing.known.is_not(None)) == ["aFalse", "aTrue"]
    assert names(Thing.known.in_([True, None])) == ["aNone", "aTrue", "defaultNone"]
    assert session.query(Thing.sure).filter_by(known=False).scalar() is True
    session.add(Thing(name="a", known=None))
    try:
        session.commit()
    except sa.exc.IntegrityError:
        session.rollback()
    else:
        raise AssertionError("two unknowns are the same value")
    session.execute(sa.text("DELETE FROM thing"))
    session.execute(sa.text("INSERT INTO thing (name, sure, raw, number) "
        "SELECT n::text, 'true', repeat('x', 500)::bytea, n FROM generate_series(1, 40000) n"))
    session.commit()
    query = session.chunked_query(Thing, chunk_size=1000)
    assert query.count() == 40000
    tracemalloc.start()
    seen, peaks = [], []
    for chunk in query:
        numbers = [thing.number for thing in chunk]
        assert len(numbers) == 1000
        seen += numbers
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
    assert seen == list(range(1, 40001))
    assert max(peaks[20:]) < 1.3 * max(peaks[:5]) + 2_000_000, peaks
    backwards = [[t.number for t in chunk] for chunk in query.filter(Thing.number <= 2500).reverse_chunks()]
    assert [len(one) for one in backwards] == [1000, 1000, 500] and backwards[0][0] == 1501 and backwards[-1][0] == 1
    session.add(Thing(name="new", number=50000))
    assert query.filter_by(name="new").count() == 1
    for number, chunk in enumerate(query.filter(Thing.number <= 3000)):
        for thing in chunk:
            session.delete(thing)
        session.add(Thing(name="added" + str(number), number=1))
    assert session.query(Thing).filter(Thing.number <= 3000).count() == 3
engine.dispose()
print("all as expected")
"""


def put(client: Redis, place: Workplace, count: int) -> None:
    for number in range(count):
        client.xadd(place.project.stream, {"record": json.dumps({"name": str(number)})})

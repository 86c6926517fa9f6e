"""A database that Azafea made, and migrations as its handlers have them."""

import pytest
from sqlalchemy import text

from tests.support.places import Place

_HANDLER = """
import sqlalchemy as sa
from streamfea.model import Base, View


class Thing(Base):
    __tablename__ = "thing"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Unicode, nullable=False)


class Names(View):
    __tablename__ = "names"
    __query__ = sa.select(Thing.name, sa.func.count().label("times")).group_by(Thing.name)


def process(dbsession, record):
    dbsession.add(Thing(name=record.decode()))
"""
_AS_AZAFEA_MADE_IT = """
CREATE TABLE thing (id INT GENERATED ALWAYS AS IDENTITY, name VARCHAR NOT NULL, CONSTRAINT pk_thing PRIMARY KEY (id));
CREATE MATERIALIZED VIEW names AS SELECT thing.name, count(*) AS times FROM thing GROUP BY thing.name;
"""
_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {down!r}, {labels!r}, None


def upgrade():
{upgrade}


def downgrade():
    pass
"""
_CREATE = """
    op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Unicode))
    op.execute("INSERT INTO thing (name) VALUES ('there from the first')")
    op.alter_column("thing", "name", nullable=False)
"""


@pytest.fixture
def place(place: Place) -> Place:
    place.handler(_HANDLER)
    return place


def execute(place: Place, sql: str) -> None:
    with place.engine.begin() as connection:
        connection.execute(text(sql))


def migration(place: Place, revision: str, upgrade: str, down: str | None = None) -> None:
    folder = place.project.folder / "events_migrations"
    folder.mkdir(exist_ok=True)
    labels = None if down else ("events",)
    source = _MIGRATION.format(revision=revision, down=down, labels=labels, upgrade=upgrade)
    (folder / f"{revision}.py").write_text(source)


def constraints(place: Place) -> list[object]:
    return place.rows(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'thing'::regclass AND contype = 'c' ORDER BY 1"
    )


def test_there_is_nothing_to_migrate_in_a_database_of_azafeas(place: Place) -> None:
    execute(place, _AS_AZAFEA_MADE_IT)
    execute(place, "GRANT SELECT ON names TO PUBLIC; CREATE VIEW above AS SELECT name FROM names")
    assert "nothing to migrate" in place.run("make-migration", "q", "-m", "none")
    assert "Nothing to migrate" in place.run("migratedb")
    place.handler(_HANDLER.replace("nullable=False", "nullable=True"))
    assert "Wrote" in place.run("make-migration", "q", "-m", "a thing without a name")
    [file] = (place.project.folder / "events_migrations").glob("*.py")
    assert "server_default=None" not in file.read_text()
    place.handler(_HANDLER.replace("nullable=False", "nullable=True"))
    assert "Applied" in place.run("migratedb")
    assert place.rows("SELECT has_table_privilege('public', 'names', 'SELECT'), to_regclass('above') IS NOT NULL") == [
        (True, True)
    ]
    assert place.rows(
        "SELECT attidentity::text FROM pg_attribute WHERE attrelid = 'thing'::regclass AND attname = 'id'"
    ) == [("a",)]


def test_a_view_that_is_made_anew_is_granted_to_whom_it_was(place: Place) -> None:
    place.run("initdb")
    execute(place, "GRANT SELECT ON names TO PUBLIC")
    place.handler(_HANDLER.replace("sa.func.count()", "sa.func.max(Thing.id)"))
    assert "Created names" in place.run("migratedb")
    assert place.rows("SELECT has_table_privilege('public', 'names', 'SELECT')") == [(True,)]


def test_a_view_in_the_way_of_a_migration_is_made_anew_and_one_that_it_indexes_is_there(place: Place) -> None:
    execute(place, _AS_AZAFEA_MADE_IT)
    execute(place, "GRANT SELECT ON names TO PUBLIC")
    migration(place, "a1", "    op.create_index('ix_names', 'names', ['name'])")
    assert "Applied a1" in place.run("migratedb")
    assert place.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'ix_names'") == [(1,)]
    migration(place, "a2", "    op.alter_column('thing', 'name', type_=sa.Unicode(80))", "a1")
    told = place.run("migratedb")
    assert "Applied a2" in told
    assert "Created names" in told
    assert place.rows("SELECT has_table_privilege('public', 'names', 'SELECT')") == [(True,)]


def test_the_names_of_constraints_go_through_the_naming_convention(place: Place) -> None:
    execute(place, _AS_AZAFEA_MADE_IT)
    lines = ["op.create_check_constraint('ck_thing_x', 'thing', 'id > 0')"]
    lines += ["op.create_check_constraint(op.f('ck_thing_y'), 'thing', 'id > 0')"]
    lines += ["op.create_check_constraint('z', 'thing', 'id > 0')"]
    migration(place, "a1", "".join(f"    {line}\n" for line in lines))
    place.run("migratedb")
    assert constraints(place) == [("ck_thing_ck_thing_x",), ("ck_thing_y",), ("ck_thing_z",)]


@pytest.mark.parametrize("command", ["initdb", "migratedb"])
def test_on_an_empty_database_the_migrations_own_sql_is_run(place: Place, command: str) -> None:
    migration(place, "a1", _CREATE)
    migration(place, "a2", "    op.execute(\"INSERT INTO thing (name) VALUES ('and the second')\")", "a1")
    told = place.run(command)
    assert "Applied a1, a2." in told
    assert "Created names." in told
    assert place.rows("SELECT name FROM thing ORDER BY id") == [("there from the first",), ("and the second",)]
    assert "Nothing to migrate" in place.run("migratedb")
    place.run("reset", "q", "--yes")
    assert place.rows("SELECT count(*) FROM thing") == [(2,)]


def test_migrations_that_begin_in_the_middle_are_not_run_on_an_empty_database_which_is_said(place: Place) -> None:
    migration(place, "a1", "    op.add_column('thing', sa.Column('more', sa.Integer))")
    assert "The migrations of events begin with tables that they do not create" in place.run("migratedb")
    assert place.rows("SELECT version_num FROM alembic_version") == [("a1",)]
    assert place.rows("SELECT count(*) FROM thing") == [(0,)]


def test_a_migration_may_be_made_empty_for_sql_of_ones_own(place: Place) -> None:
    place.run("initdb")
    assert "nothing to migrate" in place.run("make-migration", "q", "-m", "none")
    assert "Wrote" in place.run("make-migration", "q", "-m", "seed", "--empty")
    [file] = (place.project.folder / "events_migrations").glob("*_seed.py")
    assert "pass" in file.read_text()
    file.write_text(file.read_text().replace("pass", "op.execute(\"INSERT INTO thing (name) VALUES ('seed')\")", 1))
    assert "Applied" in place.run("migratedb")
    assert place.rows("SELECT name FROM thing") == [("seed",)]

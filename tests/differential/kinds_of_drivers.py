"""Handlers that go past SQLAlchemy, or set what lasts until the end of the transaction."""

from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.differential.ways import Kind

__all__ = ["KINDS"]


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


def _tenant(session: Session) -> str:
    return session.scalar(text("SELECT coalesce(nullif(current_setting('app.tenant', true), ''), '-')")) or ""


def _roll_the_driver_back(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    if number == 3:
        session.flush()
        raw: Any = session.connection().connection
        with suppress(psycopg.Error):
            raw.cursor().execute("SELECT 1 / 0")
        raw.rollback()


def _copy_and_commit_by_the_driver(session: Session, number: int) -> None:
    if number != 2:
        session.add(Thing(name=str(number)))
        return
    raw: Any = session.connection().connection.driver_connection
    with raw.cursor() as cursor, cursor.copy("COPY thing (name) FROM STDIN") as copy:
        copy.write_row(["by the driver"])
    raw.commit()


def _copy_by_the_driver(session: Session, number: int) -> None:
    raw: Any = session.connection().connection
    with raw.cursor() as cursor, cursor.copy("COPY thing (name) FROM STDIN") as copy:
        copy.write_row([str(number)])


def _set_tenant_of_some(session: Session, number: int) -> None:
    if number in (2, 4):
        session.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": f"t{number}"})
    session.add(Thing(name=f"{number}={_tenant(session)}"))


def _set_local_tenant_of_some(session: Session, number: int) -> None:
    if number in (2, 4):
        session.execute(text(f"SET LOCAL app.tenant = 't{number}'"))
    session.add(Thing(name=f"{number}={_tenant(session)}"))


def _set_tenant_by_core(session: Session, number: int) -> None:
    if number in (2, 4):
        session.execute(select(func.set_config("app.tenant", f"t{number}", True)))
    session.add(Thing(name=f"{number}={_tenant(session)}"))


def _set_path_of_some(session: Session, number: int) -> None:
    if number % 2 == 0:
        session.execute(text("SET LOCAL search_path = ruled"))
    session.add(Thing(name=str(number)))


def _translate_schema(session: Session, number: int) -> None:
    tenant = {1: "t1", 2: "t1", 3: "t2"}[number]
    session.connection(execution_options={"schema_translate_map": {None: tenant}})
    session.add(Thing(name=str(number)))


def _translate_schema_of_connection(session: Session, number: int) -> None:
    if number != 2:
        session.connection().execution_options(schema_translate_map={None: "t1"})
    session.add(Thing(name=str(number)))


def _set_isolation_level(session: Session, number: int) -> None:
    level = "SERIALIZABLE" if number % 2 else "READ COMMITTED"
    session.connection(execution_options={"isolation_level": level})
    session.add(Thing(name=session.scalar(text("SHOW transaction_isolation"))))


def _set_transaction(session: Session, number: int) -> None:
    if number == 2:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
    session.add(Thing(name=session.scalar(text("SHOW transaction_isolation"))))


def _make_temporary_table(session: Session, number: int) -> None:
    if number != 3:
        session.execute(text("CREATE TEMPORARY TABLE mine (n int) ON COMMIT DROP"))
    session.execute(text("INSERT INTO mine VALUES (1)"))
    session.add(Thing(name=str(number)))


def _insert_by_core(session: Session, number: int) -> None:
    session.execute(insert(Thing).values(name=str(number)))
    session.connection().execute(insert(Thing).values(name=f"{session.scalar(select(func.count(Thing.id)))}"))


names = "SELECT name FROM thing ORDER BY id"
tenants = [("1=-",), ("2=t2",), ("3=-",), ("4=t4",)]
_schemas = ["CREATE SCHEMA {0}", "CREATE TABLE {0}.thing (id serial PRIMARY KEY, name text)"]


def _schema(name: str) -> list[str]:
    return [f"DROP SCHEMA IF EXISTS {name} CASCADE", *(statement.format(name) for statement in _schemas)]


_by_schema = (
    "SELECT 't1', name FROM t1.thing UNION ALL SELECT 't2', name FROM t2.thing "
    "UNION ALL SELECT 'public', name FROM thing ORDER BY 1, 2"
)

KINDS = [
    Kind("rolls the driver's connection back", _roll_the_driver_back, names, [("1",), ("2",), ("4",)], Base.metadata,
         not_exactly_once=frozenset({3})),
    Kind("commits by the driver's connection", _copy_and_commit_by_the_driver, "SELECT name FROM thing ORDER BY name",
         [("1",), ("3",), ("4",), ("by the driver",)], Base.metadata, not_exactly_once=frozenset({2})),
    Kind("copies by the driver's connection", _copy_by_the_driver, names, [(str(n),) for n in range(1, 5)],
         Base.metadata),
    Kind("sets a tenant", _set_tenant_of_some, names, tenants, Base.metadata),
    Kind("sets a tenant by SET LOCAL", _set_local_tenant_of_some, names, tenants, Base.metadata),
    Kind("sets a tenant by Core", _set_tenant_by_core, names, tenants, Base.metadata),
    Kind("sets the search path", _set_path_of_some,
         "SELECT name, 'plain' FROM thing UNION ALL SELECT name, 'ruled' FROM ruled.logged ORDER BY 1",
         [("1", "plain"), ("2", "ruled"), ("3", "plain"), ("4", "ruled")], Base.metadata,
         ddl=[*_schema("ruled"), "CREATE TABLE ruled.logged (name text)",
              "CREATE RULE log AS ON INSERT TO ruled.thing DO ALSO INSERT INTO ruled.logged VALUES (NEW.name)"]),
    Kind("translates schemas", _translate_schema, _by_schema, [("t1", "1"), ("t1", "2"), ("t2", "3")], Base.metadata,
         records=3, ddl=[*_schema("t1"), *_schema("t2")]),
    Kind("translates schemas by the connection", _translate_schema_of_connection, _by_schema,
         [("public", "2"), ("t1", "1"), ("t1", "3")], Base.metadata, records=3, ddl=[*_schema("t1"), *_schema("t2")]),
    Kind("sets the isolation level", _set_isolation_level, names,
         [("serializable",), ("read committed",), ("serializable",), ("read committed",)], Base.metadata,
         not_exactly_once=frozenset({1, 2, 3, 4})),
    Kind("sets the transaction's isolation level", _set_transaction, names,
         [("read committed",), ("serializable",), ("read committed",), ("read committed",)], Base.metadata,
         not_exactly_once=frozenset({2})),
    Kind("makes a temporary table", _make_temporary_table, names, [("1",), ("2",), ("4",)], Base.metadata,
         failed=frozenset({3})),
    Kind("inserts by Core", _insert_by_core, names, [("1",), ("1",), ("2",), ("3",), ("3",), ("5",), ("4",), ("7",)],
         Base.metadata),
]  # fmt: skip

"""Rows that are copied are written in the order in which records added them, wherever that can be told."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from streamfea.database.session.session import Sessions
from tests.support.bulk_tables import Cage, Child, Natural, Parent, Zoo
from tests.support.bulk_ways import each_alone, in_bulk

Records = list[Callable[[Session], object]]

_NOTE_EVERY_ROW = """
CREATE TABLE noted (number integer GENERATED ALWAYS AS IDENTITY, row text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO noted (row) VALUES (TG_TABLE_NAME || ' ' || NEW.id); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION note();
"""


def _refer_by_number(session: Session) -> None:
    session.add(Zoo(code=5))
    session.add(Cage(zoo_code=5))


def _refer_to_the_last(session: Session) -> None:
    session.add(Cage(zoo_code=5))


def _count_zoos(session: Session) -> None:
    zoos = session.scalar(select(func.count()).select_from(Zoo)) or 0
    session.add(Zoo(code=100 + zoos))


def _take_back(session: Session) -> None:
    zoo = session.scalars(select(Zoo).order_by(Zoo.id.desc())).first()
    if zoo is not None:
        session.delete(zoo)


def _replace(session: Session) -> None:
    there = session.get(Natural, ("a", 1))
    if there is not None:
        session.delete(there)
    session.add(Natural(code="a", title="instead"))


@pytest.mark.parametrize(
    "records",
    [
        [_refer_to_the_last, _refer_by_number, _refer_to_the_last],
        [_refer_by_number, _count_zoos, _take_back, _count_zoos],
        [_replace, _replace, _count_zoos, _replace],
    ],
    ids=["a row before and after the one that it needs", "queries between rows", "a key given up and taken again"],
)
def test_rows_that_depend_on_each_other_come_to_the_same(engine: Engine, sessions: Sessions, records: Records) -> None:
    def process(session: Session, number: int) -> None:
        records[number](session)

    in_bulk(engine, sessions, process, len(records))  # from then on it is known how their rows are written
    assert in_bulk(engine, sessions, process, len(records)) == each_alone(engine, process, len(records))


def test_a_tables_keys_rise_in_the_order_of_the_records(engine: Engine, sessions: Sessions) -> None:
    def process(session: Session, number: int) -> None:
        session.add_all([Parent(name=f"{number} first"), Parent(name=f"{number} second")])

    in_bulk(engine, sessions, process, 1)
    in_bulk(engine, sessions, process, 50)
    with engine.connect() as connection:
        names = connection.scalars(select(Parent.name).order_by(Parent.id)).all()
    assert names == [f"{number} {which}" for number in range(50) for which in ("first", "second")]


def test_a_table_comes_after_the_one_that_it_refers_to(engine: Engine, sessions: Sessions) -> None:
    def process(session: Session, number: int) -> None:
        session.add(Child(parent_id=1000 + number))
        session.add(Parent(id=1000 + number, name="its own"))

    in_bulk(engine, sessions, process, 1)
    with engine.begin() as connection:
        connection.exec_driver_sql(_NOTE_EVERY_ROW)
    assert [verdict.value for verdict, _ in in_bulk(engine, sessions, process, 3)[1]] == ["done"] * 3
    with engine.connect() as connection:
        noted = connection.scalars(text("SELECT split_part(row, ' ', 1) FROM noted ORDER BY number")).all()
    assert noted == ["parent"] * 3 + ["child"] * 3

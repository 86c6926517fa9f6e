"""How statements are bound that may wait, and which tables they may touch."""

import gc
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.orm import declarative_base

from streamfea.database.waiting.footprints import is_of_one_table
from streamfea.database.waiting.forms import Forms, Trust
from streamfea.database.waiting.lookups import Lookups

DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy's
TABLE = Table(
    "thing",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("hits", Integer, default=3),
)
ADD = insert(TABLE)


class Thing(declarative_base()):  # type: ignore[misc]  # made at run time
    __table__ = Table("other", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


def sql(statement: Any) -> str:
    return str(statement.compile(dialect=DIALECT))


def test_a_statement_that_is_built_once_is_bound_once() -> None:
    forms = Forms()
    first, second, third = (forms.bound(ADD, {"name": "a"}, DIALECT) for _ in range(3))
    assert first is not None
    assert first.values({"name": "b"}) == {"name": "b", "hits": 3}
    assert first.form is second.form  # type: ignore[union-attr]  # neither is None
    assert second is third


def test_a_statement_that_a_record_has_built_is_not_kept() -> None:
    forms = Forms()
    forms.bound(insert(TABLE).values(name="the first of its kind"), {}, DIALECT)  # which what is compiled refers to
    built = insert(TABLE).values(name="all of the record")
    bound = forms.bound(built, {}, DIALECT)
    gone = ref(built)
    del built, bound
    gc.collect()
    assert gone() is None


def test_one_form_is_for_all_statements_of_a_kind() -> None:
    forms = Forms()
    first, second = (forms.bound(insert(TABLE).values(name=name), {}, DIALECT) for name in "ab")
    assert first is not None
    assert second is not None
    assert first.form is second.form
    assert [bound.values({}) for bound in (first, second)] == [{"name": name, "hits": 3} for name in "ab"]


@pytest.mark.parametrize(
    ("sent", "values", "trust"),
    [
        (sql(ADD.values(name="a")), {"name": "a", "hits": 3}, Trust.YES),
        (sql(ADD.values(name="a")), {"name": "a", "hits": 4}, Trust.NO),
        (sql(ADD.values(name="a")) + " ", {"name": "a", "hits": 3}, Trust.NO),
        (sql(ADD.values(name="a")), [{"name": "a", "hits": 3}], Trust.NO),
    ],
)
def test_a_form_is_trusted_if_it_is_what_was_sent(sent: str, values: Any, trust: Trust) -> None:
    bound = Forms().bound(ADD, {"name": "a"}, DIALECT)
    assert bound is not None
    bound.form.look_at(sent, values, {"name": "a", "hits": 3})
    assert bound.form.trust is trust


@pytest.mark.parametrize(
    "statement", [ADD.returning(TABLE.c.id), update(TABLE).where(TABLE.c.id.in_([1, 2])), select(TABLE)]
)
def test_others_go_at_once(statement: Any) -> None:
    assert Forms().bound(statement, {}, DIALECT) is None


@pytest.mark.parametrize(
    ("statement", "is_of_one"),
    [
        (ADD.values(name="a"), True),
        (update(TABLE).where(TABLE.c.id == bindparam("x")).values(name=func.coalesce(TABLE.c.name, "a")), True),
        (update(TABLE).values(name=func.my_function()), False),
        (update(TABLE).values(name=func.other.lower("a")), False),
        (update(TABLE).values(name=select(Thing.name).scalar_subquery()), False),
        (update(TABLE).where(TABLE.c.id == Thing.id).values(name="a"), False),
    ],
)
def test_a_statement_is_of_one_table_if_it_can_read_no_other(statement: Any, is_of_one: bool) -> None:
    assert is_of_one_table(sql(statement)) is is_of_one


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (select(Thing), "other"),
        (select(Thing.id).where(Thing.name == "a").order_by(Thing.id).limit(1), "other"),
        (select(func.count()).select_from(Thing), "other"),
        (select(Thing).with_for_update(), None),
        (select(Thing, TABLE.c.id), None),
        (select(Thing).join(TABLE, TABLE.c.id == Thing.id), None),
        (select(Thing).where(Thing.id.in_(select(TABLE.c.id))), None),
        (select(func.my_function(Thing.id)), None),
        (select(func.now()), None),
        (update(TABLE), None),
    ],
)
def test_a_lookup_reads_one_table_and_does_no_more(statement: Any, table: str | None) -> None:
    found = Lookups().of(statement, DIALECT)
    assert (found and found.table) == table


def test_a_lookup_asks_for_equal_values() -> None:
    found = Lookups().of(select(Thing).where(Thing.name == " A ", Thing.id == 5), DIALECT)
    assert found is not None
    assert found.equal == {"name": "a", "id": 5}
    for other in (Thing.name > "a", (Thing.name == "a") | (Thing.id == 5), func.lower(Thing.name) == "a"):
        found = Lookups().of(select(Thing).where(other), DIALECT)
        assert found is not None
        assert found.equal == {}

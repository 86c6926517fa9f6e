"""Of rows that are copied together, the bad ones are found, and no good one is taken for one."""

import os
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Engine,
)  # fmt: skip
from sqlalchemy.orm import (
    Session,
)  # fmt: skip

from streamfea.database.session.session import Sessions
from tests.support.bulk_tables import Base, Elsewhere, Late, LateKeys, Namesake, Numbered, Parent, Soon, Wide
from tests.support.bulk_ways import each_alone, in_bulk

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "200"))


_LATE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.integers(1, 4),
    "words": st.sampled_from(["a", "a ", "(a)=(b) ", "null"]),
    "short": st.sampled_from(["abc", "abc ", "ab ", "ab", "abcd"]),
    "padded": st.sampled_from(["a", "a  ", "b"]),
    "turned": st.sampled_from(["ab", "ba"]),
    "exact": st.sampled_from([Decimal("1.5"), Decimal("1.50"), Decimal("1.499"), 1, Decimal(1)]),
    "key": st.sampled_from([UUID(int=1), UUID(int=2)]),
    "one": st.sampled_from(["a", "a, b"]),
    "other": st.sampled_from(["c", "b, c"]),
    "must": st.none(),
    "parent_id": st.just(1),
}
late_keys = st.lists(st.sampled_from(sorted(_LATE_VALUES)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _LATE_VALUES[name] for name in names})
)


def test_of_bad_rows_each_is_found_without_running_any_record_again(engine: Engine, sessions: Sessions) -> None:
    runs: list[int] = []

    def process(session: Session, number: int) -> None:
        runs.append(number)
        session.add(Parent(name=None if number % 10 == 5 else "good"))
        session.add(Wide(big=number % 30, by_sql="given"))

    expected = each_alone(engine, process, 40)
    in_bulk(engine, sessions, process, 1)
    runs.clear()
    assert in_bulk(engine, sessions, process, 40) == expected
    assert runs == list(range(40))


def test_of_rows_that_commit_would_refuse_each_is_found_without_running_any_record_again(
    engine: Engine, sessions: Sessions
) -> None:
    runs: list[int] = []

    def process(session: Session, number: int) -> None:
        runs.append(number)
        session.add(Late(number=number % 30))
        session.add(Wide(big=number, by_sql="given"))

    expected = each_alone(engine, process, 40)
    in_bulk(engine, sessions, process, 1)
    runs.clear()
    assert in_bulk(engine, sessions, process, 40) == expected
    assert runs == list(range(40))


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=st.lists(st.lists(late_keys | st.integers(1, 3), min_size=1, max_size=2), max_size=8))
@example(records=[[{"key": UUID(int=1)}], [{"key": UUID(int=1)}], [{"key": UUID(int=1), "parent_id": 1}]])
@example(records=[[{"exact": 1}], [1, {"exact": 1}], [1]])
@example(records=[[1], [2, 2], [1], [1, {"must": None}], [2]])
@example(records=[[{"exact": Decimal("1.50")}], [{"exact": Decimal("1.5")}]])
@example(records=[[{"short": "ab "}], [{"short": "ab"}], [{"short": "abc"}], [{"short": "abc "}]])
@example(records=[[{"turned": "ab"}], [{"turned": "ba"}], [{"turned": "ba"}]])
@example(records=[[{"number": 1, "parent_id": 1}], [{"number": 1}], [{"number": 1}]])
@pytest.mark.timeout(600)
def test_whose_doing_it_is_that_a_deferred_constraint_is_violated_is_found_as_by_a_commit_for_each(
    engine: Engine, sessions: Sessions, records: list[list[dict[str, Any] | int]]
) -> None:
    def process(session: Session, number: int) -> None:
        for one in records[number]:
            session.add(Late(number=one) if isinstance(one, int) else LateKeys(**{"must": "given", **one}))

    in_bulk(engine, sessions, lambda session, _: session.add(LateKeys(must="given")), 1)  # so that nothing is looked up
    assert in_bulk(engine, sessions, process, len(records)) == each_alone(engine, process, len(records))


_FILL_FROM_THE_LAST = """
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.name := coalesce(NEW.name, (SELECT name FROM parent ORDER BY id DESC LIMIT 1)); RETURN NEW; END $$;
CREATE TRIGGER fill BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION fill()
"""


@pytest.mark.parametrize(
    ("records", "setup"),
    [
        # Each way to leave a column to the server is a COPY of its own, which counts its own lines.
        ([Wide(by_server="x"), Wide(by_server="x"), Wide(), Wide(small=150), Wide()], ""),
        (
            [Elsewhere(name="a"), Namesake(name="a"), Elsewhere(name="bad"), Namesake(name="bad"), Namesake(name="b")],
            "",
        ),
        ([Numbered(number=1), Numbered(number=2), Numbered(number=0)], ""),
        ([Parent(name="a"), Parent(name=None), Parent(name=None)], _FILL_FROM_THE_LAST),
        ([Soon(code=1, parent_id=9), Soon(code=1), Soon(code=2)], ""),
        ([LateKeys(short="too long"), LateKeys(must="a"), LateKeys(), LateKeys(must="a", number=9)], ""),
    ],
    ids=["copies", "namesakes", "a number in the name", "trigger", "immediate", "lacks and more"],
)
def test_good_records_are_not_taken_for_bad_ones_beside_them(
    engine: Engine, sessions: Sessions, records: list[Base], setup: str
) -> None:
    if setup:
        with engine.begin() as connection:
            connection.exec_driver_sql(setup)
    given = [
        (type(one), {name: value for name, value in vars(one).items() if name != "_sa_instance_state"})
        for one in records
    ]

    runs: list[int] = []

    def process(session: Session, number: int) -> None:
        runs.append(number)
        model, values = given[number]
        session.add(model(**({"by_sql": "given", **values} if model is Wide else values)))

    expected = each_alone(engine, process, len(given))
    in_bulk(engine, sessions, process, len(given))  # so that nothing is looked up
    runs.clear()
    assert in_bulk(engine, sessions, process, len(given)) == expected
    assert runs == list(range(len(given)))

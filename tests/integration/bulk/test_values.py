"""A value that is copied is the value that a flush would have written; others are left to a flush."""

import os
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Engine,
    func,
    inspect,
    text,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import (
    Session,
)  # fmt: skip

from streamfea.database.copy.plans import Row
from streamfea.database.session.session import Sessions, open_sessions
from tests.support.bulk_tables import Colour, Natural, Parent, Ruled, Wide
from tests.support.bulk_ways import each_alone, in_bulk, planned_row
from tests.support.entries import entry

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "200"))
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - what columns without a zone take

STRANGE = st.sampled_from([0, 1, True, "1", "x", 1.5, b"x", "2026-01-31", [], [1, "x"], {"a": 1}, Decimal("1.5"), None])
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])
TEXTS = st.one_of(
    st.text(max_size=10), st.sampled_from(["\\N", "\\.", "tab\there", "line\nhere", "\\", "\0", "\ud800", " " * 12])
)
INTEGERS = st.one_of(st.integers(-200, 200), st.sampled_from([2**15, 2**31, 2**63, -(2**63)]))
STAMPS = st.one_of(
    st.builds(
        lambda at, zone: at.replace(tzinfo=zone),
        st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - it gets its zone, or none, above
        ZONES,
    ),
    st.sampled_from(["2026-01-31T12:34:56.789012Z", "infinity", "2026-02-30", "now, perhaps", "2026-01-31 10:00+05"]),
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
BOUNDS = st.sampled_from(["[)", "(]", "[]", "()"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from([None, 1_000_000, 1_000_001]),
    "whole": INTEGERS, "small": INTEGERS, "big": INTEGERS,
    "words": TEXTS, "long_words": TEXTS, "turned": TEXTS,
    "yes": st.booleans(),
    "double": st.floats(), "narrow": st.floats(), "exact": st.decimals() | st.integers(-(10**10), 10**10) | st.floats(),
    "at": STAMPS, "local": STAMPS, "rounded": STAMPS,
    "day": st.dates() | st.sampled_from(["2026-01-31", "someday"]),
    "hour": st.times(timezones=ZONES), "lasts": st.timedeltas(timedelta(-1000), timedelta(1000)),
    "anything": JSONS, "indexed": JSONS,
    "key": st.uuids(), "raw": st.binary(max_size=8), "colour": st.sampled_from([*Colour, "RED", "BLUE"]),
    "numbers": st.lists(st.one_of(st.integers(-5, 5), st.none()), max_size=3) | st.just([[1, 2], [3, 4]]),
    "texts": st.lists(TEXTS | st.none(), max_size=3),
    "doubles": st.lists(st.floats() | st.none(), max_size=3) | st.lists(st.integers(-(2**70), 2**70), max_size=3),
    "address": st.sampled_from(["10.0.0.1", "nowhere", *map(ip_interface, ("10.0.0.1/8", "::1")), ip_address("::2")]),
    "network": st.sampled_from(["10.0.0.0/8", "10.0.0.1/8", ip_network("10.0.0.0/8"), ip_address("10.0.0.1")]),
    "span": st.builds(Range, INTEGERS | st.none(), INTEGERS | st.none()) | st.just(Range(empty=True)),
    "costs": st.builds(Range, st.decimals() | st.none(), st.decimals() | st.integers(1, 5) | st.none(), bounds=BOUNDS),
    "days": st.builds(Range, st.dates() | st.none(), st.dates() | st.none(), bounds=BOUNDS),
    "prices": st.lists(st.decimals() | st.none(), max_size=3) | st.lists(st.integers(-3, 3), max_size=2),
    "moments": st.lists(STAMPS | st.none(), max_size=3),
    "must": TEXTS, "counted": INTEGERS, "by_server": TEXTS, "by_sql": TEXTS,
}  # fmt: skip
assert list(VALUES) == list(Wide.__mapper__.column_attrs.keys())

objects = st.fixed_dictionaries({}, optional={name: some | STRANGE for name, some in VALUES.items()}).map(
    # Few columns at a time, or hardly any row would be good.
    lambda given: dict(list(given.items())[:4])
)
few = st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] | STRANGE for name in names})
)


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=st.lists(st.lists(few, min_size=1, max_size=3), max_size=6))
@pytest.mark.timeout(600)
def test_rows_and_errors_are_those_of_an_ordinary_flush(
    engine: Engine, sessions: Sessions, records: list[list[dict[str, Any]]]
) -> None:
    def process(session: Session, number: int) -> None:
        session.add_all([Wide(**given) for given in records[number]])

    assert in_bulk(engine, sessions, process, len(records)) == each_alone(engine, process, len(records))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 1), ("words", "a"), ("long_words", "\t\\N"), ("turned", "abc"), ("yes", True), ("double", 1.5),
        ("exact", Decimal("1.5")), ("at", "2026-01-31T12:34:56Z"), ("at", datetime(2026, 1, 31, tzinfo=UTC)),
        ("local", NAIVE), ("day", date(2026, 1, 31)), ("hour", time(1, 2)), ("lasts", timedelta(1)),
        ("anything", {"a": [1]}), ("indexed", None), ("key", UUID(int=1)), ("raw", b"\0\xff"), ("colour", Colour.RED),
        ("numbers", [1, None]), ("texts", ["a", "b"]), ("doubles", [0.1, None]), ("must", "b"), ("by_server", None),
        ("address", "10.0.0.1"), ("address", ip_address("::1")), ("network", ip_network("10.0.0.0/8")),
        ("span", Range(1, 5)), ("costs", Range(Decimal(1), None)), ("days", Range(None, date(2026, 1, 31))),
        ("prices", [Decimal("1.5"), None]), ("moments", [datetime(2026, 1, 31, tzinfo=UTC)]),
    ],
)  # fmt: skip
def test_usual_values_take_the_fast_way(engine: Engine, name: str, value: object) -> None:
    assert isinstance(planned_row(engine, Wide(by_sql="given", **{name: value})), Row)


def test_a_row_that_brings_its_key_takes_the_fast_way(engine: Engine) -> None:
    assert isinstance(planned_row(engine, Natural(code="a")), Row)
    assert isinstance(planned_row(engine, Parent(id=5, name="a")), Row)


@pytest.mark.parametrize(
    "given",
    [
        {"whole": True}, {"whole": "1"}, {"narrow": 1.5}, {"exact": 0.1}, {"local": datetime(2026, 1, 31, tzinfo=UTC)},
        {"rounded": "2026-01-31T00:00:00.0005Z"}, {"day": NAIVE}, {"anything": None}, {"numbers": [1, "2"]},
        {"network": ip_address("10.0.0.1")}, {"span": Range(1.5, 2)}, {"words": func.lower("A")}, {"by_sql": None},
    ],
)  # fmt: skip
def test_values_that_copy_might_read_differently_take_the_ordinary_way(engine: Engine, given: dict[str, Any]) -> None:
    shared = open_sessions(engine).shared()
    shared.share()
    shared.begin_record(entry(1))
    wide = Wide(**{"by_sql": "given", **given})
    shared.session.add(wide)
    is_refused = True
    try:
        with suppress(SQLAlchemyError):  # some cannot be written at all
            shared.keep_record()
            is_refused = False
        assert not shared.unwritten
        assert is_refused or inspect(wide).session is shared.session
    finally:
        shared.discard()


def test_a_table_with_rules_takes_the_ordinary_way(engine: Engine) -> None:
    assert isinstance(planned_row(engine, Ruled()), Row)
    with engine.begin() as connection:
        connection.execute(text("CREATE RULE nothing AS ON INSERT TO ruled DO INSTEAD NOTHING"))
    assert planned_row(engine, Ruled()) is None


def test_it_can_be_turned_off_for_inserts_of_many_rows(engine: Engine) -> None:
    shared = open_sessions(engine, bulk=False).shared()
    shared.share()
    shared.begin_record(entry(1))
    shared.session.add(Ruled())
    shared.keep_record()
    [row] = shared.session._new_rows.rows
    shared.discard()
    assert row.layout.statement.startswith("INSERT INTO ")

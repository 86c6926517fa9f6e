"""What the fast path writes, an ordinary flush would have written; what it cannot be trusted with, it leaves alone."""

import enum
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    Time,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    cast,
    create_engine,
    event,
    func,
    inspect,
    literal,
    select,
    text,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import INET, JSONB, TIMESTAMP
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    foreign,
    mapped_column,
    object_session,
    relationship,
    sessionmaker,
    synonym,
    validates,
)  # fmt: skip

from streamfea.core.entry import Entry
from streamfea.database.copy.plans import Plans, Row
from streamfea.database.session.session import DbSession, open_sessions
from streamfea.model import Base as StreamfeaBase
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Verdict, outcome_of
from tests.integration.test_group_commit import NEVER

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "200"))
_SCHEMA = "Other Schema"
_GENERATED = {"id", "parent_id", "counted"}
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - what columns without a zone take


class Base(DeclarativeBase):
    """Apart from the others', so that these tables are nobody else's."""


class Late(Base):
    """Its constraint is checked by COMMIT."""

    __tablename__ = "late"
    __table_args__ = (UniqueConstraint("number", deferrable=True, initially="DEFERRED"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Reversed(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value[::-1]


class LateKeys(Base):
    """Deferred constraints on columns whose values PostgreSQL shows in its own way, beside others."""

    __tablename__ = "late keys"
    __table_args__ = (
        *(
            UniqueConstraint(*names, deferrable=True, initially="DEFERRED")
            for names in (
                ["number"], ["words"], ["short"], ["padded"], ["turned"], ["exact"], ["key"], ["one", "other"]
            )
        ),
        CheckConstraint("number < 4", "number"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    number = mapped_column(Integer)
    words = mapped_column(Text)
    short = mapped_column(String(3))
    padded = mapped_column(CHAR(3))
    turned = mapped_column(Reversed)
    exact = mapped_column(Numeric(12, 2))
    key = mapped_column(Uuid)
    one = mapped_column(Text)
    other = mapped_column(Text)
    must = mapped_column(String, nullable=False)
    parent_id = mapped_column(ForeignKey("parent.id", deferrable=True, initially="DEFERRED"))


class Wide(Base):
    """A column of every usual type."""

    __tablename__ = "Wide Table"
    __table_args__ = (CheckConstraint("small < 100", "small"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    whole = mapped_column(Integer)
    small = mapped_column(SmallInteger)
    big = mapped_column(BigInteger, unique=True)
    words = mapped_column('quoted "name", yes', String(8))
    long_words = mapped_column(Text)
    turned = mapped_column(Reversed)
    yes = mapped_column(Boolean)
    double = mapped_column(Double)
    narrow = mapped_column(Float(24))
    exact = mapped_column(Numeric(12, 3))
    at = mapped_column(DateTime(timezone=True))
    local = mapped_column(DateTime)
    rounded = mapped_column(TIMESTAMP(timezone=True, precision=3))
    day = mapped_column(Date)
    hour = mapped_column(Time)
    lasts = mapped_column(Interval)
    anything = mapped_column(JSON)
    indexed = mapped_column(JSONB(none_as_null=True))
    key = mapped_column(Uuid)
    raw = mapped_column(LargeBinary)
    colour = mapped_column(Enum(Colour))
    numbers = mapped_column(ARRAY(Integer))
    texts = mapped_column(ARRAY(String))
    doubles = mapped_column(ARRAY(Double))
    address = mapped_column(INET)
    must = mapped_column(String, nullable=False, default="given")
    counted = mapped_column(Integer, default=itertools.count().__next__)
    by_server = mapped_column(String, server_default=text("'server'"))
    by_sql = mapped_column(String, default=func.lower("SQL"))


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
    "address": st.sampled_from(["10.0.0.1", "nowhere"]),
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


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE cage ADD FOREIGN KEY (zoo_code) REFERENCES zoo (code) ON DELETE CASCADE"))
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine, database_url: str) -> Iterator["sessionmaker[DbSession]"]:
    own = create_engine(database_url)
    yield open_sessions(own)
    own.dispose()


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=st.lists(st.lists(few, min_size=1, max_size=3), max_size=6))
@pytest.mark.timeout(600)
def test_rows_and_errors_are_those_of_an_ordinary_flush(
    engine: Engine, sessions: "sessionmaker[DbSession]", records: list[list[dict[str, Any]]]
) -> None:
    def process(session: Session, number: int) -> None:
        session.add_all([Wide(**given) for given in records[number]])

    assert in_bulk(engine, sessions, process, len(records)) == one_by_one(engine, process, len(records))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 1), ("words", "a"), ("long_words", "\t\\N"), ("turned", "abc"), ("yes", True), ("double", 1.5),
        ("exact", Decimal("1.5")), ("at", "2026-01-31T12:34:56Z"), ("at", datetime(2026, 1, 31, tzinfo=UTC)),
        ("local", NAIVE), ("day", date(2026, 1, 31)), ("hour", time(1, 2)), ("lasts", timedelta(1)),
        ("anything", {"a": [1]}), ("indexed", None), ("key", UUID(int=1)), ("raw", b"\0\xff"), ("colour", Colour.RED),
        ("numbers", [1, None]), ("texts", ["a", "b"]), ("doubles", [0.1, None]), ("must", "b"), ("by_server", None),
    ],
)  # fmt: skip
def test_usual_values_take_the_fast_way(engine: Engine, name: str, value: object) -> None:
    assert isinstance(row(engine, Wide(by_sql="given", **{name: value})), Row)


def test_a_row_that_brings_its_key_takes_the_fast_way(engine: Engine) -> None:
    assert isinstance(row(engine, Natural(code="a")), Row)
    assert isinstance(row(engine, Parent(id=5, name="a")), Row)


@pytest.mark.parametrize(
    "given",
    [
        {"whole": True}, {"whole": "1"}, {"narrow": 1.5}, {"exact": 0.1}, {"local": datetime(2026, 1, 31, tzinfo=UTC)},
        {"rounded": "2026-01-31T00:00:00.0005Z"}, {"day": NAIVE}, {"anything": None}, {"numbers": [1, "2"]},
        {"address": "10.0.0.1"}, {"words": func.lower("A")}, {"by_sql": None},
    ],
)  # fmt: skip
def test_values_that_copy_might_read_differently_take_the_ordinary_way(engine: Engine, given: dict[str, Any]) -> None:
    session = open_sessions(engine)()
    session.share()
    session.begin_record(Entry("q", "s", "1-0", {}))
    wide = Wide(**{"by_sql": "given", **given})
    session.add(wide)
    is_refused = True
    try:
        with suppress(SQLAlchemyError):  # some cannot be written at all
            session.keep_record()
            is_refused = False
        assert not session.rows
        assert is_refused or inspect(wide).session is session
    finally:
        session.discard()


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    children: Mapped[list["Child"]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))
    parent: Mapped[Parent | None] = relationship(back_populates="children")


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Versioned(Base):
    __tablename__ = "versioned"
    id: Mapped[int] = mapped_column(primary_key=True)
    version = mapped_column(Integer, nullable=False)
    __mapper_args__ = {"version_id_col": version}


class Listened(Base):
    __tablename__ = "listened"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]


@event.listens_for(Listened, "before_insert")
def _mark(_mapper: object, _connection: Connection, instance: Listened) -> None:
    instance.note = f"heard {instance.note}"


class Validated(StreamfeaBase):
    __tablename__ = "validated"
    metadata = Base.metadata
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    doubled: Mapped[str | None]
    title = synonym("name")
    length = column_property(func.length("name"))

    @validates("name")
    def shout(self, _key: str, name: str) -> str:
        self.doubled = name * 2
        return name.upper()


class Elsewhere(Base):
    __tablename__ = "Else Where"
    __table_args__ = {"schema": _SCHEMA}
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]


class Namesake(Base):
    """Has the name of another table, in another schema."""

    __tablename__ = "Else Where"
    __table_args__ = (CheckConstraint("name <> 'bad'", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Numbered(Base):
    """Has a name in which there is a number already."""

    __tablename__ = "table, 1"
    __table_args__ = (CheckConstraint("number > 0", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Soon(Base):
    """One constraint is checked when a statement ends, another by COMMIT."""

    __tablename__ = "soon"
    __table_args__ = (UniqueConstraint("code", deferrable=True, initially="IMMEDIATE"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[int]
    parent_id = mapped_column(ForeignKey("parent.id", deferrable=True, initially="DEFERRED"))


class Zoo(Base):
    __tablename__ = "zoo"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[int] = mapped_column(unique=True)


class Cage(Base):
    """Refers to a zoo in the database only, or SQLAlchemy could tell the order of the tables from it."""

    __tablename__ = "cage"
    id: Mapped[int] = mapped_column(primary_key=True)
    zoo_code: Mapped[int]
    zoo: Mapped[Zoo] = relationship(primaryjoin=lambda: foreign(Cage.zoo_code) == Zoo.code)


class Percent(Base):
    __tablename__ = "percent"
    __table_args__ = (UniqueConstraint("humidity %", name="one % only", deferrable=True, initially="DEFERRED"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    humidity: Mapped[int] = mapped_column("humidity %")
    doubled: Mapped[int | None] = mapped_column(Computed('"humidity %" * 2', persisted=True))


class Natural(Base):
    """Has a key of its own instead of a number from the server."""

    __tablename__ = "natural"
    code: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, default=1)
    title: Mapped[str | None]


class Ruled(Base):
    __tablename__ = "ruled"
    id: Mapped[int] = mapped_column(primary_key=True)


def _held(session: Session) -> None:
    child = Child()
    session.add(child)
    session.info.setdefault("held", []).append(child)


def _related(session: Session) -> None:
    session.add(Parent(name="both", children=[Child(), Child()]))


def _attached_late(session: Session) -> None:
    child, parent = Child(), Parent(name="late")
    session.add(child)
    session.add(parent)
    child.parent = parent


def _changed_after(session: Session) -> None:
    parent = Parent(name="before")
    session.add(parent)
    parent.name = "after"


def _seen(session: Session) -> None:
    parent = Parent(name="seen")
    session.add(parent)
    state = inspect(parent)
    seen = (
        parent in session, parent in session.new, parent in list(session), state.pending,
        object_session(parent) is session,
        session.is_modified(parent), state.attrs.name.history.added, parent.id, bool(session.dirty),
    )  # fmt: skip
    session.flush()
    session.add(Parent(name=f"{seen}, then {parent.id is not None} {inspect(parent).persistent}"))


def _queried(session: Session) -> None:
    session.add(Parent(name="one more"))
    names = session.scalars(select(Parent.name).order_by(Parent.id)).all()
    session.add(Parent(name=f"after {list(names)}"))


def _expunged(session: Session) -> None:
    parent = Parent(name="never")
    session.add(parent)
    session.expunge(parent)


def _twice(session: Session) -> None:
    parent = Parent(name="once")
    session.add(parent)
    session.add(parent)


def _failing(session: Session) -> None:
    session.add(Parent(name="gone"))
    raise ValueError("as planned")


def _related_by_the_database(session: Session) -> None:
    session.add(Zoo(code=5))
    session.add(Cage(zoo_code=5))


def _renamed_and_replaced(session: Session) -> None:
    zoo = session.scalars(select(Zoo).where(Zoo.code == 5)).one_or_none()
    if zoo is not None:
        zoo.code = 100 + session.scalars(select(func.count()).select_from(Zoo)).one()
    session.add(Zoo(code=5))


def _wrong_twice(session: Session) -> None:
    session.add(Zoo(code=5))
    session.add(Zoo(code=None))


def _by_name(session: Session) -> None:
    session.add(Validated(name="abc"))
    session.add(Validated(title="def", unknown=1))


def _taken_apart(session: Session) -> None:
    parent = Parent(name="apart")
    session.add(parent)
    vars(parent).pop("_sa_instance_state")
    session.info.setdefault("held", []).append(parent)


def _taken_apart_in_vain(session: Session) -> None:
    _taken_apart(session)
    raise ValueError("as planned")


def _natural_key_got(session: Session) -> None:
    session.add(Natural(code="a", title="to be got"))
    got = session.get(Natural, ("a", 1))
    session.add(Parent(name=f"got {got.title if got is not None else None}"))


def _natural_key_replaced(session: Session) -> None:
    there = session.get(Natural, ("a", 1))
    if there is not None:
        session.delete(there)
    session.add(Natural(code="a", title="instead"))


def _natural_key_beside_a_loaded_one(session: Session) -> None:
    session.get(Natural, ("a", 1))
    session.add(Natural(code="a"))
    session.add(Natural(code="a", part=2))


def _natural_key_merged(session: Session) -> None:
    session.merge(Natural(code="a", part=1, title="merged"))


def _natural_key_twice(session: Session) -> None:
    session.add(Natural(code="b", part=2))
    session.add(Natural(code="b", part=2))


OPERATIONS: list[Callable[[Session], None]] = [
    _held, _related, _attached_late, _changed_after, _seen, _queried, _expunged, _twice, _failing, _by_name,
    _related_by_the_database, _renamed_and_replaced, _wrong_twice,
    _taken_apart, _taken_apart_in_vain,
    _natural_key_got, _natural_key_replaced, _natural_key_beside_a_loaded_one, _natural_key_merged, _natural_key_twice,
    lambda session: session.add(Natural(code="a", part=1)),
    lambda session: session.add(Natural(code="c", title="plain")),
    lambda session: session.add(Natural(title="no key")),
    lambda session: session.add(Parent()),
    lambda session: session.add(Parent(name="plain")),
    lambda session: session.add(Child(parent_id=-1)),
    lambda session: session.add(Dog()),
    lambda session: session.add(Versioned()),
    lambda session: session.add(Listened(note="it")),
    lambda session: session.add(Elsewhere(name="there")),
    lambda session: session.add(Late(number=1)),
    lambda session: session.add(Percent(humidity=1)),
    lambda session: session.add(Percent(humidity=2, doubled=5)),
]  # fmt: skip


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=3), max_size=7))
@example(operations=[[_related_by_the_database]])
@example(operations=[[_related_by_the_database], [_renamed_and_replaced], [_renamed_and_replaced], [_wrong_twice]])
@example(operations=[[operation] for operation in OPERATIONS[-2:] * 2])
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:New instance")  # depends on whether the object before it is still in memory
def test_what_handlers_do_with_objects_comes_to_the_same(
    engine: Engine, sessions: "sessionmaker[DbSession]", operations: list[list[Callable[[Session], None]]]
) -> None:
    def process(session: Session, number: int) -> None:
        for operation in operations[number]:
            operation(session)

    assert in_bulk(engine, sessions, process, len(operations)) == one_by_one(engine, process, len(operations))


def test_a_table_with_rules_takes_the_ordinary_way(engine: Engine) -> None:
    assert isinstance(row(engine, Ruled()), Row)
    with engine.begin() as connection:
        connection.execute(text("CREATE RULE nothing AS ON INSERT TO ruled DO INSTEAD NOTHING"))
    assert row(engine, Ruled()) is None


def test_it_can_be_turned_off(engine: Engine) -> None:
    session = open_sessions(engine, bulk=False)()
    session.share()
    session.begin_record(Entry("q", "s", "1-0", {}))
    session.add(Ruled())
    session.keep_record()
    assert not session.rows
    session.discard()


def row(engine: Engine, instance: object) -> Row | None:
    with engine.connect() as connection:
        plan = Plans().of(type(instance), lambda: connection)
        return None if plan is None else plan.row("1-0", instance)


@pytest.fixture(autouse=True)
def _other_schema(database_url: str) -> Iterator[None]:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{_SCHEMA}"'))
    yield
    with engine.begin() as connection:
        connection.execute(text(f'DROP SCHEMA "{_SCHEMA}" CASCADE'))
    engine.dispose()


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


Process = Callable[[Session, int], None]


def in_bulk(
    engine: Engine, sessions: "sessionmaker[DbSession]", process: Process, count: int
) -> tuple[list[object], list[tuple[Verdict, str]]]:
    empty(engine)
    entries = [Entry("q", "s", f"{number}-0", {}) for number in range(count)]
    commit = GroupCommit(
        sessions,
        lambda session, entry: process(session, int(entry.id.partition("-")[0])),
        batch_size=100,
        commit_interval_seconds=60,
        stop=NEVER,
    )
    outcomes = [(one.verdict, kind(one.error)) for outcomes in commit.run(entries) for one in outcomes]
    return rows(engine), outcomes


def one_by_one(engine: Engine, process: Process, count: int) -> tuple[list[object], list[tuple[Verdict, str]]]:
    empty(engine)
    outcomes = []
    for number in range(count):
        with Session(engine) as session:
            try:
                process(session, number)
                session.commit()
                outcomes.append((Verdict.DONE, ""))
            except Exception as error:
                session.rollback()
                outcomes.append((outcome_of(Entry("q", "s", "1-0", {}), error).verdict, kind(error)))
    return rows(engine), outcomes


def kind(error: BaseException | None) -> str:
    return "" if error is None else type(getattr(error, "orig", error)).__name__


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


def rows(engine: Engine) -> list[object]:
    """All rows in the order of their keys, but without generated ones: rolled back transactions skip numbers."""
    found: list[object] = []
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            columns = [cast(column, Text) for column in table.columns if column.name not in _GENERATED]
            query = select(literal("a row"), *columns).select_from(table).order_by(*table.primary_key)
            found.append([table.name, *map(tuple, connection.execute(query))])
    return found


def test_of_bad_rows_each_is_found_without_running_any_record_again(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    runs: list[int] = []

    def process(session: Session, number: int) -> None:
        runs.append(number)
        session.add(Parent(name=None if number % 10 == 5 else "good"))
        session.add(Wide(big=number % 30, by_sql="given"))

    expected = one_by_one(engine, process, 40)
    in_bulk(engine, sessions, process, 1)
    runs.clear()
    assert in_bulk(engine, sessions, process, 40) == expected
    assert runs == list(range(40))


def test_of_rows_that_commit_would_refuse_each_is_found_without_running_any_record_again(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    runs: list[int] = []

    def process(session: Session, number: int) -> None:
        runs.append(number)
        session.add(Late(number=number % 30))
        session.add(Wide(big=number, by_sql="given"))

    expected = one_by_one(engine, process, 40)
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
    engine: Engine, sessions: "sessionmaker[DbSession]", records: list[list[dict[str, Any] | int]]
) -> None:
    def process(session: Session, number: int) -> None:
        for one in records[number]:
            session.add(Late(number=one) if isinstance(one, int) else LateKeys(**{"must": "given", **one}))

    in_bulk(engine, sessions, lambda session, _: session.add(LateKeys(must="given")), 1)  # so that nothing is looked up
    assert in_bulk(engine, sessions, process, len(records)) == one_by_one(engine, process, len(records))


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
    engine: Engine, sessions: "sessionmaker[DbSession]", records: list[Base], setup: str
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

    expected = one_by_one(engine, process, len(given))
    in_bulk(engine, sessions, process, len(given))  # so that nothing is looked up
    runs.clear()
    assert in_bulk(engine, sessions, process, len(given)) == expected
    assert runs == list(range(len(given)))

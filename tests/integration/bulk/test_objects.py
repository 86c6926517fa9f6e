"""Whatever a handler does with its objects, a batch that is copied comes to the same."""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Engine,
    func,
    inspect,
    select,
)  # fmt: skip
from sqlalchemy.orm import (
    Session,
    object_session,
)  # fmt: skip

from streamfea.database.session.session import Sessions
from tests.support.bulk_tables import (
    Cage,
    Child,
    Dog,
    Elsewhere,
    Late,
    Listened,
    Natural,
    Parent,
    Percent,
    Validated,
    Versioned,
    Zoo,
)
from tests.support.bulk_ways import each_alone, in_bulk

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "200"))


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
    engine: Engine, sessions: Sessions, operations: list[list[Callable[[Session], None]]]
) -> None:
    def process(session: Session, number: int) -> None:
        for operation in operations[number]:
            operation(session)

    assert in_bulk(engine, sessions, process, len(operations)) == each_alone(engine, process, len(operations))

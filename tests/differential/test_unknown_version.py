"""With a version of SQLAlchemy that is not known, records take the plain way, and are written all the same."""

import sys
from collections.abc import Iterator
from inspect import isfunction
from typing import NoReturn

import pytest
import sqlalchemy

from streamfea.orm import internals, lazy_state
from tests.differential import (
    kinds_of_defaults,
    kinds_of_listeners,
    kinds_of_objects,
    kinds_of_sessions,
    kinds_of_tables,
)
from tests.differential.ways import WAYS, Kind, plain_loop

# Every third: each takes a transaction for each record, and none may need what is not known.
_KINDS = {
    kind.name: kind
    for module in (kinds_of_defaults, kinds_of_listeners, kinds_of_objects, kinds_of_sessions, kinds_of_tables)
    for kind in module.KINDS[::3]
}
# What takes the fast path with a version that is known, and what never does.
_WAYS = {name: WAYS[name] for name in ("copy", "exactly once", "alone")}


def _gone(*_: object) -> NoReturn:
    raise AttributeError("a private part of SQLAlchemy is gone")


@pytest.fixture
def unknown_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a version without any of the private parts."""
    gone = {found for name, found in vars(internals).items() if isfunction(found) and name != "is_known"}
    for module in [module for name, module in sys.modules.items() if name.startswith("streamfea.")]:
        for name, value in list(vars(module).items()):
            if isfunction(value) and value in gone:
                monkeypatch.setattr(module, name, _gone)
    internals.VERSIONS.look_at("2.2.0")
    lazy_state._given_at_once.cache_clear()  # of models that another test has used with the installed version
    yield
    internals.VERSIONS.look_at(sqlalchemy.__version__)
    lazy_state._given_at_once.cache_clear()


@pytest.mark.usefixtures("unknown_version")
@pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # what careless handlers do is warned of, rightly
def test_a_batch_is_as_the_plain_loop_with_a_version_that_is_not_known(kind: Kind, database_url: str) -> None:
    kind.make_tables(database_url)
    plain = kind.see(plain_loop, database_url)
    assert (plain.rows, plain.failed) == (list(kind.expected), kind.failed)
    for name, way in _WAYS.items():
        seen = kind.see(way, database_url)
        if name == "exactly once" and kind.not_exactly_once is not None:
            assert (name, seen.failed) == (name, kind.not_exactly_once)
        else:
            assert (name, seen) == (name, plain)

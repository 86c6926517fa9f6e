"""Whatever a handler does, it cannot tell a batch from a session and a transaction of each record's own."""

import pytest

from tests.differential import (
    kinds_of_additions,
    kinds_of_commits,
    kinds_of_defaults,
    kinds_of_drivers,
    kinds_of_listeners,
    kinds_of_lookups,
    kinds_of_objects,
    kinds_of_sessions,
    kinds_of_statements,
    kinds_of_tables,
)
from tests.differential.ways import WAYS, Kind, in_batch, plain_batch, plain_loop

_KINDS = {
    kind.name: kind
    for module in (
        kinds_of_additions,
        kinds_of_commits,
        kinds_of_defaults,
        kinds_of_listeners,
        kinds_of_lookups,
        kinds_of_objects,
        kinds_of_sessions,
        kinds_of_statements,
        kinds_of_tables,
        kinds_of_drivers,
    )
    for kind in module.KINDS
}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = _KINDS[request.param]
    return kind


@pytest.mark.parametrize("kind", _KINDS, indirect=True)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # what careless handlers do is warned of, rightly
def test_a_batch_is_as_the_plain_loop(kind: Kind, database_url: str) -> None:
    kind.make_tables(database_url)
    plain = kind.see(plain_loop, database_url)
    assert (plain.rows, plain.failed) == (list(kind.expected), kind.failed)
    for name, way in WAYS.items():
        seen = kind.see(way, database_url)
        if "exactly once" in name and kind.not_exactly_once is not None:
            assert (name, seen.failed) == (name, kind.not_exactly_once)
        else:
            assert (name, seen) == (name, plain)


@pytest.mark.parametrize("kind", _KINDS, indirect=True)
@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # as above
def test_a_batch_of_the_handlers_own_is_as_a_session_for_all_records(kind: Kind, bulk: bool, database_url: str) -> None:
    kind.make_tables(database_url)
    plain, seen = kind.see(plain_batch, database_url), kind.see(in_batch(bulk=bulk), database_url)
    assert (seen.rows, seen.failed) == (plain.rows, plain.failed)

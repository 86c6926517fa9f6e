"""With a version of SQLAlchemy that is not known, records take the plain way, and are written all the same."""

from collections.abc import Iterator

import pytest
import sqlalchemy

from streamfea.orm import internals
from tests.differential import kinds_of_listeners, kinds_of_objects, kinds_of_sessions, kinds_of_tables
from tests.differential.ways import WAYS, Kind, plain_loop

# Every third: each takes a transaction for each record, and none may need what is not known.
_KINDS = {
    kind.name: kind
    for module in (kinds_of_listeners, kinds_of_objects, kinds_of_sessions, kinds_of_tables)
    for kind in module.KINDS[::3]
}


@pytest.fixture
def unknown_version() -> Iterator[None]:
    internals.look_at_version("2.2.0")
    yield
    internals.look_at_version(sqlalchemy.__version__)


@pytest.mark.usefixtures("unknown_version")
@pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # what careless handlers do is warned of, rightly
def test_a_batch_is_as_the_plain_loop_with_a_version_that_is_not_known(kind: Kind, database_url: str) -> None:
    kind.make_tables(database_url)
    plain = kind.see(plain_loop, database_url)
    assert (plain.rows, plain.failed) == (list(kind.expected), kind.failed)
    for name, way in list(WAYS.items())[:2]:
        assert (name, kind.see(way, database_url)) == (name, plain)

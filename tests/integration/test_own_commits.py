"""A handler's own commits in a running `consume`: savepoints in the batch's transaction, where nobody can tell."""

import pytest

from tests.support.places import Place

_HANDLER = """
from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column
from streamfea.model import Base

class Event(Base):
    __tablename__ = "own_commits"
    id: Mapped[int] = mapped_column(primary_key=True)
    transaction: Mapped[str]

def process(dbsession, record: {annotation}):
    dbsession.execute(text("INSERT INTO own_commits (transaction) VALUES (pg_current_xact_id()::text)"))
    dbsession.commit()
    {after}
"""


def transactions(place: Place, **parts: str) -> int:
    place.handler(_HANDLER.format(**parts), workers=1)
    place.put(*({"n": number} for number in range(40)))
    place.run("consume", "--until-empty", "--create-tables")
    found = place.rows("SELECT transaction FROM own_commits")
    assert len(found) == 40
    return len(set(found))


@pytest.mark.parametrize("annotation", ["bytes", "dict"])
def test_a_commit_that_is_a_records_last_deed_shares_its_batchs_transaction(place: Place, annotation: str) -> None:
    assert transactions(place, annotation=annotation, after="return") < 10


def test_a_commit_that_more_follows_has_a_transaction_of_its_own(place: Place) -> None:
    assert transactions(place, annotation="bytes", after="len(record)") == 40

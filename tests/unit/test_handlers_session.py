"""What handlers find on their session: SQLAlchemy's names, and few of streamfea's."""

from sqlalchemy.orm import Session

from streamfea.database.session.session import DbSession
from streamfea.model import DbSession as DbSessionOfHandlers


def test_it_has_what_sqlalchemys_has_and_three_names_more() -> None:
    theirs = {name for name in dir(Session()) if not name.startswith("_")}
    ours = {name for name in {*dir(DbSession()), *DbSession.__annotations__} if not name.startswith("_")}
    assert ours - theirs == {"entry", "entries", "chunked_query"}
    assert theirs <= ours


def test_handlers_import_it_beside_their_models() -> None:
    assert DbSessionOfHandlers is DbSession

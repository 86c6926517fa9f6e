"""The plain loop that everything is held against: a session and a transaction for each record."""

from collections.abc import Callable, Sequence

import psycopg
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import Session

from streamfea.core.entry import Entry
from streamfea.worker.policy import Outcome, Verdict, outcome_of

__all__ = ["commit_plainly", "is_aborted", "one_by_one"]


def one_by_one(
    sessions: Callable[[], Session], process: Callable[[Session, Entry], object], entries: Sequence[Entry]
) -> list[Outcome]:
    """Run every entry in a session and a transaction of its own."""
    outcomes = []
    for entry in entries:
        with sessions() as session:
            try:
                process(session, entry)
                lost = is_aborted(session)  # then COMMIT would roll back and say nothing
                commit_plainly(session)
                outcomes.append(Outcome(entry, Verdict.FAILED if lost else Verdict.DONE))
            except Exception as error:
                session.rollback()
                outcomes.append(outcome_of(entry, error))
    return outcomes


def commit_plainly(session: Session) -> None:
    """Commit; a handler that has seen a row refused, and returns, takes its record for one that is in already."""
    try:
        session.commit()
    except PendingRollbackError as error:
        if "Violation)" not in str(error):
            raise
        session.rollback()


def is_aborted(session: Session) -> bool:
    """Tell whether PostgreSQL takes no more statements in the session's transaction."""
    if not session.in_transaction() or not session.is_active:
        return False
    driver = session.connection().connection.dbapi_connection
    return bool(driver.info.transaction_status == psycopg.pq.TransactionStatus.INERROR)  # type: ignore[union-attr]  # psycopg's

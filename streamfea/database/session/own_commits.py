"""Handlers that commit by themselves, in a transaction that many records share.

A commit is a COMMIT that the server has to put on its disk, and most of what such a record costs. Here it writes what
the record has done, behind a savepoint, and the batch's transaction commits it with the others. That can be told only
by what happens between the commit and the record's end. With exactly-once nothing is committed before that, anyhow;
else the commit has to be the last thing that the handler does.
"""

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from streamfea.core.last_deed import is_last_deed
from streamfea.database.connection.errors import Fault, whose_fault
from streamfea.database.session.account import Effect
from streamfea.database.session.stops import OwnTransactionRequired
from streamfea.model import remember
from streamfea.orm.internals import deleted_in

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["OwnCommits"]

# Where the worker calls handlers from.
_WORKER = "streamfea.worker"


class OwnCommits:
    """The commits and rollbacks of the records that share a session's transaction.

    Raises `OwnTransactionRequired` for those that only a transaction of the record's own can do.
    """

    def __init__(self, session: "DbSession") -> None:
        self._session = session
        # Whether they end nothing, wherever the handler does them.
        self.are_inside = False
        # Whether a commit has failed and was not followed by a rollback.
        self.is_refused = False

    def commit(self) -> None:
        """Write what the record has done, so that only the batch's commit is missing; raises what a commit would."""
        session = self._session
        is_last = self.are_inside or is_last_deed(sys._getframe(3), _WORKER)  # above `on_commit()` and `commit()`
        if not is_last or self.is_refused or session.in_nested_transaction() or session._put_off.has_others:
            self._leave()
        if self._has_changed():  # which SQLAlchemy would flush before it sets a savepoint
            self._leave()
        had_sent = session._account.effect is not Effect.NONE
        session._put_off.write_rows_first()
        session._account.note(Effect.SQL)
        try:
            self._write()
        except DBAPIError as error:
            if had_sent or whose_fault(error) is not Fault.RECORD:
                self._leave()
            self._forget()
            raise
        remember(session)
        session.expire_all()

    def rollback(self) -> None:
        """Forget what the record has done since its last commit, if PostgreSQL has not seen it."""
        session = self._session
        if not self.is_refused and (session._account.effect is not Effect.NONE or session._new_rows.ordinary):
            self._leave()
        self.is_refused = False
        session._new_rows.forget_aside()
        session._new_rows.forget_rows(session.entry.id)
        session._put_off.statements.leave_out([session.entry.id])
        session.expire_all()

    def end_record(self) -> None:
        """Note that only a transaction of its own tells what becomes of a record that went on, see `refuse_more()`."""
        session = self._session
        if self.is_refused and (session._new_rows.has_new or session._put_off):
            session._account.note(Effect.LEFT)

    def refuse_more(self) -> None:
        """Stop a record that goes on after a commit that has failed, as SQLAlchemy does, unless it has rolled back."""
        if self.is_refused:
            self._leave()

    def _has_changed(self) -> bool:
        session: Any = self._session
        return bool(deleted_in(session) or session.identity_map.check_modified())

    def _write(self) -> None:
        session = self._session
        if not session._new_rows.has_new and not session._put_off.has_held:
            session._put_off.send(behind_savepoint=True)
            return
        with session._new_rows.out_of_sight():  # for the same reason
            savepoint = Session.begin(session, nested=True)
        try:
            session._put_off.send()
            session.flush()
            session._deferred_constraints.check(session._connected())
        except BaseException:
            savepoint.rollback()
            raise
        savepoint.commit()

    def _forget(self) -> None:
        """Note that the commit has failed, and that nothing is left of what it was to write."""
        statements = self._session._put_off.statements
        statements.leave_out([self._session.entry.id])
        statements.culprit = None
        self.is_refused = True

    def _leave(self) -> NoReturn:
        self._session._account.note(Effect.LEFT)
        raise OwnTransactionRequired

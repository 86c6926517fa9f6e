"""What happens in Redis once a transaction has ended.

| outcome | in Redis | if we die before that |
|---|---|---|
| done | acknowledged, last error dropped | delivered again: done twice, or with exactly-once a duplicate |
| duplicate | acknowledged, last error dropped | delivered again, a duplicate again |
| failed, deliveries left | last error kept, claimed again after the back-off | delivered again, the try counts |
| postponed, deliveries left | the same, after the delay that the handler named | delivered again, the try counts |
| failed or postponed, no deliveries left | dead letter, reason `failed` | delivered once more, then a dead letter |
| rejected | dead letter, reason `rejected` | delivered again, then a dead letter |
| without a record | dead letter, reason `no-record` | delivered again, then a dead letter |
| its run killed the process, none left | dead letter, reason `crashed` or `timeout` | claimed, then a dead letter |

Each line is one step on the server, so there is nothing in between.
"""

import traceback
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from streamfea.durations import to_ms
from streamfea.entry import Entry
from streamfea.streams.deadletters import Reason, provenance
from streamfea.streams.group import Claimed, Group
from streamfea.streams.lasterror import LastError
from streamfea.work.policy import Outcome, Verdict, retry_delay

__all__ = ["Reason", "Settlement"]

log = structlog.get_logger(__name__)

_LONGEST_ERROR = 4_096
_LONGEST_TRACEBACK = 16_384
_DONE = (Verdict.DONE, Verdict.DUPLICATE)


class Settlement:
    """Writes down in Redis what became of the entries of one queue."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._queue = group.queue

    def settle(self, outcomes: Sequence[Outcome], *, retried: bool) -> None:
        """Acknowledge, postpone or bury; `retried` entries may have a last error that goes with them."""
        done = [outcome.entry.id for outcome in outcomes if outcome.verdict in _DONE]
        if done and retried:
            self._group.acknowledge_retried(done)
        elif done:
            self._group.acknowledge(done)
        for outcome in outcomes:
            if outcome.verdict not in _DONE:
                self._settle_failure(outcome)

    def bury_without_record(self, entry: Entry, problem: str) -> None:
        """Bury an entry that holds no record."""
        self._bury(entry, "no-record", LastError("NoRecord", problem))

    def settle_death(self, claimed: Claimed, reason: Reason, how: str) -> None:
        """Postpone or bury an entry in whose own run the process died."""
        last_error = LastError("ProcessDied", f"the worker died while this record ran alone: {how}")
        entry = Entry(self._queue.name, self._queue.stream, claimed.id, {}, claimed.deliveries)
        if claimed.deliveries >= self._queue.max_deliveries:
            self._bury(entry, reason, last_error)
        else:
            self._postpone(Outcome(entry, Verdict.FAILED), last_error)

    def _settle_failure(self, outcome: Outcome) -> None:
        last_error = _last_error(outcome.error)
        if outcome.verdict is Verdict.REJECTED:
            self._bury(outcome.entry, "rejected", last_error)
        elif outcome.entry.deliveries >= self._queue.max_deliveries:
            self._bury(outcome.entry, "failed", last_error)
        else:
            self._postpone(outcome, last_error)

    def _postpone(self, outcome: Outcome, last_error: LastError) -> None:
        delay = retry_delay(outcome, self._queue.backoff)
        now_ms = self._group.now_ms()
        self._group.postpone(outcome.entry.id, last_error.due(failed_at_ms=now_ms, due_ms=now_ms + to_ms(delay)))
        log.debug("record will be tried again", entry=outcome.entry.id, error=last_error.summary, delay=str(delay))

    def _bury(self, entry: Entry, reason: Reason, last_error: LastError) -> None:
        origin = provenance(
            self._queue,
            entry.id,
            consumer=self._group.consumer,
            deliveries=entry.deliveries,
            reason=reason,
            last_error=last_error,
            failed_at_ms=self._group.now_ms(),
        )
        if self._group.bury(entry, origin):
            log.warning("record moved to the dead letters", entry=entry.id, reason=reason, error=last_error.summary)


def _last_error(error: BaseException | None) -> LastError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    frames = "".join(traceback.format_exception(error)) if error is not None else ""
    return LastError(type(cause).__name__, _printable(_message(cause)), _printable(frames[-_LONGEST_TRACEBACK:]))


def _message(error: BaseException | None) -> str:
    """Return what an exception says, which may hold a whole record, or fail itself."""
    try:
        text = str(error).strip()
    except Exception as failure:
        return f"its text could not be made: {type(failure).__name__}"
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def _printable(text: str) -> str:
    """Return `text` without lone surrogates, which a record may contain and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

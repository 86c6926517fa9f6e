"""Carries out the outcomes of a transaction in Redis.

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

Each line is one step on the server, so there is nothing in between; the steps of a batch are sent at once.
"""

import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from streamfea.core.durations import format_duration, to_ms
from streamfea.core.entry import Entry
from streamfea.observe.events import Failure, Observer, RecordsBuried, RecordsPostponed
from streamfea.streams.consuming.group import Claimed, GroupConsumer
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import Reason, provenance
from streamfea.worker.policy import Outcome, Verdict, retry_delay

__all__ = ["Reason", "Settlement"]

# An entry, why it is a dead letter, and its last error.
_Dead = tuple[Entry, Reason, LastError]

_LONGEST_ERROR = 4_096
_LONGEST_TRACEBACK = 16_384
_LONGEST_CHAIN = 50
_DONE = (Verdict.DONE, Verdict.DUPLICATE)


class Settlement:
    """Writes down in Redis what became of the entries of one queue; `acknowledge` does so for the usual ones."""

    def __init__(
        self,
        group: GroupConsumer,
        acknowledge: Callable[[Sequence[str]], None],
        max_deliveries: int,
        backoff: timedelta,
        observe: Observer,
    ) -> None:
        self._group = group
        self._acknowledge = acknowledge
        self._ref = group.ref
        self._max_deliveries = max_deliveries
        self._backoff = backoff
        self._observe = observe

    def settle(self, outcomes: Sequence[Outcome], *, retried: bool) -> None:
        """Acknowledge, postpone or bury; `retried` entries may have a last error that goes with them."""
        done = [outcome.entry.id for outcome in outcomes if outcome.verdict in _DONE]
        if done and retried:
            self._group.acknowledge_retried(done)
        elif done:
            self._acknowledge(done)
        failed = [outcome for outcome in outcomes if outcome.verdict not in _DONE]
        if failed:
            self._settle_failed(failed)

    def bury_without_record(self, entry: Entry, problem: str) -> None:
        """Bury an entry that holds no record."""
        self._bury([(entry, "no-record", LastError.of("NoRecord", problem))], self._group.now_ms())

    def settle_death(self, claimed: Claimed, reason: Reason, how: str) -> None:
        """Postpone or bury an entry in whose own run the process died."""
        last_error = LastError.of("ProcessDied", f"the worker died while this record ran alone: {how}")
        entry = Entry(self._ref.queue, self._ref.stream, claimed.id, {}, claimed.deliveries)
        if claimed.deliveries >= self._max_deliveries:
            self._bury([(entry, reason, last_error)], self._group.now_ms())
        else:
            self._postpone([(Outcome(entry, Verdict.FAILED), last_error)], self._group.now_ms())

    def _settle_failed(self, failed: Sequence[Outcome]) -> None:
        dead: list[_Dead] = []
        postponed: list[tuple[Outcome, LastError]] = []
        for outcome in failed:
            last_error = _last_error(outcome.error)
            if outcome.verdict is Verdict.REJECTED:
                dead.append((outcome.entry, "rejected", last_error))
            elif outcome.entry.deliveries >= self._max_deliveries:
                dead.append((outcome.entry, "failed", last_error))
            else:
                postponed.append((outcome, last_error))
        now_ms = self._group.now_ms()
        if dead:
            self._bury(dead, now_ms)
        if postponed:
            self._postpone(postponed, now_ms)

    def _postpone(self, failed: Sequence[tuple[Outcome, LastError]], now_ms: int) -> None:
        delays = [retry_delay(outcome, self._backoff) for outcome, _ in failed]
        due = [
            (outcome.entry.id, last_error.due(failed_at_ms=now_ms, due_ms=now_ms + to_ms(delay)))
            for (outcome, last_error), delay in zip(failed, delays, strict=True)
        ]
        self._group.postpone(due, now_ms)
        failures = [
            _failure(entry_id, last_error, format_duration(delay))
            for (entry_id, last_error), delay in zip(due, delays, strict=True)
        ]
        self._observe(RecordsPostponed(self._ref.queue, failures))

    def _bury(self, dead: Sequence[_Dead], now_ms: int) -> None:
        provenances = [(letter[0], self._provenance(letter, now_ms)) for letter in dead]
        failures = [
            _failure(entry.id, last_error, reason)
            for (entry, reason, last_error), buried in zip(dead, self._group.bury(provenances), strict=True)
            if buried
        ]
        if failures:
            self._observe(RecordsBuried(self._ref.queue, failures))

    def _provenance(self, dead: _Dead, failed_at_ms: int) -> dict[str, str | int]:
        entry, reason, last_error = dead
        return provenance(
            self._ref,
            entry.id,
            consumer=self._group.consumer,
            deliveries=entry.deliveries,
            reason=reason,
            last_error=last_error,
            failed_at_ms=failed_at_ms,
        )


def _failure(entry_id: str, last_error: LastError, then: str) -> Failure:
    return Failure(entry_id, last_error.type, last_error.summary, last_error.where, then)


def _last_error(error: BaseException | None) -> LastError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    frames = _printable(_traceback(error)[-_LONGEST_TRACEBACK:]) if error is not None else ""
    kind, message = type(cause).__name__, _printable(_message(cause))
    return LastError.of(kind, message, frames, by_postgresql=cause is not error)


def _message(error: BaseException | None) -> str:
    """Return the text of an exception, which may contain a whole record, or fail itself."""
    try:
        text = str(error).strip()
    except Exception as failure:
        return f"its text could not be made: {type(failure).__name__}"
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def _traceback(error: BaseException) -> str:
    """Return the traceback of the last exceptions in a chain of any length.

    But for the carets under each line: to find their places takes most of the time.
    """
    parts: list[str] = []
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen and len(seen) < _LONGEST_CHAIN:
        seen.add(id(link))
        if isinstance(link, BaseExceptionGroup):
            parts.append("".join(traceback.format_exception(link)))
            break
        parts.append(_traceback_of_one(link))
        origin, joint = link.__cause__, "The above exception was the direct cause of the following exception:"
        if origin is None and not link.__suppress_context__:
            origin, joint = link.__context__, "During handling of the above exception, another exception occurred:"
        if origin is not None and id(origin) not in seen:
            parts.append(f"\n{joint}\n\n")
        link = origin
    return "".join(reversed(parts))


def _traceback_of_one(error: BaseException) -> str:
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False).format()
    head = ["Traceback (most recent call last):\n"] if frames else []
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    message = _message(error)
    notes = [f"{note}\n" for note in getattr(error, "__notes__", ())]
    return "".join([*head, *frames, f"{name}: {message}\n" if message else f"{name}\n", *notes])


def _printable(text: str) -> str:
    """Return `text` without lone surrogates, which a record may contain and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

"""Makes pending entries due at once, or moves them to the dead letters."""

from collections.abc import Iterable, Iterator, Sequence

from redis import Redis

from streamfea.admin.job import Job, slices
from streamfea.config.sections import Queue
from streamfea.core.advice import Advice
from streamfea.core.durations import format_duration
from streamfea.core.printable import printable
from streamfea.core.wording import counted, human_ms, listed
from streamfea.errors import StreamfeaError
from streamfea.streams.operating.causes import entries_of_cause
from streamfea.streams.operating.pending import PendingFilter, pending_entries
from streamfea.streams.operating.retry_and_reject import Intervention, consumers_not_at_work, make_due, reject
from streamfea.streams.operating.status import queue_status

__all__ = ["RejectPending", "RetryPending"]

_AT_ONCE = 200


class RetryPending(Job):
    """Makes pending entries due now: those with these ids, those that failed of this `cause`, or all.

    A worker takes them within a second. What a worker may be running at this moment is left to it, or it would be done
    twice; with `force` it is not.
    """

    doing = "making due"

    def __init__(
        self, client: Redis, queue: Queue, ids: Sequence[str] | None, *, cause: str | None = None, force: bool = False
    ) -> None:
        self._client = client
        self._queue = queue
        self._ids = ids
        self._cause = cause
        self._force = force
        self.due = 0
        """How many entries are due now."""
        self.in_hand: list[Intervention] = []
        """Entries that were left to the workers that may be running them."""
        self.not_pending: list[str] = []
        """Ids that are not pending, or not any more."""
        self.lacks_worker = False
        """Whether no worker is there to take the entries."""

    def so_far(self) -> str:
        """Return how many entries are due."""
        return f"{counted(self.due, 'entry is', 'entries are')} due now"

    def _steps(self) -> Iterator[int]:
        not_at_work = consumers_not_at_work(self._client, self._queue.ref)
        figures = queue_status(self._client, self._queue)
        self.lacks_worker = figures.consumers <= len(not_at_work)
        self.total = figures.pending if self._ids is None else len(self._ids)
        ref, claim_idle = self._queue.ref, self._queue.claim_idle
        for part in slices(self._wanted(), _AT_ONCE):
            self._note(make_due(self._client, ref, claim_idle, part, not_at_work, force=self._force))
            yield len(part)

    def _wanted(self) -> Iterable[str]:
        if self._ids is not None:
            return self._ids
        if self._cause is not None:
            return entries_of_cause(self._client, self._queue.ref, self._cause)
        found = pending_entries(self._client, self._queue.ref, self._queue.claim_idle, PendingFilter())
        return (entry.id for entry in found)

    def _note(self, interventions: Iterable[Intervention]) -> None:
        for intervention in interventions:
            if intervention.result == "due":
                self.due += 1
            elif intervention.in_hand:
                self.in_hand.append(intervention)
            elif self._ids is not None:  # of all, others may acknowledge some meanwhile
                self.not_pending.append(intervention.id)

    @property
    def left_to_workers(self) -> Advice | None:
        """What there is to say of entries that were left to workers."""
        if not self.in_hand:
            return None
        return Advice(
            f"{_named(self.in_hand)} may be running right now and stays with its worker, or it would be done twice",
            remedy=f"if the worker is dead, others take over {format_duration(self._queue.claim_idle)} after it was "
            "heard of last, or at once with --force",
        )

    def fail_if_undone(self) -> None:
        """Raise `StreamfeaError` when entries that were named are not due."""
        left = self.left_to_workers if self._ids is not None else None
        _fail_if_any(self._queue, [left, _not_pending(self._queue, self.not_pending)])


class RejectPending(Job):
    """Moves pending entries to the dead letters, reason `rejected`, with their fields and last error."""

    doing = "rejecting"

    def __init__(self, client: Redis, queue: Queue, ids: Sequence[str]) -> None:
        self._client = client
        self._queue = queue
        self._ids = ids
        self.rejected = 0
        """How many entries are dead letters now."""
        self.in_hand: list[Intervention] = []
        """Entries of these that a worker may be running all the same."""
        self.not_pending: list[str] = []
        """Ids that are not pending, or not any more."""

    def so_far(self) -> str:
        """Return how many entries were moved."""
        return f"{counted(self.rejected, 'entry', 'entries')} moved to the dead letters"

    def _steps(self) -> Iterator[int]:
        self.total = len(self._ids)
        not_at_work = consumers_not_at_work(self._client, self._queue.ref)
        for entry_id in self._ids:
            self._note(reject(self._client, self._queue.ref, self._queue.claim_idle, entry_id, not_at_work))
            yield 1

    def _note(self, intervention: Intervention) -> None:
        if intervention.result == "rejected":
            self.rejected += 1
        else:
            self.not_pending.append(intervention.id)
        if intervention.in_hand:
            self.in_hand.append(intervention)

    @property
    def still_running(self) -> Advice | None:
        """What there is to say of entries that a worker may be running."""
        if not self.in_hand:
            return None
        return Advice(
            f"a worker may be running {_named(self.in_hand)} right now; if that run commits, its rows are there "
            "although it is a dead letter",
            remedy="look for them before you replay it",
        )

    def fail_if_undone(self) -> None:
        """Raise `StreamfeaError` when entries that were named are not pending."""
        _fail_if_any(self._queue, [_not_pending(self._queue, self.not_pending)])


def _not_pending(queue: Queue, ids: Sequence[str]) -> Advice | None:
    if not ids:
        return None
    is_not = "is not" if len(ids) == 1 else "are not"
    return Advice(f"{listed(ids)} {is_not} pending", remedy=f"`streamfea show {queue.name} {ids[0]}` tells more")


def _named(entries: Sequence[Intervention]) -> str:
    return listed([f"{entry.id} ({printable(entry.consumer)}, {human_ms(entry.idle_ms)} ago)" for entry in entries])


def _fail_if_any(queue: Queue, problems: Iterable[Advice | None]) -> None:
    found = [problem for problem in problems if problem is not None]
    if found:
        message = "; ".join(problem.message for problem in found)
        remedy = "; ".join(problem.remedy for problem in found)
        raise StreamfeaError(f"queue {queue.name}: {message}", remedy=remedy)

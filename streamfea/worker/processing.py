"""Runs entries through the handler, and settles what became of them."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from streamfea.core.entry import Entry
from streamfea.core.record_field import RecordField
from streamfea.observe.events import BatchCommitted, Observer
from streamfea.worker.batch_size import AdaptiveBatchSize
from streamfea.worker.held import Held
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Outcome, Verdict
from streamfea.worker.redis_side import RedisSide
from streamfea.worker.slices import Spent
from streamfea.worker.stopwatch import Stopwatch

__all__ = ["Processing"]


class Processing:
    """The pipeline of a worker, with settlement behind it.

    New entries run together, and their outcomes are settled as their transactions end; a batch may still commit when
    `run()` returns. `finish()` waits for that.
    """

    def __init__(
        self,
        pipeline: GroupCommit,
        redis: RedisSide,
        held: Held,
        field: RecordField,
        batch_size: AdaptiveBatchSize,
        observe: Observer,
    ) -> None:
        self._pipeline = pipeline
        self._redis = redis
        self._held = held
        self._field = field
        self._batch_size = batch_size
        self._observe = observe
        self._queue = redis.group.ref.queue
        # How many records have been committed.
        self.done = 0

    @property
    def is_committing(self) -> bool:
        """Whether a batch still commits."""
        return self._pipeline.is_committing

    def run(self, entries: Sequence[Entry]) -> None:
        """Run new entries together; those without a record are settled."""
        ready = self._with_records(entries)
        if not ready:
            return
        started = time.monotonic()
        self._pipeline.submit(ready, self._settle)
        size = sum(map(len, chain.from_iterable(entry.fields.values() for entry in ready)))
        self._batch_size.observe(len(ready), time.monotonic() - started, size)

    def run_alone(self, entry: Entry) -> None:
        """Run an entry that was delivered before; raises `WorldFaultError` when PostgreSQL is away."""
        if ready := self._with_records([entry]):
            self._pipeline.submit(ready, self._settle_retried, alone=True)

    def finish(self) -> None:
        """Settle what still commits, and wait until all that is settled is acknowledged."""
        self._pipeline.finish(self._settle)
        self._redis.confirm()

    def _settle(self, outcomes: Sequence[Outcome], spent: Spent) -> None:
        self._settle_all(outcomes, spent, retried=False)

    def _settle_retried(self, outcomes: Sequence[Outcome], spent: Spent) -> None:
        self._settle_all(outcomes, spent, retried=True)

    def _settle_all(self, outcomes: Sequence[Outcome], spent: Spent, *, retried: bool) -> None:
        # First of all, so that nothing is renewed once it is settled.
        self._held.drop(outcome.entry.id for outcome in outcomes)
        committed_at, watch = time.time(), Stopwatch()
        self._redis.settle(outcomes, retried=retried)
        done = [outcome.entry.id for outcome in outcomes if outcome.verdict is Verdict.DONE]
        verdicts = Counter(outcome.verdict for outcome in outcomes if outcome.verdict is not Verdict.DONE)
        self.done += len(done)
        self._observe(
            BatchCommitted(
                self._queue,
                done=done,
                duplicates=verdicts[Verdict.DUPLICATE],
                failed=verdicts[Verdict.FAILED] + verdicts[Verdict.POSTPONED],
                rejected=verdicts[Verdict.REJECTED],
                retried=retried,
                committed_at=committed_at,
                run_seconds=spent.running,
                write_seconds=spent.writing,
                commit_seconds=spent.committing,
                settle_seconds=watch.lap(),
            )
        )

    def _with_records(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that hold a record; settle the others."""
        if self._field.is_in_all(entries):
            return list(entries)
        ready = []
        for entry in entries:
            problem = self._field.problem(entry)
            if problem is None:
                ready.append(entry)
                continue
            self._held.drop([entry.id])
            self._redis.settle_missing(entry, problem)
        return ready

"""Entries without a stream, run through a batch by a handler."""

from collections.abc import Callable, Sequence

from streamfea.core.entry import Entry
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import DbSession, Sessions
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Outcome, Verdict
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import RunEntry, WholeBatch

__all__ = ["NEVER", "entries", "entry", "group_commit", "ids", "number_of", "run_entries", "verdicts"]

NEVER = StopSignal()


def entry(number: int) -> Entry:
    """Return the entry `NUMBER-0`."""
    return Entry("q", "s", f"{number}-0", {})


def entries(*numbers: int) -> list[Entry]:
    """Return the entries with these numbers."""
    return [entry(number) for number in numbers]


def number_of(entry: Entry) -> int:
    """Return the number in an entry's id."""
    return int(entry.id.partition("-")[0])


def group_commit(
    sessions: Sessions,
    process: RunEntry,
    process_batch: Callable[[DbSession, list[str]], None] | None = None,
    *,
    batch_size: int = 100,
    commit_interval_seconds: float = 60,
    stop: StopSignal = NEVER,
    ledger: Ledger | None = None,
    overlap: bool = False,
) -> GroupCommit:
    """Return a batch's way through a handler; `process_batch` gets the ids of entries."""
    return GroupCommit(
        sessions,
        process,
        None if process_batch is None else WholeBatch(lambda entry: entry.id, process_batch),
        batch_size=batch_size,
        commit_interval_seconds=commit_interval_seconds,
        stop=stop,
        ledger=ledger,
        overlap=overlap,
    )


def submitted(commit: GroupCommit, entries: Sequence[Entry], *, alone: bool = False) -> list[list[Outcome]]:
    """Return the outcomes that running these entries led to, by transaction."""
    settled: list[list[Outcome]] = []
    commit.submit(entries, lambda outcomes, _: settled.append(outcomes), alone=alone)
    return settled


def finished(commit: GroupCommit) -> list[list[Outcome]]:
    """Return the outcomes of what still committed, by transaction."""
    settled: list[list[Outcome]] = []
    commit.finish(lambda outcomes, _: settled.append(outcomes))
    return settled


def run_entries(commit: GroupCommit, entries: Sequence[Entry], at_once: int = 0) -> list[Outcome]:
    """Run entries, `at_once` of them at a time or all together, to the end of the last commit."""
    outcomes: list[Outcome] = []
    step = at_once or max(1, len(entries))
    for start in range(0, len(entries), step):
        for some in submitted(commit, entries[start : start + step]):
            outcomes += some
    for some in finished(commit):
        outcomes += some
    return outcomes


def ids(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the entries' ids."""
    return [outcome.entry.id for outcome in outcomes]


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Return the verdicts alone."""
    return [outcome.verdict for outcome in outcomes]

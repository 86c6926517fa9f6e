"""`streamfea dead replay` and `purge`: back on the stream, or thrown away."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer
from redis import Redis

from streamfea.admin.job import slices
from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    OneQueueArgument,
    console,
    counted,
    open_client,
    read_settings,
)
from streamfea.cli.dead_choice import (
    AllOption,
    ErrorTypeOption,
    IdsArgument,
    MatchOption,
    ReasonOption,
    SinceOption,
    Wanted,
    refuse,
    said,
    select,
    total_of,
)
from streamfea.cli.progress import bulk
from streamfea.config.settings import Queue
from streamfea.core.printable import printable
from streamfea.streams.operating.dead_letters import NO_FIELDS, DeadLetter, purge, replay

__all__ = ["purge_letters", "replay_letters"]

# So many in one step of the server: a few milliseconds.
_REPLAY_AT_ONCE = 100
_PURGE_AT_ONCE = 500
_NAMED_AT_MOST = 5

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show exactly what would happen, and change nothing.")]


def replay_letters(
    queue: OneQueueArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    reason: ReasonOption = None,
    error_type: ErrorTypeOption = None,
    match: MatchOption = None,
    since: SinceOption = None,
    dry_run: _DryRun = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Put dead letters back at the end of the stream, as new entries with their own fields.

    Each leaves the dead letters in the same step.

    Example: streamfea dead replay events --error-type KeyError --dry-run
    """
    wanted = Wanted.of(ids, reason, error_type, match, since)
    wanted.must_be_some(everything=everything)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        if dry_run:
            _print_plan(client, chosen, wanted, "would put back", replays=True)
            return
        done = _Replayed()
        total = total_of(client, chosen, wanted)
        with bulk(total, "replaying", lambda: f"{said(done.back)} back on {chosen.stream}") as advance:
            letters, unknown = select(client, chosen, wanted, advance)
            for part in slices((letter.id for letter in letters), _REPLAY_AT_ONCE):
                done.note(part, _replay_all(client, chosen, part))
    done.tell(chosen)
    refuse(chosen, unknown, done.without_fields)


def purge_letters(
    queue: OneQueueArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    reason: ReasonOption = None,
    error_type: ErrorTypeOption = None,
    match: MatchOption = None,
    since: SinceOption = None,
    dry_run: _DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Throw dead letters away for good. Asks first.

    Example: streamfea dead purge events --reason rejected --since 7d
    """
    wanted = Wanted.of(ids, reason, error_type, match, since)
    wanted.must_be_some(everything=everything)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        if dry_run:
            _print_plan(client, chosen, wanted, "would throw away", replays=False)
            return
        with bulk(total_of(client, chosen, wanted), "looking", lambda: "nothing was changed") as advance:
            letters, unknown = select(client, chosen, wanted, advance)
            kinds = _Kinds()
            doomed = [letter.id for letter in kinds.counting(letters)]
        if doomed and not yes:
            typer.confirm(f"Throw away {kinds} of {queue} for good?", abort=True)
        purged = 0
        with bulk(len(doomed), "purging", lambda: f"{said(purged)} gone") as advance:
            for part in slices(doomed, _PURGE_AT_ONCE):
                purged += purge(client, chosen.ref, part)
                advance(len(part))
    console().print(f"{queue}: {said(purged)} gone for good.", markup=False)
    refuse(chosen, unknown)


def _replay_all(client: Redis, queue: Queue, letter_ids: Sequence[str]) -> Iterator[str]:
    """Replay all of these; yield what each has become."""
    done = 0
    while done < len(letter_ids):
        became = replay(client, queue.ref, letter_ids[done:])
        done += len(became)
        yield from became


class _Replayed:
    """What has become of letters that were to be replayed."""

    def __init__(self) -> None:
        self.back = 0
        self.without_fields: list[str] = []
        self._gone = 0
        self._first: list[tuple[str, str]] = []

    def note(self, letter_ids: Sequence[str], became: Iterable[str]) -> None:
        for letter_id, entry_id in zip(letter_ids, became, strict=True):
            if entry_id == NO_FIELDS:
                self.without_fields.append(letter_id)
            elif not entry_id:
                self._gone += 1
            else:
                self.back += 1
                if len(self._first) <= _NAMED_AT_MOST:
                    self._first.append((letter_id, entry_id))

    def tell(self, queue: Queue) -> None:
        if len(self._first) <= _NAMED_AT_MOST:
            for letter_id, entry_id in self._first:
                console().print(f"{letter_id} is back as {entry_id}")
        also = f"; {self._gone:,} were gone already" if self._gone else ""
        console().print(f"{queue.name}: {said(self.back)} back on {queue.stream}{also}.", markup=False)


class _Kinds:
    """How many letters there are of which reason and error."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()

    def counting(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """Yield the letters, counted."""
        for letter in letters:
            self._count[printable(f"{letter.reason} {letter.error_type}", one_line=True)] += 1
            yield letter

    def __str__(self) -> str:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self._count.most_common())
        return f"{counted(self._count.total(), 'dead letter', 'dead letters')}" + (f" ({kinds})" if kinds else "")


def _print_plan(client: Redis, queue: Queue, wanted: Wanted, would: str, *, replays: bool) -> None:
    """Print a line for each letter that something would happen to, as it is found, and how many there are."""
    letters, unknown = select(client, queue, wanted)
    kinds = _Kinds()
    without_fields = []
    for letter in letters:
        if replays and not letter.fields:
            without_fields.append(letter.id)
            continue
        for _ in kinds.counting([letter]):
            about = f"entry {letter.entry_id}, {letter.reason}, {letter.summary}"
            print(f"{would} {letter.id}: {printable(about, one_line=True)}")
    print(f"{queue.name}: {would} {kinds}; nothing was changed.")
    refuse(queue, unknown, without_fields)

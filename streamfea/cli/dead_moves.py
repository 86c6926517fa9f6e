"""`streamfea dead replay` and `purge`."""

from typing import Annotated

import typer
from redis import Redis

from streamfea.admin.dead_letter_search import Search, Selection
from streamfea.admin.dead_letters import (
    Kinds,
    PurgeDeadLetters,
    PurgePlan,
    ReplayDeadLetters,
    fail_if_any_is_missing,
)
from streamfea.admin.servers import open_client
from streamfea.cli.common import ConfigOption, DebugOption, OneQueueArgument, console, read_settings
from streamfea.cli.dead_choice import (
    AllOption,
    CauseOption,
    ErrorTypeOption,
    IdsArgument,
    MatchOption,
    ReasonOption,
    SinceOption,
)
from streamfea.cli.progress import run
from streamfea.config.sections import Queue
from streamfea.core.printable import printable

__all__ = ["purge_letters", "replay_letters"]

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
    cause: CauseOption = None,
    dry_run: _DryRun = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Put dead letters back at the end of the stream, as new entries with their own fields.

    Each leaves the dead letters in the same step.

    Example: streamfea dead replay events --error-type KeyError --dry-run
    """
    selection = Selection.of(ids or [], reason, error_type, match, since, cause)
    selection.must_be_some(everything=everything)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        if dry_run:
            _print_plan(client, chosen, selection, "would put back", replays=True)
            return
        job = ReplayDeadLetters(client, chosen, selection)
        run(job)
    if job.back <= _NAMED_AT_MOST:
        for letter_id, entry_id in job.first_back:
            console().print(f"{letter_id} is back as {entry_id}")
    also = f"; {job.gone:,} were gone already" if job.gone else ""
    console().print(f"{queue}: {job.so_far()}{also}.", markup=False)
    job.fail_if_undone()


def purge_letters(
    queue: OneQueueArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    reason: ReasonOption = None,
    error_type: ErrorTypeOption = None,
    match: MatchOption = None,
    since: SinceOption = None,
    cause: CauseOption = None,
    dry_run: _DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Throw dead letters away for good. Asks first.

    Example: streamfea dead purge events --reason rejected --since 7d
    """
    selection = Selection.of(ids or [], reason, error_type, match, since, cause)
    selection.must_be_some(everything=everything)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        if dry_run:
            _print_plan(client, chosen, selection, "would throw away", replays=False)
            return
        plan = PurgePlan(client, chosen, selection)
        run(plan)
        if plan.ids and not yes:
            typer.confirm(f"Throw away {plan.kinds} of {queue} for good?", abort=True)
        job = PurgeDeadLetters(client, chosen, plan.ids)
        run(job)
    console().print(f"{queue}: {job.so_far()} for good.", markup=False)
    fail_if_any_is_missing(chosen, plan.unknown)


def _print_plan(client: Redis, queue: Queue, selection: Selection, would: str, *, replays: bool) -> None:
    """Print a line for each letter that something would happen to, as it is found, and how many there are."""
    search = Search(client, queue, selection)
    kinds = Kinds()
    without_fields = []
    for letter in search:
        if replays and not letter.fields:
            without_fields.append(letter.id)
            continue
        kinds.add([letter])
        about = f"entry {letter.entry_id}, {letter.reason}, {letter.summary}"
        print(f"{would} {letter.id}: {printable(about, one_line=True)}")
    print(f"{queue.name}: {would} {kinds}; nothing was changed.")
    fail_if_any_is_missing(queue, search.unknown, without_fields)

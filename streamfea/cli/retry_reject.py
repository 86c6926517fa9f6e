"""`streamfea retry` and `reject`: getting pending entries moving."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    OneQueueArgument,
    console,
    counted,
    entry_ids,
    human_ms,
    listed,
    open_client,
    read_settings,
)
from streamfea.cli.progress import bulk, slices
from streamfea.config.settings import Queue
from streamfea.core.durations import format_duration
from streamfea.core.printable import printable
from streamfea.errors import StreamfeaError, UsageError
from streamfea.streams.operating.pending import PendingFilter, pending_entries
from streamfea.streams.operating.retry_and_reject import Unstuck, Verdict, consumers_not_at_work, make_due, reject
from streamfea.streams.operating.status import queue_status

__all__ = ["register"]

_AT_ONCE = 200


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Get moving")(retry)
    app.command("reject", rich_help_panel="Get moving")(reject_entries)


def retry(
    queue: OneQueueArgument,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Pending entries.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is pending in the queue.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what a worker may be running: it may be done twice then.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Make pending entries due now: a worker takes them within a second, without waiting for their back-off.

    What a worker may be running at this moment is left to it.

    Example: streamfea retry events --all
    """
    wanted = entry_ids(ids or [])
    if bool(wanted) == everything:
        raise UsageError("name the ids of pending entries, or --all, and not both")
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    done = _Done()
    with open_client(settings) as client:
        not_at_work = consumers_not_at_work(client, chosen.ref)
        figures = queue_status(client, chosen)
        pending = (one.id for one in pending_entries(client, chosen.ref, chosen.claim_idle, PendingFilter()))
        total = figures.pending if everything else len(wanted)
        with bulk(total, "making due", lambda: f"{done.due} due now") as advance:
            for part in slices(pending if everything else wanted, _AT_ONCE):
                done.note(make_due(client, chosen.ref, chosen.claim_idle, part, not_at_work, force=force))
                advance(len(part))
    console().print(f"{queue}: {done.due} due now.", markup=False)
    if done.count["due"] and figures.consumers <= len(not_at_work):
        console().print(f"No worker is there to take them: run `streamfea consume {queue}`.", markup=False)
    left = _left_to_workers(chosen, done.in_hand)
    if everything:
        _print_lines(left)  # others may acknowledge entries meanwhile: that is no failure
    else:
        _fail_if_any(chosen, [*left, *_not_pending(chosen, done.not_pending)])


def reject_entries(
    queue: OneQueueArgument,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Pending entries.")],
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Move pending entries to the dead letters, reason `rejected`, with their fields and last error.

    They are not tried again; `dead replay` brings them back.

    Example: streamfea reject events 1764041633000-0
    """
    wanted = entry_ids(ids)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    done = _Done()
    with open_client(settings) as client:
        not_at_work = consumers_not_at_work(client, chosen.ref)
        with bulk(len(wanted), "rejecting", lambda: f"{done.moved} moved to the dead letters") as advance:
            for one in wanted:
                done.note([reject(client, chosen.ref, chosen.claim_idle, one, not_at_work)])
                advance(1)
    console().print(f"{queue}: {done.moved} moved to the dead letters.", markup=False)
    _print_lines(_still_running(done.in_hand))
    _fail_if_any(chosen, _not_pending(chosen, done.not_pending))


class _Done:
    """What became of entries: how many, and those of which somebody has to hear."""

    def __init__(self) -> None:
        self.count: Counter[Verdict] = Counter()
        self.in_hand: list[Unstuck] = []
        self.not_pending: list[str] = []

    def note(self, results: Iterable[Unstuck]) -> None:
        for one in results:
            self.count[one.verdict] += 1
            if one.in_hand:
                self.in_hand.append(one)
            elif one.verdict == "not pending":
                self.not_pending.append(one.id)

    @property
    def due(self) -> str:
        return counted(self.count["due"], "entry is", "entries are")

    @property
    def moved(self) -> str:
        return counted(self.count["rejected"], "entry", "entries")


def _left_to_workers(queue: Queue, in_hand: Sequence[Unstuck]) -> Iterator[str]:
    if in_hand:
        yield (
            f"{_named(in_hand)} may be running right now and stays with its worker, or it would be done twice; if the "
            f"worker is dead, others take over {format_duration(queue.claim_idle)} after it was heard of last, or at "
            "once with --force"
        )


def _still_running(rejected: Sequence[Unstuck]) -> Iterator[str]:
    if rejected:
        yield (
            f"A worker may be running {_named(rejected)} right now. If that run commits, its rows are there although "
            "it is a dead letter: look for them before you replay it."
        )


def _not_pending(queue: Queue, ids: Sequence[str]) -> Iterator[str]:
    if ids:
        is_not = "is not" if len(ids) == 1 else "are not"
        yield f"{listed(ids)} {is_not} pending; `streamfea show {queue.name} {ids[0]}` tells more"


def _named(entries: Sequence[Unstuck]) -> str:
    return listed([f"{one.id} ({printable(one.consumer)}, {human_ms(one.idle_ms)} ago)" for one in entries])


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _fail_if_any(queue: Queue, problems: Iterable[str]) -> None:
    """Raise `StreamfeaError` when something that was asked for could not be done."""
    if told := "; ".join(problems):
        raise StreamfeaError(f"queue {queue.name}: {told}")

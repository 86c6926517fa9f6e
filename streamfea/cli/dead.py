"""`streamfea dead list` and `show`."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from redis import Redis

from streamfea.admin.choice import queues_and_ids
from streamfea.admin.dead_letter_search import Search, Selection, ids_of_no_letter
from streamfea.admin.dead_letters import DeadLetterListing, fail_if_any_is_missing
from streamfea.admin.entries import view_as_json
from streamfea.admin.servers import open_client
from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueAndIdsArgument,
    QueueArgument,
    console,
    new_table,
    print_json,
    read_settings,
)
from streamfea.cli.dead_choice import (
    AllOption,
    CauseOption,
    ErrorTypeOption,
    IdsArgument,
    MatchOption,
    ReasonOption,
    SinceOption,
)
from streamfea.cli.dead_moves import purge_letters, replay_letters
from streamfea.cli.progress import run
from streamfea.cli.rendering import plain, print_errors
from streamfea.cli.show import print_view
from streamfea.config.sections import Queue
from streamfea.core.wording import human_ms
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.operating.dead_letters import DeadLetter
from streamfea.streams.operating.find_entry import EntryView, view_of_letter

__all__ = ["register"]

_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    dead = typer.Typer(no_args_is_help=True)
    dead.command("list")(list_letters)
    dead.command("show")(show_letters)
    dead.command("replay")(replay_letters)
    dead.command("purge")(purge_letters)
    app.add_typer(
        dead,
        name="dead",
        help="Dead letters: list and show them, put them back on the stream, or throw them away.",
        rich_help_panel="Get moving",
    )


def list_letters(
    queue: QueueArgument = None,
    ids: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever --limit says.")] = False,
    reason: ReasonOption = None,
    error_type: ErrorTypeOption = None,
    match: MatchOption = None,
    since: SinceOption = None,
    cause: CauseOption = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Show so many at most; if not given, 100, and all with --json.", show_default=False),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """List dead letters, oldest first: what was given up, when and why; of all queues, if none is named.

    The filters combine. The last table counts the errors of all of them, those of the same type and line together.

    Example: streamfea dead list events --reason failed --since 1h
    """
    selection = Selection.of(ids or [], reason, error_type, match, since, cause)
    at_most = None if everything else limit or (None if json else _SHOWN)
    settings = read_settings(config)
    chosen = settings.select([queue] if queue else [])
    with open_client(settings) as client:
        if json:
            unknown = _print_json(client, chosen, selection, at_most)
        else:
            unknown = _print_table(client, chosen, selection, at_most)
    fail_if_any_is_missing(chosen[0], unknown)


def _print_json(client: Redis, queues: Sequence[Queue], selection: Selection, at_most: int | None) -> list[str]:
    searches = [(queue, Search(client, queue, selection)) for queue in queues]
    rows = (_as_row(queue, letter) for queue, search in searches for letter in search)
    print_json(islice(rows, at_most))
    return ids_of_no_letter([search for _, search in searches])


def _print_table(client: Redis, queues: Sequence[Queue], selection: Selection, at_most: int | None) -> list[str]:
    listing = DeadLetterListing(client, queues, selection, at_most)
    run(listing)
    _print_letters(queues, listing, server_now_ms(client))
    print_errors(listing.errors)
    return listing.unknown


def show_letters(
    queue_and_ids: QueueAndIdsArgument = None,
    everything: AllOption = False,
    reason: ReasonOption = None,
    error_type: ErrorTypeOption = None,
    match: MatchOption = None,
    since: SinceOption = None,
    cause: CauseOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show dead letters whole: fields, error and traceback; of whichever queue has them, if none is named.

    Example: streamfea dead show 1764041633000-0
    """
    settings = read_settings(config)
    queues, ids = queues_and_ids(settings, queue_and_ids or [])
    selection = Selection.of(ids, reason, error_type, match, since, cause)
    selection.must_be_some(everything=everything)
    with open_client(settings) as client:
        searches = [(queue, Search(client, queue, selection)) for queue in queues]
        views = ((queue, view_of_letter(letter)) for queue, search in searches for letter in search)
        if json:
            print_json(view_as_json(queue, view) for queue, view in views)
        else:
            _print_whole(views, server_now_ms(client))
    unknown = ids_of_no_letter([search for _, search in searches])
    fail_if_any_is_missing(queues[0] if len(queues) == 1 else None, unknown)


def _as_row(queue: Queue, letter: DeadLetter) -> dict[str, Any]:
    return {
        "queue": queue.name,
        "id": letter.id,
        "entry_id": letter.entry_id,
        "reason": letter.reason,
        "error_type": letter.error_type,
        "error": letter.error,
        "deliveries": letter.deliveries,
        "failed_at": letter.failed_at,
        "consumer": letter.consumer,
        "cause": letter.cause,
    }


def _print_letters(queues: Sequence[Queue], listing: DeadLetterListing, now_ms: int) -> None:
    if not listing.shown:
        where = queues[0].name if len(queues) == 1 else f"{len(queues):,} queues"
        console().print(f"No dead letters in {where}, or none that these filters take.", markup=False)
        return
    names = ["queue"] if len(queues) > 1 else []
    table = new_table(*names, "id", "entry", "reason", "tries", "died ago", "error", right=["tries", "died ago"])
    for column in table.columns[len(names) :][:2]:
        column.no_wrap = True  # the last gives way
    table.columns[-1].overflow = "ellipsis"
    for queue, letter in listing.shown:
        ago = human_ms(now_ms - letter.failed_at_ms)
        name = [plain(queue.name)] if names else []
        table.add_row(
            *name,
            letter.id,
            plain(letter.entry_id),
            plain(letter.reason),
            str(letter.deliveries),
            ago,
            plain(letter.error_type),
        )
    console().print(table)
    if listing.found > len(listing.shown):
        console().print(f"\n{len(listing.shown):,} of {listing.found:,} shown; --limit or --all shows more.")


def _print_whole(views: Iterable[tuple[Queue, EntryView]], now_ms: int) -> None:
    for number, (queue, view) in enumerate(views):
        if number:
            console().rule(style="dim")
        print_view(queue, view, now_ms)

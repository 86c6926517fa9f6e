"""`streamfea consume` and `streamfea shim`, which run until they are told to stop."""

import signal
from typing import Annotated

import typer

from streamfea.cli.common import ConfigOption, DebugOption, QueuesArgument, queue_argument, read_settings
from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.core.printable import without_surrogates
from streamfea.errors import ConfigurationError, UsageError
from streamfea.observe.stdio import unblock
from streamfea.processes.child import preflight_main
from streamfea.processes.outlook import shown
from streamfea.processes.shim import feeding, run_shim
from streamfea.processes.supervisor import Supervisor
from streamfea.processes.worker_process import run_worker
from streamfea.streams.consuming.name_lock import NameHolder, consumer_name
from streamfea.worker.monitor import SharedRunMonitor
from streamfea.worker.outage import Interrupted
from streamfea.worker.process_guard import guarded
from streamfea.worker.stop_signal import StopAtOnce, StopSignal


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Work")(consume)
    app.command(rich_help_panel="Work")(shim)


def consume(
    queues: QueuesArgument = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes per queue; 0: in this process, for a debugger.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name the consumers NAME-1, NAME-2 and so on, which stay the same; if not given, names are new.",
            show_default=False,
        ),
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="Exit when nothing is new, pending or waiting for a retry.")
    ] = False,
    create_tables: Annotated[bool, typer.Option("--create-tables", help="Create missing tables first.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 at the start if any queue cannot work, not only if none can.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Process records until told to stop: commit, then acknowledge.

    SIGTERM or Ctrl-C finishes the batch and hands over the rest; a second one stops at once.

    A queue that cannot work keeps no other from it: when its handler does not import, a table is missing or a key is
    of another type, the log says so, and it starts when that is mended. When no queue can work, the exit code is 2.

    Example: streamfea consume events --workers 4
    """
    unblock()
    if name is not None and without_surrogates(name) != name:
        raise UsageError("--name has to be UTF-8 text")
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    if workers == 0:
        _consume_here(settings, chosen, name=name, until_empty=until_empty, create_tables=create_tables)
        return
    if workers is not None:
        chosen = [queue.model_copy(update={"workers": workers}) for queue in chosen]
    stop = StopSignal()
    supervisor = Supervisor(settings, chosen, stop, name=name, until_empty=until_empty, strict=strict)

    def on_signal(*_: object) -> None:
        if stop.is_set():
            supervisor.stop_at_once()
        stop.set()

    _on_signals(on_signal)
    supervisor.run(create_tables=create_tables)


def shim(
    queues: Annotated[
        list[str] | None,
        queue_argument("All queues that have lists, if none is named."),
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="Exit when the lists are empty.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Move what old producers push to lists onto the queues' streams, in order, until told to stop.

    `consume` does that as well; alone it needs no database.

    Example: streamfea shim events --until-empty
    """
    unblock()
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    without = [queue.name for queue in chosen if not queue.legacy_lists]
    if without and (queues or len(without) == len(chosen)):
        raise ConfigurationError(f"queue {without[0]} has no list", remedy=f"set queues.{without[0]}.legacy_list")
    stop = stop_on_signals()
    run_shim(settings, chosen, stop, until_empty=until_empty)


def stop_on_signals() -> StopSignal:
    """Return what SIGTERM and Ctrl-C set from now on."""
    stop = StopSignal()
    _on_signals(lambda *_: stop.set())
    return stop


def _consume_here(
    settings: Settings, queues: list[Queue], *, name: str | None, until_empty: bool, create_tables: bool
) -> None:
    if len(queues) != 1:
        remedy = "name it, as in `streamfea consume QUEUE --workers 0`"
        raise ConfigurationError("--workers 0 works on one queue", remedy=remedy)
    stop = StopSignal()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise StopAtOnce
        stop.set()

    _on_signals(on_signal)
    monitor = SharedRunMonitor()
    try:
        preflight_main(stop, settings, queues, create_tables)
        with shown(settings, queues[0], monitor) as observers, guarded(), feeding(settings, queues, stop):
            run_worker(
                settings,
                queues[0],
                consumer_name(name, 1),
                NameHolder.here(),
                stop,
                until_empty=until_empty,
                monitor=monitor,
                observers=observers,
            )
    except Interrupted:
        return


def _on_signals(handler: "signal._HANDLER") -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)

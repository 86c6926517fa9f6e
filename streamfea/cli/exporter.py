"""`streamfea exporter` and `streamfea metrics`: the figures of all queues, for Prometheus."""

import sys
import threading
import time
from typing import Annotated

import typer

from streamfea.admin.queue_figures import QueueFigures
from streamfea.admin.servers import open_client
from streamfea.cli.common import ConfigOption, DebugOption, QueuesArgument, read_settings, report
from streamfea.cli.consume import stop_on_signals
from streamfea.cli.status import errors_of
from streamfea.config.addresses import Address
from streamfea.errors import UsageError
from streamfea.processes.figures_server import (
    Answer,
    health_answer,
    listening_socket,
    metrics_answer,
    require_prometheus_client,
    serve,
)

_STANDS_STILL_AFTER_SECONDS = 120.0


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Look")(exporter)
    app.command(rich_help_panel="Look")(metrics)


def exporter(
    queues: QueuesArgument = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to serve them.")] = "127.0.0.1:9191",
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Serve the figures of all queues for Prometheus, until told to stop: lag, pending, dead letters, backlog.

    One for a whole system is enough, and it works while no worker runs. It asks Redis for fewer than 20 commands a
    second, however many queues there are.

    Example: streamfea exporter --listen 0.0.0.0:9191
    """
    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise UsageError(f"--listen {error}") from error
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    listener = listening_socket(address, "--listen")
    stop = stop_on_signals()
    with open_client(settings) as client:
        figures = QueueFigures(client, chosen)
        serving = threading.Thread(target=serve, args=(listener, _answers(figures), stop), name="http")
        serving.start()
        try:
            figures.keep_up(stop)
        finally:
            stop.set()
            serving.join()


def metrics(
    queues: QueuesArgument = None,
    once: Annotated[bool, typer.Option("--once", help="Print them now, and end.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Print the figures of all queues in Prometheus' text format; those of the work are at `[metrics] listen`.

    A queue that cannot be read has `streamfea_queue_up` 0 and no other figure, and the exit code is 1.

    Example: streamfea metrics --once
    """
    if not once:
        raise UsageError("metrics prints figures once", remedy="add --once; `streamfea exporter` serves them over HTTP")
    require_prometheus_client("streamfea metrics")
    settings = read_settings(config)
    with open_client(settings) as client:
        figures = QueueFigures(client, settings.select(queues or []))
        seen = figures.read()
    _, text, _ = _answers(figures)["/metrics"]("")
    sys.stdout.write(text.decode())
    broken = errors_of([one.figures for one in seen])
    report(broken)
    if broken:
        raise typer.Exit(1)


def _answers(figures: QueueFigures) -> dict[str, Answer]:
    from streamfea.admin.queue_metrics import QueueCollector  # noqa: PLC0415 - needs an extra

    def problems() -> list[str]:
        silent = time.monotonic() - figures.looked_at
        return [f"Redis was last asked {silent:.0f} s ago"] if silent > _STANDS_STILL_AFTER_SECONDS else []

    return {
        "/metrics": metrics_answer([QueueCollector(figures)]),
        "/healthz": lambda _: health_answer(problems()),
        "/readyz": lambda _: health_answer([figures.problem] if figures.problem else []),
    }

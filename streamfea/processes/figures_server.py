"""The process that serves the figures and the health of this host's workers over HTTP.

It is a process of its own, so that no scraper takes time from a worker, and so that it answers while every worker is
busy, blocked or dead. The supervisor opens the socket: an address that is taken is an error at the start, and the
successor of this process has the same one.
"""

import json
import socket
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from streamfea.config.addresses import Address
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError
from streamfea.observe.figures import Figures
from streamfea.observe.health import illnesses
from streamfea.processes.readiness import Readiness
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.stop_signal import StopSignal

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

__all__ = [
    "HTTP_TIMEOUT_SECONDS", "figures_main", "health_answer", "listening_socket", "metrics_answer",
    "require_prometheus_client", "serve",
]  # fmt: skip

log = structlog.get_logger(__name__)

# A client that sends nothing, or takes nothing, has its connection closed after that.
HTTP_TIMEOUT_SECONDS = 10.0
_WAITING_CLIENTS = 64

Answer = Callable[[str], tuple[HTTPStatus, bytes, str]]


def listening_socket(address: Address, setting: str) -> socket.socket:
    """Return a socket that listens at `address`; raises `ConfigurationError` that names the `setting`."""
    require_prometheus_client(setting)
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.create_server(address, family=family, backlog=_WAITING_CLIENTS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"{setting}: cannot listen at {address}: {reason}", remedy="choose another address"
        ) from error
    return listener


def require_prometheus_client(wanted_by: str) -> None:
    """Raise `ConfigurationError` unless the package is there that writes figures."""
    if find_spec("prometheus_client") is None:
        raise ConfigurationError(
            f"{wanted_by} needs the package prometheus-client", remedy="`pip install 'streamfea[metrics]'`"
        )


def figures_main(
    stop: StopSignal,
    settings: Settings,
    listener: socket.socket,
    figures: Figures,
    monitors: Sequence[RunMonitor],
) -> None:
    """Serve /metrics, /healthz and /readyz until `stop` is set."""
    from streamfea.observe.exposition import WorkCollector  # noqa: PLC0415 - an extra, which only this process needs

    readiness = Readiness(settings, figures)

    def health(_: str) -> tuple[HTTPStatus, bytes, str]:
        running = [(monitor.running() or ("", 0.0))[1] for monitor in monitors]
        return health_answer(illnesses(figures, running))

    answers = {
        "/metrics": metrics_answer([WorkCollector(figures)]),
        "/healthz": health,
        "/readyz": lambda _: health_answer(readiness.problems()),
    }
    serve(listener, answers, stop)


def metrics_answer(collectors: "Iterable[Collector]") -> Answer:
    """Return what answers with the figures of these collectors."""
    from streamfea.observe.exposition import exposition  # noqa: PLC0415 - as above

    def answer(accept: str) -> tuple[HTTPStatus, bytes, str]:
        body, content_type = exposition(collectors, accept)
        return HTTPStatus.OK, body, content_type

    return answer


def serve(listener: socket.socket, answers: dict[str, Answer], stop: StopSignal) -> None:
    """Answer GET requests by path until `stop` is set."""
    handler = type("Handler", (_Handler,), {"answers": answers})
    with ThreadingHTTPServer(listener.getsockname()[:2], handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.daemon_threads = True
        server.block_on_close = False
        server.timeout = 0.5
        while not stop.is_set():
            server.handle_request()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request a connection."""

    timeout = HTTP_TIMEOUT_SECONDS
    answers: dict[str, Answer]

    def do_GET(self) -> None:
        """Answer."""
        answer = self.answers.get(urlsplit(self.path).path)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, f"there is {', '.join(self.answers)}\n".encode(), "text/plain")
            return
        self._send(*answer(self.headers.get("Accept", "")))

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the server's name; its versions are nobody's business."""
        return "streamfea"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
        """Log a request when somebody looks for it."""
        log.debug("request", line=format % arguments)


def health_answer(problems: Sequence[str]) -> tuple[HTTPStatus, bytes, str]:
    """Return the answer of /healthz and /readyz: whether there are problems, and which."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    body = {"status": "failing" if problems else "ok", "problems": list(problems)}
    return status, f"{json.dumps(body, ensure_ascii=False)}\n".encode(), "application/json"

"""One log for streamfea and for handlers, on stderr: for people, or a JSON object a line."""

import json
import logging
import sys
import threading
from collections.abc import Callable
from textwrap import indent
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

from streamfea.config.sections import LogSettings
from streamfea.core.entry import Entry
from streamfea.core.printable import printable, printable_json
from streamfea.observe.stdio import lines_lost

__all__ = ["configure_logging", "say_in_every_line", "say_whose_record"]

_of_this_process: dict[str, object] = {}
_worker = ""
_entry_at_hand: Callable[[], Entry | None] | None = None
# Threads of a worker that run no record.
_OURS = ("commit", "lease", "liveness")


def _say_whose(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the keys that every line of this process has."""
    return {**event, **{name: value for name, value in _of_this_process.items() if name not in event}}


def _say_which_record(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add to a line that is not streamfea's own which record it is about: its handler runs."""
    entry = None if _entry_at_hand is None else _entry_at_hand()
    if entry is None or str(event.get("logger", "")).startswith("streamfea."):
        return event
    if threading.current_thread().name.startswith(_OURS):
        return event
    return {"queue": entry.queue, "entry": entry.id, "delivery": entry.deliveries, "worker": _worker, **event}


_OF_A_RECORD = ("queue", "entry", "delivery", "worker")
_OF_SEVERAL_LINES = ("exception", "stack")
_SHARED: list[Processor] = [
    _say_whose,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _say_which_record,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.UnicodeDecoder(),
]


def say_in_every_line(**values: object) -> None:
    """Add these to whatever this process logs from now on, in all its threads, through structlog or not."""
    _of_this_process.update(values)


def say_whose_record(entry_at_hand: Callable[[], Entry | None], worker: str) -> None:
    """Add to whatever a handler logs from now on which entry it is about, and which worker runs it.

    `entry_at_hand` returns the entry whose record runs. A line of a thread that outlives its record has the entry of
    the record that runs by then.
    """
    global _worker, _entry_at_hand
    _worker, _entry_at_hand = worker, entry_at_hand


def configure_logging(settings: LogSettings) -> None:
    """Send everything that is logged, through structlog or the standard library, to stderr in one format."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _with_lines_lost,
                *_renderers(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # It tells what it consists of when it is imported.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


def _renderers(settings: LogSettings) -> list[Processor]:
    # Tracebacks without the values of variables, which structlog would show: passwords and records are among them.
    if settings.format == "json":
        return [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(_as_json),
        ]
    colours = sys.stderr.isatty()
    return [
        _without_logger_name,
        structlog.processors.format_exc_info,
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=colours, pad_event_to=0, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _with_lines_lost(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say how much of the log is missing before this line, if nobody read it or there was no room."""
    lost = lines_lost()
    return {**event, "lines_lost": lost} if lost else event


def _without_logger_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Leave out the logger's name of our own lines, since people read what happened.

    Of several lines it is told before the first, for it would stick to the last.
    """
    name = str(event.get("logger", ""))
    text = str(event.get("event", ""))
    if name.startswith("streamfea."):
        del event["logger"]
    elif name and "\n" in text:
        del event["logger"]
        event["event"] = f"[{name}] {text}"
        _say_last(event, [key for key in _OF_A_RECORD if key in event])
    return event


def _say_last(event: EventDict, keys: list[str]) -> None:
    """Write these keys into a line of their own, behind a message of several lines."""
    if keys:
        event["event"] = "\n".join([event["event"], " ".join(f"{key}={event.pop(key)}" for key in keys)])


def _printable(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write out what a terminal could take for an order: errors and records may hold anything."""
    return {printable(key, one_line=True): _shown(key, value) for key, value in event.items()}


def _shown(key: str, value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    if key in _OF_SEVERAL_LINES:  # no line of it begins like one of the log's own
        return indent(printable(text), "    ")
    if key == "event":  # a handler's message may have several lines as well, an object's for instance
        return printable(text).replace("\n", "\n    ")
    return printable(text, one_line=True)


def _as_json(event: object, **options: Any) -> str:
    return printable_json(json.dumps(event, ensure_ascii=False, **options))

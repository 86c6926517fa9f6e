"""From the name of a module to a handler that can be run."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Session

from streamfea.errors import ConfigurationError
from streamfea.model import Base
from streamfea.settings import Queue

__all__ = ["Handler", "load_handler", "load_handlers", "tables_of"]


@dataclass(frozen=True, slots=True)
class Handler:
    """A queue's handler: the module and its `process(dbsession, record)`."""

    queue: Queue
    module: ModuleType
    process: Callable[[Session, bytes], Any]


def load_handlers(queues: list[Queue]) -> list[Handler]:
    """Import the handler of every queue.

    Raises `ConfigurationError` that names every handler that cannot be used, and why.
    """
    handlers: list[Handler] = []
    problems: list[str] = []
    for queue in queues:
        try:
            handlers.append(load_handler(queue))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return handlers


def load_handler(queue: Queue) -> Handler:
    """Import the handler of `queue`; the current directory comes first where modules are looked for.

    Raises `ConfigurationError` when it cannot be imported or has no usable `process`.
    """
    where = f"queues.{queue.name}.handler"
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(queue.handler)
    except Exception as error:  # whatever a module may raise when it is run
        raise ConfigurationError(f"{where}: {_import_problem(queue.handler, error)}") from error
    process = getattr(module, "process", None)
    if not callable(process):
        raise ConfigurationError(f"{where}: {queue.handler} has no function process(dbsession, record)")
    _check_signature(where, process)
    return Handler(queue, module, process)


def tables_of(_handlers: list[Handler]) -> list[Table]:
    """Return the tables of all models that importing the handlers has declared, parents before their children."""
    return list(Base.metadata.sorted_tables)


def _import_problem(name: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r} in {Path.cwd()} or anywhere else on sys.path"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"importing {name} failed with {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


def _check_signature(where: str, process: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(process, eval_str=True)
    except NameError as error:
        raise ConfigurationError(f"{where}: an annotation of process() cannot be resolved: {error}") from error
    try:
        signature.bind("dbsession", "record")
    except TypeError as error:
        raise ConfigurationError(f"{where}: process() must take (dbsession, record): {error}") from error
    if inspect.iscoroutinefunction(process):
        raise ConfigurationError(f"{where}: process() must be an ordinary function, not an async one")
    annotation = list(signature.parameters.values())[1].annotation
    if annotation not in (inspect.Parameter.empty, bytes, Any, object):
        raise ConfigurationError(f"{where}: process() gets its record as bytes; annotate it so, not as {annotation!r}")

"""Imports the module of a handler, and checks it."""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef, TypeAlias, get_args, get_origin

from sqlalchemy.orm import Session

from streamfea.config.sections import Queue
from streamfea.errors import ConfigurationError, failure
from streamfea.handlers.decoding import Decode, decoder_of, type_name

__all__ = ["Handler", "ProcessBatch", "ProcessRecord", "load_handler", "load_handlers"]


ProcessRecord: TypeAlias = Callable[[Session, bytes], Any]
ProcessBatch: TypeAlias = Callable[[Session, list[Any]], Any]
RegisterCommands: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """A queue's handler, as its module defines it.

    `process(dbsession, record)` takes a record's bytes as they came and decodes them as the module's own function
    asks for; it raises `Reject` for what does not fit. A module without one has its `process_batch` called with
    that one record.

    `process_batch(dbsession, records)` is None when the module has none. It takes records that are decoded already,
    each by `decode`, which raises `Reject`, or as they came where `decode` is None.

    `takes` names what each of the module's own functions takes, as in `{"process": "bytes"}`. `register_commands(app)`
    adds the handler's own commands to a Typer application; None when there are none.
    """

    queue: Queue
    module: ModuleType
    process: ProcessRecord
    process_batch: ProcessBatch | None = None
    decode: Decode | None = None
    takes: Mapping[str, str] = field(default_factory=dict)
    register_commands: RegisterCommands | None = None


def load_handlers(queues: list[Queue]) -> list[Handler]:
    """Import the handler of every queue.

    Raises `ConfigurationError` that names every handler that cannot be used, and why.
    """
    handlers: list[Handler] = []
    problems: list[ConfigurationError] = []
    for queue in queues:
        try:
            handlers.append(load_handler(queue))
        except ConfigurationError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigurationError("\n".join(map(str, problems)))
    return handlers


def load_handler(queue: Queue) -> Handler:
    """Import the handler of `queue`; the current directory comes first where modules are looked for.

    Raises `ConfigurationError` when it cannot be imported or has no usable `process` or `process_batch`.
    """
    where = f"queues.{queue.name}.handler"
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(queue.handler)
    except Exception as error:  # whatever a module may raise when it is run
        raise ConfigurationError(f"{where}: {_import_problem(queue.handler, error)}") from error
    return _handler_of(queue, module, where)


def _handler_of(queue: Queue, module: ModuleType, where: str) -> Handler:
    process, batch = getattr(module, "process", None), getattr(module, "process_batch", None)
    takes: dict[str, str] = {}
    decode = None
    if callable(batch):
        kind = _record_type(where, module, batch, of_list=True)
        takes["process_batch"] = f"list[{type_name(kind)}]"
        decode = _decoder(where, batch, kind, queue)
    if callable(process):
        kind = _record_type(where, module, process)
        takes["process"] = type_name(kind)
        run_one = _decoding(process, _decoder(where, process, kind, queue))
    elif callable(batch):
        run_one = _batch_of_one(batch, decode)
    else:
        raise ConfigurationError(f"{where}: {queue.handler} has no function process(dbsession, record)")
    commands = getattr(module, "register_commands", None)
    return Handler(
        queue,
        module,
        run_one,
        batch if callable(batch) else None,
        decode,
        takes,
        commands if callable(commands) else None,
    )


def _decoding(process: Callable[[Session, Any], Any], decode: Decode | None) -> ProcessRecord:
    """Return `process` itself where records are wanted as they came, so that these cost nothing more."""
    if decode is None:
        return process

    def decoded(dbsession: Session, record: bytes) -> Any:
        return process(dbsession, decode(record))

    return decoded


def _batch_of_one(batch: ProcessBatch, decode: Decode | None) -> ProcessRecord:
    def run_one(dbsession: Session, record: bytes) -> Any:
        return batch(dbsession, [record if decode is None else decode(record)])

    return run_one


def _import_problem(name: str, error: Exception) -> str:
    if name.endswith(".py"):
        return f"write the module's name, {name.removesuffix('.py').replace('/', '.')}, without .py"
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r} in {Path.cwd()} or anywhere else on sys.path"
    return f"importing {name} failed with {failure(error)}"


def _record_type(where: str, module: ModuleType, function: Callable[..., Any], *, of_list: bool = False) -> Any:
    """Return the annotation of a record in the second parameter of `function`.

    Raises `ConfigurationError` when it cannot be called with a session and a record, or a list of records.
    """
    name = _called(function)
    second = "records" if of_list else "record"
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{where}: {name} must be an ordinary function, not an async one")
    signature = _signature(function)
    try:
        bound = signature.bind("dbsession", second)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {name} must take (dbsession, {second}): {error}") from error
    parameter = signature.parameters[list(bound.arguments)[-1]]
    try:
        annotation = _resolved(parameter.annotation, function, module)
        return _item_of(annotation) if of_list else annotation
    except NameError as error:
        raise ConfigurationError(
            f"{where}: the annotation of {name}'s {parameter.name} cannot be resolved: {error}",
            remedy="it is needed at run time, so import it outside of `if TYPE_CHECKING:`",
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {name}: {error.message}", remedy=error.remedy) from error


def _decoder(where: str, function: Callable[..., Any], kind: Any, queue: Queue) -> Decode | None:
    try:
        return decoder_of(kind, from_text=queue.field == "*")
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {_called(function)}: {error.message}", remedy=error.remedy) from error


def _called(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__name__', 'process')}()"


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature without insisting that every annotation can be resolved: only one of them is needed."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - there is none before 3.14

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _resolved(annotation: Any, function: Callable[..., Any], module: ModuleType) -> Any:
    """Return the type that a textual annotation names; raises `NameError` if there is none."""
    text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
    if not isinstance(text, str):
        return annotation
    names = getattr(inspect.unwrap(function), "__globals__", vars(module))
    return eval(text, names)  # noqa: S307 - the handler's own code, as in `inspect.signature(…, eval_str=True)`


def _item_of(annotation: Any) -> Any:
    """Return the type of a list's items; bytes, if it does not say."""
    if annotation in (inspect.Parameter.empty, Any, object, list, Sequence, Iterable, Collection):
        return bytes
    if get_origin(annotation) in (list, Sequence, Iterable, Collection):
        return get_args(annotation)[0]
    raise ConfigurationError("records are a list", remedy=f"annotate them as list[…], not as {annotation!r}")

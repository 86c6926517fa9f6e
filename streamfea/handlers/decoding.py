"""Decodes a record into the type that a handler's annotation names.

msgspec decodes whatever it knows; pydantic its own models, and what has types in it that only pydantic knows. Both
check while they decode; what does not fit is turned away with their reason, since no later try can make it fit.
"""

import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, is_typeddict

import msgspec
from msgspec import inspect as shapes
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import from_json

from streamfea.errors import ConfigurationError, Reject
from streamfea.handlers.text_fields import with_json_values

__all__ = ["Decode", "decoder_of", "type_name"]

Decode: TypeAlias = Callable[[bytes], Any]
"""Returns what a record holds; raises `Reject` with field and reason when it does not hold what it should."""

_SUPPORTED = "bytes, str, dict, list, a dataclass, a TypedDict, a pydantic model or a msgspec Struct"
_RAW = (Parameter.empty, bytes, Any, object)
_LONGEST_REASON = 500
_MOST_REASONS = 5


def decoder_of(annotation: Any, *, from_text: bool = False) -> Decode | None:
    """Return the decoder of a record into `annotation`; None if that is bytes.

    With `from_text` the record is an object whose values are all text: "5" is an int where one is wanted.

    Raises `ConfigurationError` that names what is supported.
    """
    if annotation in _RAW:
        return None
    if annotation is str:
        return _text
    for member in _members(annotation):
        if not _is_supported(member):
            raise ConfigurationError(
                f"a record cannot be {type_name(annotation)}", remedy=f"annotate it as {_SUPPORTED}"
            )
    return _json_decoder(annotation, from_text=from_text)


def type_name(annotation: Any) -> str:
    """Return a readable name for the type of a record."""
    if annotation in _RAW:
        return "bytes"
    if isinstance(annotation, type):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _json_decoder(annotation: Any, *, from_text: bool) -> Decode:
    try:
        if _needs_pydantic(annotation):
            decode = _by_pydantic(annotation)
        else:
            decode = _by_msgspec(annotation, strict=not from_text)
        with_values = with_json_values(annotation) if from_text else None
        return decode if with_values is None else lambda record: decode(with_values(record))
    except (TypeError, ValueError, NameError, PydanticUserError) as error:
        problem = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"records cannot be decoded into {type_name(annotation)}: {problem}") from error


def _text(record: bytes) -> str:
    try:
        return record.decode()
    except UnicodeDecodeError as error:
        raise Reject(_not_utf8(record, error)) from None


def _by_msgspec(annotation: Any, *, strict: bool) -> Decode:
    decode_json = msgspec.json.Decoder(annotation, strict=strict).decode

    def decode(record: bytes) -> Any:
        try:
            return decode_json(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Reject(_msgspec_reason(record, error)) from None

    return decode


def _by_pydantic(annotation: Any) -> Decode:
    validate_json = TypeAdapter(annotation).validator.validate_json

    def decode(record: bytes) -> Any:
        try:
            return validate_json(record)
        except ValidationError as error:
            raise Reject(_pydantic_reason(record, error)) from None

    return decode


_EMPTY = "the record is empty"
_TOO_DEEP = "not usable JSON: nested too deeply"


def _msgspec_reason(record: bytes, error: Exception) -> str:
    if not record:
        return _EMPTY
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8(record, error)
    return _short(str(error) if isinstance(error, msgspec.ValidationError) else f"not JSON: {_where(record, error)}")


def _where(record: bytes, error: Exception) -> str:
    """Describe an error of JSON with its place, which pydantic's parser tells better than msgspec's."""
    try:
        from_json(record, allow_inf_nan=False)
    except ValueError as better:
        return str(better)
    return str(error)


def _pydantic_reason(record: bytes, error: ValidationError) -> str:
    if not record:
        return _EMPTY
    details = error.errors(include_input=False)  # which may be long
    reasons = [
        ": ".join(filter(None, [".".join(map(str, detail["loc"])), detail["msg"]]))
        for detail in details[:_MOST_REASONS]
    ]
    more = [f"and {len(details) - _MOST_REASONS} more"] if len(details) > _MOST_REASONS else []
    return _short("; ".join(reasons + more))


def _not_utf8(record: bytes, error: UnicodeDecodeError) -> str:
    """Name the first byte of the record that is wrong; msgspec counts from the start of the string that it is in."""
    try:
        record.decode()
    except UnicodeDecodeError as first:
        error = first
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, or the annotation itself, without None."""
    if get_origin(annotation) is typing.Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            if member is not NoneType:
                yield from _members(member)
    else:
        yield annotation


def _is_supported(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return False
    return (
        kind in (dict, list) or is_dataclass(kind) or is_typeddict(kind) or issubclass(kind, BaseModel | msgspec.Struct)
    )


def _needs_pydantic(annotation: Any) -> bool:
    if any(_is_pydantic(member) for member in _members(annotation)):
        return True
    return any(
        (isinstance(shape, shapes.CustomType) and shape.cls is not object)
        or (isinstance(shape, shapes.DataclassType) and _is_pydantic(shape.cls))
        for shape in _shapes_in(shapes.type_info(annotation), set())
    )


def _is_pydantic(kind: Any) -> bool:
    """Tell pydantic's models and its dataclasses from everything else."""
    return hasattr(kind, "__pydantic_validator__")


def _shapes_in(shape: Any, seen: set[int]) -> Iterator[shapes.Type]:
    """Yield every type that `shape` is made of, itself included; types may refer to themselves."""
    if isinstance(shape, tuple):
        for member in shape:
            yield from _shapes_in(member, seen)
    elif isinstance(shape, shapes.Field):
        yield from _shapes_in(shape.type, seen)
    elif isinstance(shape, shapes.Type) and id(shape) not in seen:
        seen.add(id(shape))
        yield shape
        for name in shape.__struct_fields__:
            yield from _shapes_in(getattr(shape, name), seen)

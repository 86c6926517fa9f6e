"""Records of `field = "*"`: reads each text value as its annotation says."""

import typing
from collections.abc import Callable, Collection
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

__all__ = ["with_json_values"]

_BEGINS_JSON = ("[", "{")
_NULL = "null"


def with_json_values(annotation: Any) -> Callable[[bytes], bytes] | None:
    """Return a function that parses texts as JSON where `annotation` asks for something else than text.

    `streamfea produce` writes such members as JSON. None when no member of `annotation` can be one of these.
    """
    names = {name for member in _alternatives(annotation) for name, kind in _members(member) if not _takes_text(kind)}
    return None if not names else lambda record: _replaced(record, names)


def _members(kind: Any) -> list[tuple[str, Any]]:
    try:
        return list(typing.get_type_hints(get_origin(kind) or kind).items())
    except (TypeError, NameError):
        return []


def _takes_text(kind: Any) -> bool:
    """Tell whether text can be meant as it is; a plain number, truth or time is read from text without help."""
    alternatives = _alternatives(kind)
    may_be_text = any(alternative in (str, bytes, Any, object) for alternative in alternatives)
    return may_be_text or not any(map(_is_json, alternatives))


def _is_json(kind: Any) -> bool:
    return (
        kind is type(None) or get_origin(kind) is not None or kind in (list, dict, tuple, set) or bool(_members(kind))
    )


def _alternatives(kind: Any) -> list[Any]:
    """Return the members of a union, or the type itself, without metadata."""
    if get_origin(kind) in (typing.Annotated, typing.Required, typing.NotRequired):
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [alternative for member in get_args(kind) for alternative in _alternatives(member)]
    return [kind]


def _replaced(record: bytes, names: Collection[str]) -> bytes:
    members = msgspec.json.decode(record)
    for name in names:
        text = members.get(name)
        if text == _NULL or (isinstance(text, str) and text.startswith(_BEGINS_JSON)):
            members[name] = _decoded(text)
    return msgspec.json.encode(members)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text

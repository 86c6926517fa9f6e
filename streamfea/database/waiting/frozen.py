"""Bound values that wait, which their handler cannot change any more."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Json, Jsonb

__all__ = ["CannotFreeze", "copied", "frozen", "is_same"]

_UNCHANGEABLE = frozenset({type(None), str, int, float, bool, bytes, Decimal, datetime, date, time, timedelta, UUID})


class CannotFreeze(Exception):  # noqa: N818 - it is no error
    """A value of a type that is not known to stay as it is."""


def copied(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement's parameters as they are now."""
    return {name: value if type(value) in _UNCHANGEABLE else deepcopy(value) for name, value in given.items()}


def frozen(value: Any, dumps: Callable[[Any], str | bytes]) -> Any:
    """Return a bound value as it is now; raises `CannotFreeze` if it may change before it is sent.

    `dumps` makes the text of a JSON value.
    """
    kind = type(value)
    if kind in _UNCHANGEABLE:
        return value
    if kind is list and all(type(item) in _UNCHANGEABLE for item in value):
        return value[:]
    if kind is Jsonb or kind is Json:
        return kind((value.dumps or dumps)(value.obj), dumps=_as_it_is)
    if isinstance(value, psycopg.Binary) and type(value.obj) in (bytes, bytearray, memoryview):
        return bytes(value.obj)
    raise CannotFreeze


def is_same(value: Any, other: Any) -> bool:
    """Tell whether two frozen values are sent alike."""
    if isinstance(value, Json | Jsonb) and type(value) is type(other):
        return bool(value.obj == other.obj)
    return type(value) is type(other) and bool(value == other)


def _as_it_is(text: str | bytes) -> Any:
    return text

"""The result of a statement that waits: whoever looks at it makes the statement go."""

import sys
from typing import Any

from sqlalchemy import CursorResult

__all__ = ["WaitingResult", "is_held"]

_OWN = frozenset({"__class__", "__dict__", "__weakref__"})


class WaitingResult(CursorResult[Any]):
    """A result that asks the statement's `Waiting` for the real one when something first looks at it."""

    __slots__ = ()

    def __init__(self, waiting: Any) -> None:
        object.__getattribute__(self, "__dict__")["waiting"] = waiting

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "__dict__")["waiting"].look(), name)


class _Holder:
    __slots__ = ("result",)


_probe = _Holder()
_probe.result = object()  # type: ignore[attr-defined]  # of __slots__
_ALONE = sys.getrefcount(_probe.result)  # type: ignore[attr-defined]  # as above


def is_held(waiting: Any) -> bool:
    """Tell whether anybody but `waiting` refers to its `result`."""
    return sys.getrefcount(waiting.result) > _ALONE

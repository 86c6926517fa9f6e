"""Tells whether the installed version of a library is one whose private parts streamfea was tried with."""

import re

from streamfea.core.advice import Advice

__all__ = ["KnownVersions"]


class KnownVersions:
    """The versions of a library from `first` to the one before `end`; `otherwise` says what is done without them."""

    def __init__(
        self, library: str, installed: str, first: tuple[int, ...], end: tuple[int, ...], otherwise: str
    ) -> None:
        self._library = library
        self._first = first
        self._end = end
        self._otherwise = otherwise
        self.look_at(installed)

    def look_at(self, version: str) -> None:
        """Take `version` for the installed one."""
        self._installed = version
        self.has_installed = self._first <= _numbers(version) < self._end

    def advice(self) -> Advice | None:
        """Return what the operator should know of a version that is not known; None if it is."""
        if self.has_installed:
            return None
        return Advice(
            f"{self._library} {self._installed} is not known: {self._otherwise}",
            f"install {self._library} {_text(self._first)} or later, below {_text(self._end)}",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (2, 2, 0) of 2.2.0b1. One without any is not known."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))

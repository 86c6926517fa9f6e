"""How many entries have failed in the same way."""

from dataclasses import dataclass

__all__ = ["ErrorCounts", "ErrorKind"]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Errors of the same type, raised in the same line: how many, and the first of them with its message."""

    count: int
    where: str
    first_id: str
    summary: str


class ErrorCounts:
    """Counts errors by their type and the line that raised them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._first: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, summary: str, where: str | None, entry_id: str) -> None:
        """Count an entry that has failed."""
        kind = (summary.partition(":")[0], where or "")
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first.setdefault(kind, (entry_id, summary))

    def kinds(self) -> list[ErrorKind]:
        """Return the kinds of errors, the most frequent first."""
        counted = sorted(self._counts.items(), key=lambda item: -item[1])
        return [ErrorKind(count, kind[1], *self._first[kind]) for kind, count in counted]

"""Work on many things in short steps."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar

from redis.exceptions import RedisError

from streamfea.errors import StreamfeaError
from streamfea.streams.connection.errors import reason_of, remedy_of

__all__ = ["Job", "slices"]

T = TypeVar("T")


class Job(ABC):
    """A job: iterating does the work, and each step yields how many things it dealt with.

    A face may stop iterating between two steps. Finished steps stay done, and `so_far()` describes them. Raises
    `StreamfeaError` that says so, too, when Redis fails.
    """

    doing: ClassVar[str]
    """What it does, in a word or two, as in `replaying`."""

    total: int = 0
    """How many things it will deal with; known from the first step on, 0 where nobody knows."""

    @abstractmethod
    def so_far(self) -> str:
        """Return the finished work, as the end of a sentence."""

    @abstractmethod
    def _steps(self) -> Iterator[int]:
        """Do the work; yield how many things each step dealt with."""

    def __iter__(self) -> Iterator[int]:
        try:
            yield from self._steps()
        except RedisError as error:
            message = f"Redis: {reason_of(error)}; {self.so_far()}, as far as Redis has answered"
            raise StreamfeaError(message, remedy=remedy_of(error)) from error


def slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`."""
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part

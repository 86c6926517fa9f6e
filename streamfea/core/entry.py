"""An entry of a stream, as it was delivered."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

MARKS = 1 << 24
"""Streams that follow each other under one name are told apart by a number below that, their mark."""


class Entry(NamedTuple):
    """One entry of a stream, delivered to this consumer and not yet acknowledged.

    `id` is the entry id, `fields` its fields as bytes in their order; `deliveries` is the server's count of
    deliveries, this one included. A handler finds the entry of the record at hand as `dbsession.entry`.
    A tuple, because a frozen dataclass takes three times as long to make, for every record.
    """

    queue: str
    stream: str
    id: str
    fields: Mapping[bytes, bytes]
    deliveries: int = 1

    @property
    def timestamp(self) -> datetime:
        """When the entry was added, from the milliseconds in its id (UTC), so far as ids were left to the server."""
        milliseconds = int(self.id.partition("-")[0])
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)

"""Sets a queue's group back, so that its entries are delivered again."""

from collections.abc import Sequence
from datetime import timedelta

from redis import Redis

from streamfea.config.sections import Queue
from streamfea.core.durations import to_ms
from streamfea.core.wording import listed
from streamfea.errors import StreamfeaError
from streamfea.streams.operating import rewind as steps
from streamfea.streams.operating.members import members

__all__ = ["refuse_consumers_at_work", "rewind"]


def rewind(client: Redis, queue: Queue, *, force: bool = False) -> None:
    """Make every entry that is still in the stream of `queue` unread for its group; dead letters stay.

    Raises `StreamfeaError`, and changes nothing, while consumers are at work: they would acknowledge entries that are
    to be read again. With `force` none is asked about.
    """
    at_work = timedelta(0) if force else steps.at_work_within(queue.claim_idle, queue.block)
    _refuse(queue, steps.rewind(client, queue.ref, at_work))


def refuse_consumers_at_work(client: Redis, queue: Queue) -> None:
    """Raise `StreamfeaError` when consumers of `queue` are at work."""
    at_work_ms = to_ms(steps.at_work_within(queue.claim_idle, queue.block))
    _refuse(queue, [member.name for member in members(client, queue.ref) if member.idle_ms < at_work_ms])


def _refuse(queue: Queue, at_work: Sequence[str]) -> None:
    if at_work:
        raise StreamfeaError(
            f"queue {queue.name}: consumers are at work ({listed(at_work)})",
            remedy="stop them first; if they were killed, wait for claim_idle or use --force",
        )

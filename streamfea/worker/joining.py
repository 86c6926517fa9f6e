"""Makes sure that Redis and the ledger mean the same stream, before anything is read from it."""

from collections.abc import Callable

from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import Sessions
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.worker.outage import OutageRetry

__all__ = ["joining"]


def joining(
    group: GroupConsumer, ledger: Ledger | None, sessions: Sessions, redis: OutageRetry, postgresql: OutageRetry
) -> Callable[[], object]:
    """Return what creates the group unless it is there and, with a ledger, has that follow the stream it is in."""
    if ledger is None:
        return lambda: redis.call(group.create)

    def mark_of(oldest_id: str) -> int | None:
        with sessions() as session:
            return ledger.mark_of(session.connection(), oldest_id)

    def join() -> None:
        joined = redis.call(group.join)
        while joined.mark is None:
            oldest_id = joined.oldest_id
            mark = postgresql.call(lambda oldest_id=oldest_id: mark_of(oldest_id))  # type: ignore[misc]  # bound at once
            joined = redis.call(lambda looked_up=(oldest_id, mark): group.join(looked_up))  # type: ignore[misc]  # as above
        ledger.follow(joined.mark)

    return join

"""The server's clock, which all times in Redis go by."""

from redis import Redis

__all__ = ["age_ms", "as_ms", "server_now_ms"]


def server_now_ms(client: Redis) -> int:
    """Return milliseconds since the epoch on the server's clock."""
    return as_ms(client.time())


def as_ms(time: tuple[int, int]) -> int:
    """Return the server's reply to TIME as milliseconds."""
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000


def age_ms(entry_id: str, now_ms: int) -> int:
    """Return how long ago an entry was added, by the milliseconds in its id."""
    return max(0, now_ms - int(entry_id.partition("-")[0]))

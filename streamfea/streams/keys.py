"""Every key of Redis that streamfea touches is named here.

| key | type | holds | lives |
|---|---|---|---|
| the stream | stream | the entries, as producers add them | the user's |
| `{STREAM}:dead:GROUP` | stream | dead letters | until they are replayed or purged |
| `{STREAM}:errors:GROUP` | hash | entry id → last error (JSON) of what is retried | while the entry is pending |
| `{STREAM}:janitor:GROUP` | string | the consumer whose turn it is to tidy up | a second |
"""


def dead_letters_key(stream: str, group: str) -> str:
    """Return the key of the dead-letter stream of a group."""
    return f"{_in_slot_of(stream)}:dead:{group}"


def errors_key(stream: str, group: str) -> str:
    """Return the key of the hash that holds the last errors of a group's pending entries."""
    return f"{_in_slot_of(stream)}:errors:{group}"


def janitor_key(stream: str, group: str) -> str:
    """Return the key of the lock that one worker of a group has while it is its turn to tidy up."""
    return f"{_in_slot_of(stream)}:janitor:{group}"


def _in_slot_of(stream: str) -> str:
    """Return `stream`, braced unless it has a hash tag, so that what hangs on it shares its cluster slot.

    A hash tag is what stands between the first `{` and the first `}` after it, if that is not empty: Redis cluster
    specification, "Hash tags".
    """
    _, brace, rest = stream.partition("{")
    tag, closed, _ = rest.partition("}")
    return stream if brace and closed and tag else f"{{{stream}}}"

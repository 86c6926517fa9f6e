"""Makes keys that share a slot of a Redis cluster."""

__all__ = ["in_slot_of"]


def in_slot_of(key: str) -> str:
    """Return `key`, braced unless it has a hash tag, so that keys that contain it share its cluster slot.

    A hash tag is what stands between the first `{` and the first `}` after it, if that is not empty: Redis cluster
    specification, "Hash tags".
    """
    _, brace, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return key if brace and closed and tag else f"{{{key}}}"

"""A short stand-in for a stream and a group, since PostgreSQL limits names to 63 bytes."""

from hashlib import sha256

from streamfea.core.group_ref import GroupRef

__all__ = ["group_digest"]


def group_digest(ref: GroupRef) -> bytes:
    """Return 8 bytes of a hash: two groups practically never have the same."""
    return sha256(f"{ref.stream}\0{ref.group}".encode()).digest()[:8]

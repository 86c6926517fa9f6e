"""What stands for a group of a stream in PostgreSQL, where names of any length have no place."""

from hashlib import sha256

from streamfea.core.group_ref import GroupRef

__all__ = ["group_digest"]


def group_digest(ref: GroupRef) -> bytes:
    """Return 8 bytes that no two groups share, for all that matters."""
    return sha256(f"{ref.stream}\0{ref.group}".encode()).digest()[:8]

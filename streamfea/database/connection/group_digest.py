"""What stands for a group of a stream in PostgreSQL, where names of any length have no place."""

from hashlib import sha256

__all__ = ["digest_of"]


def digest_of(stream: str, group: str) -> bytes:
    """Return 8 bytes that no two groups share, for all that matters."""
    return sha256(f"{stream}\0{group}".encode()).digest()[:8]

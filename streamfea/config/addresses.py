"""Addresses to listen on."""

from typing import NamedTuple, Self

__all__ = ["Address"]

_LAST_PORT = 65_535


class Address(NamedTuple):
    """A host and a port; an empty host is every address of this host."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return what `HOST:PORT` means; raises `ValueError` that says how it is written."""
        if isinstance(text, cls):
            return text
        host, colon, port = str(text).rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
            raise ValueError("is HOST:PORT, as in 127.0.0.1:9090 or [::1]:9090")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

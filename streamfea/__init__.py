"""Every record of a Redis Stream becomes a committed row in PostgreSQL.

A handler imports from here what tells streamfea the fate of a record, its models from `streamfea.model`, and what its
own commands have at hand from `streamfea.commands`; its tests use `streamfea.testing`.
"""

from streamfea.errors import Reject, Retry

__all__ = ["Reject", "Retry", "__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`; looked up when somebody asks, since that takes as long as starting Python does."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415

    return version("streamfea")

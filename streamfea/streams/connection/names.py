"""Names of groups and consumers as text: Redis takes any bytes for one, and some clients' names are not UTF-8."""

__all__ = ["NAME_ERRORS", "name_of"]

NAME_ERRORS = "surrogateescape"
"""The error handler of Python's codecs that keeps such bytes; `open_redis()`'s clients send them back unchanged."""


def name_of(name: bytes) -> str:
    r"""Return a name as text that stands for its very bytes; `printable()` and `--json` write odd ones as in `\xff`."""
    return name.decode("utf-8", NAME_ERRORS)

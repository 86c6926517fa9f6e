"""Every exception of streamfea, in one tree.

What a handler raises on purpose (`Reject`, `Retry`) tells what shall become of its record. Everything
else here is for a person: the message is one sentence that names the thing, and the remedy says what to do.
"""

import traceback
from collections.abc import Mapping
from datetime import timedelta

from streamfea.core.durations import parse_duration


class StreamfeaError(Exception):
    """Something failed; the command exits with 1.

    `message` says what happened, `remedy` what to do about it, if anything helps: each face shows them in its own way.
    As text they are one sentence, for logs and other programs.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class ConfigurationError(StreamfeaError):
    """The configuration cannot work, whatever is tried again; the command exits with 2."""


class QueuesError(ConfigurationError):
    """Some queues cannot work: `errors` says why, by the queue's name. The others can."""

    def __init__(self, errors: Mapping[str, ConfigurationError]) -> None:
        super().__init__("\n".join(dict.fromkeys(map(str, errors.values()))))
        self.errors = errors

    def __reduce__(self) -> tuple[type["QueuesError"], tuple[Mapping[str, ConfigurationError]]]:
        return type(self), (self.errors,)


class UsageError(ConfigurationError):
    """A command was asked for something that means nothing; it exits with 2."""


class Reject(Exception):  # noqa: N818 - an instruction to streamfea, read as one: `raise Reject("no such sensor")`
    """Raised by a handler: this record can never succeed. It goes to the dead letters at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Exception):  # noqa: N818 - as above
    """Raised by a handler: not now, try this record again after `delay`.

    Each try counts as a delivery, so a record whose time never comes ends in the dead letters after
    `max_deliveries`.

    `delay` is a duration such as `500ms`, `30s`, `5m`, `7d`, or a `timedelta`. Raises `ValueError` when it is not.
    """

    def __init__(self, reason: str, delay: str | timedelta = "30s") -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = parse_duration(delay)


def failure(error: BaseException) -> str:
    """Return an exception of somebody else's code in one line: its type, text and place."""
    if isinstance(error, SyntaxError) and error.filename:
        line = f": {error.text.strip()}" if error.text else ""
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno}){line}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    text = str(error).strip()
    return f"{type(error).__name__}{f': {text.splitlines()[0]}' if text else ''}{where}"

"""The last error of a pending entry, as the errors hash holds it."""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Self

from streamfea.core.cause import fingerprint
from streamfea.streams.connection.names import NAME_ERRORS

# Without generated code, whose file is called <string> or the like.
_FRAME = re.compile(r'^  File "([^<"][^"]*)", line (\d+)(?:, in (.*))?$', re.MULTILINE)
_OURS = r"streamfea[/\\](?:core|database|handlers|orm|processes|streams|worker)"
_LIBRARY = re.compile(rf"[/\\](?:site-packages|lib[/\\]python[0-9.]+|{_OURS})[/\\]")
_NEVER_A_HANDLER = re.compile(rf"[/\\](?:site-packages[/\\](?:sqlalchemy|psycopg)|{_OURS})[/\\]")


@dataclass(frozen=True, slots=True)
class LastError:
    """Why an entry's last run failed and when the next one is due.

    `due_ms` and `failed_at_ms` are milliseconds since the epoch on Redis' clock. `alone` names the consumer in which
    the entry runs alone right now: where it still stands after that consumer has died, this entry was its death.
    `cause` is the fingerprint that failures of one cause share.
    """

    type: str = ""
    error: str = ""
    traceback: str = ""
    failed_at_ms: int = 0
    due_ms: int = 0
    alone: str = ""
    cause: str = ""

    @classmethod
    def of(cls, error_type: str, error: str, traceback: str = "", *, by_postgresql: bool = False) -> Self:
        """Return the error with the fingerprint of its cause; PostgreSQL's messages name columns in double quotes."""
        found = cls(error_type, error, traceback)
        frame = found._frame
        place = f"{PurePath(frame[0]).name}:{frame[2]}" if frame else ""
        return replace(found, cause=fingerprint(error_type, error, place, keeps_names=by_postgresql))

    @classmethod
    def from_json(cls, text: bytes | str) -> "Self | None":
        """Parse `text`; return None if it is empty."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", NAME_ERRORS)
        return cls(**json.loads(text)) if text else None

    def to_json(self) -> str:
        """Return JSON without the empty members, which the Lua scripts rely on for `alone`."""
        members = {name: value for name, value in asdict(self).items() if value or name == "due_ms"}
        return json.dumps(members, ensure_ascii=False)

    def running_alone(self, consumer: str) -> Self:
        """Return the same with the note that the entry runs alone in `consumer`."""
        return replace(self, alone=consumer, due_ms=0)

    def due(self, *, failed_at_ms: int, due_ms: int) -> Self:
        """Return the same with the times of the failure and of the next try."""
        return replace(self, failed_at_ms=failed_at_ms, due_ms=due_ms)

    @property
    def where(self) -> str:
        """The innermost line of the traceback that is the handler's, as in `shop.py:17`; empty if there is none.

        A handler may be installed like a library, so lines of libraries count where no other lines are.
        """
        frame = self._frame
        return f"{PurePath(frame[0]).name}:{frame[1]}" if frame else ""

    @property
    def _frame(self) -> tuple[str, str, str] | None:
        """The file, the line and the function of that line."""
        frames: list[tuple[str, str, str]] = _FRAME.findall(self.traceback)
        own = [frame for frame in frames if not _LIBRARY.search(frame[0])]
        own = own or [frame for frame in frames if not _NEVER_A_HANDLER.search(frame[0])]
        return own[-1] if own else None

    @property
    def summary(self) -> str:
        """The error in one line."""
        first, _, _ = self.error.partition("\n")
        return f"{self.type}: {first}" if first else self.type

"""What `streamfea check` finds: a thing looked at, whether it is well, and what to do if not."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at. Only a `problem` makes the check fail; a `warning` is worth knowing."""

    what: str
    level: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str = ""

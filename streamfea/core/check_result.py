"""A result of `streamfea check`: what was checked, its level, and the remedy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One checked thing. Only a `problem` makes the check fail; a `warning` is worth knowing."""

    what: str
    level: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str = ""

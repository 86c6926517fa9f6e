"""Which statements may run in a transaction that many records share.

Reading and writing rows is told from one transaction per record by nothing. All else may be: a setting lasts until the
transaction ends, a table is there for the records after it, two equal notifications become one.
"""

import re
from functools import lru_cache

__all__ = ["may_be_shared", "reason_against_enclosing"]

_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*"
_OF_ROWS = re.compile(
    _COMMENTS + r"(?:select|insert|update|delete|merge|with|values|table|copy|explain|show|fetch|move|close)\b",
    re.IGNORECASE | re.DOTALL,
)
# Functions that do the same as such statements, and a second statement behind the first.
_LIKE_OTHERS = re.compile(r"\bset_config\b|\bpg_notify\b|\bdblink|\bpg_export_snapshot\b|;\s*\S", re.IGNORECASE)

_START = r"(?:^|;)" + _COMMENTS
_ENDS = re.compile(
    _START + r"(?:commit|end|abort|begin|start|prepare\s+transaction|"
    r"rollback(?!\s+(?:work\s+|transaction\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_CHARACTERISTICS = re.compile(
    _START + r"set\s+(?:local\s+)?(?:transaction|session\s+characteristics)\b", re.IGNORECASE | re.DOTALL
)
_ENDED = "the handler ended the transaction, which exactly-once does not allow"
_TOO_LATE = (
    "exactly-once has begun the record's transaction, so its characteristics cannot be set any more: set them for the "
    "role (ALTER ROLE … SET default_transaction_isolation = …), or have the queue's guarantee be at-least-once"
)


@lru_cache(maxsize=2_000)
def may_be_shared(statement: str) -> bool:
    """Tell whether a statement does the same in a transaction of many records as in one of its record's own."""
    return bool(_OF_ROWS.match(statement)) and not _LIKE_OTHERS.search(statement)


@lru_cache(maxsize=100)
def reason_against_enclosing(statement: str) -> str | None:
    """Return why a statement cannot be sent in the transaction that exactly-once has begun; None if it can."""
    if _ENDS.search(statement):
        return _ENDED
    return _TOO_LATE if _CHARACTERISTICS.search(statement) else None

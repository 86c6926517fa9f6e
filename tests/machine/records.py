"""The records that the machine produces: good ones, and poison of every kind, each with what must become of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

__all__ = ["KINDS", "Kind", "fields_to_add", "number_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What records of this kind do, `do` of the handler `effects`, and what must become of them.

    Good ones have an effect. Poison has none, and a dead letter with one of `reasons`. Of `weight` such records in
    about a hundred thousand.
    """

    do: str
    weight: int
    reasons: frozenset[str] = frozenset()

    @property
    def good(self) -> bool:
        """Whether it must have its effect."""
        return not self.reasons

    @property
    def kills(self) -> bool:
        """Whether it takes its process along."""
        return "crashed" in self.reasons


def _poison(do: str, weight: int, *reasons: str) -> Kind:
    return Kind(do, weight, frozenset(reasons))


KINDS = {
    kind.do: kind
    for kind in (
        Kind("add", 81_000),
        Kind("core", 9_000),  # its row is written by Core's INSERT, in a table of its own
        Kind("commit", 500),  # ends its own transaction
        Kind("roll-back", 200),  # so does this, after it has added something that must not be there
        Kind("flaky", 300),  # asks for another try, once
        Kind("cross", 600),  # two in opposite orders are a deadlock
        Kind("driver", 100),  # has a transaction of its own, for the sake of the others
        Kind("tenant", 100),  # likewise
        Kind("hold", 200),  # spoils, later, the object of the one before it
        Kind("watched", 200),  # a listener looks at what it adds
        Kind("slow", 15),  # sleeps longer than claim_idle
        Kind("slow-in-c", 10),  # the same with the interpreter's lock held
        _poison("fail", 500, "failed"),
        _poison("violate", 400, "failed"),
        _poison("violate-late", 200, "failed"),
        _poison("swallow", 200, "failed"),
        _poison("end-backend", 40, "failed"),
        _poison("no-table", 40, "failed"),
        # As long as it sleeps, something else may kill it.
        _poison("doze", 6, "failed", "crashed"),  # past a time-out of its role's
        _poison("garbage", 200, "failed"),
        _poison("retry", 200, "failed"),
        _poison("reject", 200, "rejected"),
        _poison("no-field", 200, "no-record"),
        # One that never returns may be killed by something else while it does.
        _poison("exit", 6, "crashed"),
        _poison("segfault", 6, "crashed"),
        _poison("oom", 6, "crashed"),
        _poison("hang", 3, "timeout", "crashed"),
        _poison("hang-in-c", 3, "timeout", "crashed"),
    )
}


def fields_to_add(number: int, kind: Kind, random: Random) -> dict[str, str]:
    """Return the fields of the entry of record `number`."""
    if kind.do == "no-field":
        return {"number": str(number)}
    if kind.do == "garbage":
        return {"record": f"no JSON: {number}"}
    record: dict[str, object] = {"n": number, "do": kind.do}
    if kind.do == "cross":
        record["order"] = random.sample(["a", "b"], 2)
    return {"record": json.dumps(record)}


def number_of(fields: Mapping[bytes, bytes]) -> int:
    """Return the number of the record in an entry's fields."""
    if b"number" in fields:
        return int(fields[b"number"])
    text = fields[b"record"].decode()
    return int(text.rpartition(" ")[2]) if text.startswith("no JSON") else int(json.loads(text)["n"])

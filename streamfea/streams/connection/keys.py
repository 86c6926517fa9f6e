"""Every key of Redis that streamfea touches is named here.

| key | type | holds | lives |
|---|---|---|---|
| the stream | stream | the entries, as producers add them | the user's |
| `{STREAM}:dead:GROUP` | stream | dead letters | until they are replayed or purged |
| `{STREAM}:errors:GROUP` | hash | entry id → last error (JSON) of what is retried | while the entry is pending |
| `{STREAM}:janitor:GROUP` | string | the consumer whose turn it is to tidy up | a second |
| `{STREAM}:consumer:GROUP:NAME` | string | who consumes under a name, and what it runs | ten seconds after it |
| `legacy_list`, `legacy_errors` | list | records that old producers push; the shim empties them | the user's |

With `legacy_list` the stream is `{LIST}:stream`, unless the configuration names another (`streamfea.config.settings`).
"""

from streamfea.core.group_ref import GroupRef
from streamfea.core.hash_tag import in_slot_of


def dead_letters_key(ref: GroupRef) -> str:
    """Return the key of the dead-letter stream of a group."""
    return f"{in_slot_of(ref.stream)}:dead:{ref.group}"


def errors_key(ref: GroupRef) -> str:
    """Return the key of the hash that holds the last errors of a group's pending entries."""
    return f"{in_slot_of(ref.stream)}:errors:{ref.group}"


def janitor_key(ref: GroupRef) -> str:
    """Return the key of the lock that one worker of a group has while it is its turn to tidy up."""
    return f"{in_slot_of(ref.stream)}:janitor:{ref.group}"


def name_lock_key(ref: GroupRef, consumer: str) -> str:
    """Return the key of the lock by which one process has the name `consumer`."""
    return f"{in_slot_of(ref.stream)}:consumer:{ref.group}:{consumer}"

"""From the fields of an entry to its record."""

import json

import structlog

from streamfea.entry import Entry

__all__ = ["missing_record", "record_of"]

log = structlog.get_logger(__name__)


def record_of(entry: Entry, field: str, *, logged: bool = False) -> bytes:
    """Return the record of an entry: the value of `field`, or with `*` all fields as a JSON object.

    Raises `KeyError` without the field, `UnicodeDecodeError` when JSON cannot hold the fields.
    """
    record = _all_fields(entry) if field == "*" else entry.fields[field.encode()]
    if logged:
        log.info("record", entry=entry.id, record=record.decode("utf-8", "backslashreplace"))
    return record


def missing_record(entry: Entry, field: str) -> str | None:
    """Return why an entry holds no record, if it does not."""
    if field != "*":
        if field.encode() in entry.fields:
            return None
        names = ", ".join(name.decode("utf-8", "backslashreplace") for name in entry.fields) or "none"
        return f"the entry has no field {field!r}; it has {names}"
    try:
        _all_fields(entry)
    except UnicodeDecodeError as error:
        return f"a field is not UTF-8 text, so the fields cannot be made a JSON object: {error}"
    return None if entry.fields else "the entry has no fields"


def _all_fields(entry: Entry) -> bytes:
    return json.dumps({name.decode(): value.decode() for name, value in entry.fields.items()}).encode()

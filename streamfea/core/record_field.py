"""Takes the record out of an entry's fields."""

import json
from collections.abc import Sequence

from streamfea.core.entry import Entry

__all__ = ["RecordField"]


class RecordField:
    """The place of the record in an entry: the field `name`, or with `*` all fields, as a JSON object."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = None if name == "*" else name.encode()

    def record(self, entry: Entry) -> bytes:
        """Return the record of an entry.

        Raises `KeyError` without the field, `UnicodeDecodeError` when JSON cannot hold the fields.
        """
        return _all_fields(entry) if self._key is None else entry.fields[self._key]

    def is_in_all(self, entries: Sequence[Entry]) -> bool:
        """Tell whether every entry has the field; False when that takes a closer look at each."""
        key = self._key
        return key is not None and all(key in entry.fields for entry in entries)

    def problem(self, entry: Entry) -> str | None:
        """Return why an entry holds no record, if it does not."""
        if self._key is not None:
            if self._key in entry.fields:
                return None
            names = ", ".join(name.decode("utf-8", "backslashreplace") for name in entry.fields) or "none"
            return f"the entry has no field {self._name!r}; it has {names}"
        try:
            _all_fields(entry)
        except UnicodeDecodeError as error:
            return f"a field is not UTF-8 text, so the fields cannot be made a JSON object: {error}"
        return None if entry.fields else "the entry has no fields"


def _all_fields(entry: Entry) -> bytes:
    return json.dumps({name.decode(): value.decode() for name, value in entry.fields.items()}).encode()

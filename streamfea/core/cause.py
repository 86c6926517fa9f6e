"""Fingerprints of failures: those of one cause have the same, and are counted, retried and replayed together."""

import re
from hashlib import blake2b

__all__ = ["fingerprint"]

_BYTES = 4
# Values, which differ from record to record while the cause is the same: what is quoted, ids, numbers.
# An apostrophe inside a word quotes nothing; the b of a bytes literal is no word.
_SINGLE_QUOTED = re.compile(r"(?<!\w\w)'(?:[^'\\]|\\.)*'|`[^`]*`|\u2018[^\u2019]*\u2019|\u201c[^\u201d]*\u201d")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:_-]\d+)*")


def fingerprint(error_type: str, message: str, frame: str, *, keeps_names: bool = False) -> str:
    """Return eight hexadecimal digits that failures of one cause share.

    They are made of the error's type, the `frame` that raised it, and the first line of its message without numbers,
    ids and quoted text. A frame is a file and a function, so an edit elsewhere in the file changes nothing. With
    `keeps_names`, text in double quotes stays: PostgreSQL writes the names of columns and constraints so.
    """
    text, _, _ = message.partition("\n")
    text = _SINGLE_QUOTED.sub("''", text)
    if not keeps_names:
        text = _DOUBLE_QUOTED.sub('""', text)
    text = _NUMBER.sub("0", _ID.sub("0", text))
    return blake2b(f"{error_type}\0{frame}\0{text}".encode("utf-8", "replace"), digest_size=_BYTES).hexdigest()

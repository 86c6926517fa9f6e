"""Text that is safe to show on a terminal, whatever a record holds."""

import json
import unicodedata

__all__ = ["printable", "printable_json", "without_surrogates"]

_KEPT = "\n\t"
# What "surrogateescape" makes of the bytes of a name that are not UTF-8.
_ESCAPED_BYTES = {chr(0xDC00 + byte) for byte in range(0x80, 0x100)}


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return `text` with everything that a terminal could take for an order written out, as in `\x1b`.

    That is control characters, but for line feeds and tabs, which `one_line` writes out as well; what changes the
    direction of text or is invisible; lone surrogates; and what Unicode does not know.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char, one_line) else _written_out(char) for char in text)


def printable_json(json_text: str) -> str:
    """Return JSON with the same characters written as JSON writes them out; it means what it meant."""
    if json_text.isprintable():
        return json_text
    return "".join(char if _is_shown(char, one_line=False) else json.dumps(char)[1:-1] for char in json_text)


def without_surrogates(text: str) -> str:
    r"""Return `text` as JSON can hold it for everyone, with bytes that were not UTF-8 written out, as in `\xff`."""
    if text.isascii():
        return text
    return "".join(_written_out(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def _is_shown(char: str, one_line: bool) -> bool:
    if char in _KEPT:
        return not one_line
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _written_out(char: str) -> str:
    if char in _ESCAPED_BYTES:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")

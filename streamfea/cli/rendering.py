"""Formats records and errors for a terminal: JSON indented and coloured, text as text, the rest as a hex dump."""

import json
import re
from collections.abc import Callable, Mapping

import msgspec
from rich.console import Group, RenderableType
from rich.highlighter import JSONHighlighter
from rich.text import Text

from streamfea.admin.error_counts import ErrorCounts
from streamfea.cli.common import console, new_table
from streamfea.core.printable import printable
from streamfea.core.wording import counted

__all__ = ["is_safe", "plain", "print_errors", "rendered_fields", "text_of"]

_DUMPED_AT_MOST = 4096
_HIGHLIGHTED_AT_MOST = 200_000
# With more than this share of unprintable characters, bytes do not count as text.
_SHARE_OF_BINARY = 0.3
_SHORT = 60
_BEYOND_ASCII = 0x80
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # as `surrogateescape` makes them
# Characters that mean nothing: one block of them stands for bad bytes while JSON is indented.
_PRIVATE_USE = [f"{block:x}" for block in range(0xE0, 0xF9)]
_ESCAPE_IN_JSON = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")


def plain(text: str) -> Text:
    """Return text from outside as one line that is printable and not taken for markup, for a table."""
    return Text(printable(text, one_line=True))


def text_of(text: str, style: str = "") -> Text:
    """Return text from outside, of any number of lines, to print."""
    return Text(printable(text), style=style)


def is_safe(data: bytes) -> bool:
    """Tell whether a terminal shows these bytes as they are."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return printable(text) == text


def rendered_fields(fields: Mapping[bytes, bytes], at_most: int | None = None) -> RenderableType:
    """Return an entry's fields: short ones in a line, the others below their name, no longer than `at_most`."""
    return Group(*(part for name, value in fields.items() for part in _field(name, value, at_most)))


def print_errors(errors: ErrorCounts) -> None:
    """Print the kinds of errors, the most frequent first, with the message and the id of the first of each."""
    kinds = errors.kinds()
    if not kinds:
        return
    table = new_table("count", "where", "first", "its error", right=["count"])
    table.columns[1].no_wrap = table.columns[2].no_wrap = True
    for kind in kinds:
        table.add_row(f"{kind.count:,}", plain(kind.where or "-"), plain(kind.first_id), plain(kind.summary))
    console().print()
    console().print(table)


def _field(name: bytes, value: bytes, at_most: int | None) -> list[Text]:
    title = Text(printable(name.decode("utf-8", "backslashreplace"), one_line=True), style="bold")
    kind, shown = _value(value)
    if kind == "text" and len(shown) <= _SHORT and "\n" not in shown.plain:
        return [title.append(": ").append_text(Text(shown.plain, style="not bold"))]
    left_out = 0 if at_most is None else len(shown) - at_most
    if left_out > 0:
        shown = shown[:at_most].append(
            f"\n… and {left_out:,} more characters; into a file or a pipe it is whole", "dim"
        )
    return [title.append(f": {_size(len(value))}, {kind}", style="not bold dim"), shown]


def _value(value: bytes) -> tuple[str, Text]:
    """Return the kind of a value, and its text."""
    text = value.decode("utf-8", "surrogateescape")
    bad = len(_BAD_BYTE.findall(text))
    but = f", {counted(bad, 'byte is', 'bytes are')} not UTF-8" if bad else ""
    if text.lstrip()[:1] in {"{", "["}:
        shown = _json(text)
        if shown is not None:
            return f"JSON{but}", shown
    if _is_binary(text):
        return "binary", Text(_hex_dump(value))
    return f"text{but}", _marked(text, _BAD_BYTE, printable)


def _json(text: str) -> Text | None:
    """Return JSON indented and coloured, with its bad bytes marked; None when it is no JSON."""
    block = next((digits for digits in _PRIVATE_USE if f"\\u{digits}" not in text.lower()), None)
    indented = block and _indented(_BAD_BYTE.sub(lambda match: f"\\u{block}{ord(match[0]) & 0xFF:02x}", text))
    if indented is None:
        return None
    shown = _marked(indented, re.compile(rf"\\u{block}(..)"), str)
    if len(indented) <= _HIGHLIGHTED_AT_MOST:
        JSONHighlighter().highlight(shown)
    return shown


def _marked(text: str, bad: re.Pattern[str], show: Callable[[str], str]) -> Text:
    r"""Return `text` as `show` shows it, with its bad bytes written as in `\xff`, and marked."""
    shown, end = Text(), 0
    for match in bad.finditer(text):
        code = f"{ord(match[0]) & 0xFF:02x}" if match.lastindex is None else match[1]
        shown.append(show(text[end : match.start()])).append(f"\\x{code}", style="reverse red")
        end = match.end()
    return shown.append(show(text[end:]))


def _is_binary(text: str) -> bool:
    """Tell whether bytes, decoded with bad ones as lone surrogates, are hardly text."""
    hidden = sum(not character.isprintable() and not character.isspace() for character in text)
    return "\0" in text or hidden > _SHARE_OF_BINARY * len(text)


def _indented(text: str) -> str | None:
    """Return JSON indented, with its numbers, order and repeated members as they are; None when it is no JSON."""
    try:
        formatted: str = msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return None
    return printable(_ESCAPE_IN_JSON.sub(_unescaped, formatted))


def _unescaped(match: re.Match[str]) -> str:
    r"""Return the character that `\u…` stands for, if it can be shown and does not end the string."""
    written = match[0]
    if written[1] != "u":
        return written
    character: str = json.loads(f'"{written}"')
    return character if character.isprintable() and character not in {'"', "\\"} else written


def _hex_dump(data: bytes) -> str:
    lines = []
    for start in range(0, min(len(data), _DUMPED_AT_MOST), 16):
        part = data[start : start + 16]
        left, right = part[:8].hex(" "), part[8:].hex(" ")
        shown = "".join(chr(byte) if chr(byte).isprintable() and byte < _BEYOND_ASCII else "." for byte in part)
        lines.append(f"{start:08x}  {left:<23}  {right:<23}  |{shown}|")
    if len(data) > _DUMPED_AT_MOST:
        lines.append(f"… and {_size(len(data) - _DUMPED_AT_MOST)} more; --raw writes the whole record")
    return "\n".join(lines)


def _size(count: int) -> str:
    return "1 byte" if count == 1 else f"{count:,} bytes"

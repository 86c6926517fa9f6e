"""What a terminal is sent, whatever a record holds."""

import io
import json
import logging
import re
import unicodedata

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streamfea.cli.rendering import is_safe, plain, rendered_fields, text_of
from streamfea.config.sections import LogSettings
from streamfea.core.printable import printable
from streamfea.observe.logs import configure_logging

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ORDERS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Everything, the dangerous more often than chance would have it.
_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x07\r\n\t\0[]\\\u202e\u2028\ud800m")))
_CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _CHARACTERS,
    lambda inner: st.lists(inner) | st.dictionaries(_CHARACTERS, inner),
    max_leaves=10,
)


def on_terminal(shown: object, width: int = 80) -> str:
    """Return what a terminal would be sent, without colours."""
    sent = io.StringIO()
    Console(file=sent, force_terminal=True, width=width, color_system="truecolor").print(shown, soft_wrap=True)
    return _COLOURS.sub("", sent.getvalue())


def assert_gives_no_orders(text: str) -> None:
    assert not {unicodedata.category(one) for one in text if one not in "\n\t"} & _ORDERS, ascii(text)


@given(_TEXT)
def test_printable_text_gives_no_orders_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert_gives_no_orders(shown)
    assert printable(shown) == shown
    assert "\n" not in printable(text, one_line=True)
    if text.isprintable():
        assert shown == text


@given(_TEXT)
def test_text_from_outside_reaches_a_terminal_as_text(text: str) -> None:
    assert_gives_no_orders(on_terminal(text_of(text)))
    assert on_terminal(plain(text)).rstrip("\n") == printable(text, one_line=True)


@given(st.dictionaries(st.binary(), st.one_of(st.binary(), _TEXT.map(lambda text: text.encode("utf-8", "replace")))))
def test_fields_of_any_bytes_reach_a_terminal_as_text(fields: dict[bytes, bytes]) -> None:
    assert_gives_no_orders(on_terminal(rendered_fields(fields)))


@given(_JSON.filter(lambda value: isinstance(value, (list, dict))), st.booleans())
def test_json_is_indented_and_means_the_same(value: object, ascii_only: bool) -> None:
    record = json.dumps(value, ensure_ascii=ascii_only).encode()
    title, shown = on_terminal(rendered_fields({b"record": record})).split("\n", 1)
    assert_gives_no_orders(shown)
    assert title == f"record: {len(record):,} bytes, JSON"
    if printable(record.decode()) == record.decode():
        assert json.loads(shown) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{"a":1.10,"a":[12345678901234567890.5],"b":"\\u00fc\\u001b\\ud83d\\ude00\\"\\\\u00fc"}',
         '{\n  "a": 1.10,\n  "a": [\n    12345678901234567890.5\n  ],\n  "b": "ü\\u001b😀\\"\\\\u00fc"\n}'),
        (b'{"a": not JSON}', None),
        ("line one\nline zwei ü".encode(), "line one\nline zwei ü"),
        (b"\0\x01\xffabc", f"00000000  00 01 ff 61 62 63{' ' * 33}|...abc|"),
        (b"[" * 20_000, "[" * 20_000),
    ],
)  # fmt: skip
def test_a_record_is_shown_as_what_it_is(value: bytes, shown: str | None) -> None:
    sent = on_terminal(rendered_fields({b"record": value}))
    assert sent == ('record: {"a": not JSON}\n' if shown is None else f"{sent.splitlines()[0]}\n{shown}\n")


def test_a_long_dump_says_how_much_it_leaves_out() -> None:
    *_, last = on_terminal(rendered_fields({b"record": b"\0" * 5000})).splitlines()
    assert last == "… and 904 bytes more; --raw writes the whole record"


def test_only_what_a_terminal_shows_as_it_is_counts_as_safe() -> None:
    assert is_safe("{ü}\n\tx".encode())
    assert not is_safe(b"\x1b[2J")
    assert not is_safe(b"\xff")


def test_a_log_on_a_terminal_gives_no_orders_either(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = logging.getLogger().handlers[:]
    try:
        configure_logging(LogSettings())
        structlog.get_logger("streamfea.test").warning("failed", error="\x1b[2J\x9b\u202e", record=b"\x1b")
        logging.getLogger("handler").warning("record:\n%s", "\x1b]0;owned\x07")
    finally:
        logging.getLogger().handlers[:] = handlers
    told = capsys.readouterr().err
    assert_gives_no_orders(told)
    assert told.count("x1b") == 3


def test_one_bad_byte_makes_no_hex_dump_of_a_record() -> None:
    shown = on_terminal(rendered_fields({b"record": b'{"name": "caf\xe9", "other": "\\ue0e9", "n": [1]}'}))
    assert "JSON, 1 byte is not UTF-8" in shown
    assert r'"name": "caf\xe9"' in shown
    assert r'"other": "\ue0e9"' in shown
    assert on_terminal(rendered_fields({b"record": b"caf\xe9 \xff " + b"x" * 60})).splitlines() == [
        "record: 67 bytes, text, 2 bytes are not UTF-8",
        rf"caf\xe9 \xff {'x' * 60}",
    ]


def test_bad_bytes_are_marked() -> None:
    sent = io.StringIO()
    Console(file=sent, force_terminal=True, color_system="truecolor").print(rendered_fields({b"record": b"caf\xe9"}))
    assert re.search(r"\x1b\[[0-9;]*7[0-9;]*m\\xe9\x1b\[0m", sent.getvalue())


def test_what_is_hardly_text_is_a_hex_dump() -> None:
    assert "binary" in on_terminal(rendered_fields({b"record": bytes(range(0x80, 0xFF))}))

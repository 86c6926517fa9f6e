"""What makes a module a handler, and what its annotations decide."""

import importlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from streamfea import Reject
from streamfea.config.sections import Queue
from streamfea.errors import ConfigurationError
from streamfea.handlers.loading import Handler, load_handler

Load = Callable[[str], Handler]

_HEAD = """\
from dataclasses import dataclass

@dataclass
class Reading:
    value: float

seen = []
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the handler with this source after `_HEAD`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def loaded(source: str) -> Handler:
        name = f"handler_{secrets.token_hex(4)}"
        future = "from __future__ import annotations\n"
        head = f"{future}{_HEAD}" if source.startswith(future) else _HEAD
        (tmp_path / f"{name}.py").write_text(head + source.removeprefix(future))
        importlib.invalidate_caches()
        return load_handler(Queue(name="q", stream="q", handler=name))

    return loaded


@pytest.fixture
def session() -> Session:
    """A session that is handed through and never used."""
    return Session()


def mistake(load: Load, source: str) -> str:
    """Return what is said about a handler that cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        load(source)
    return str(caught.value)


def seen(handler: Handler) -> list[Any]:
    return list(handler.module.seen)


def test_a_syntax_error_is_told_with_its_line(load: Load) -> None:
    told = mistake(load, "def process(dbsession, record)\n    return")
    assert "SyntaxError: expected ':' (" in told
    assert ".py, line 8): def process(dbsession, record)" in told


def test_the_name_of_a_file_is_answered_with_that_of_its_module() -> None:
    with pytest.raises(ConfigurationError, match=r"write the module's name, my\.clicks, without \.py"):
        load_handler(Queue(name="q", stream="q", handler="my/clicks.py"))


@pytest.mark.parametrize("annotation", ["", ": bytes", ": 'bytes'", ": object"])
def test_a_handler_of_bytes_is_called_directly(load: Load, annotation: str) -> None:
    handler = load(f"def process(dbsession, record{annotation}): seen.append(record)")
    assert handler.process is handler.module.process
    assert handler.process_batch is None
    assert handler.decode is None


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_the_annotation_decides_what_process_gets(load: Load, session: Session, future: str) -> None:
    handler = load(f"{future}def process(dbsession, record: Reading): seen.append(record)")
    handler.process(session, b'{"value": 1.5}')
    assert seen(handler) == [handler.module.Reading(1.5)]
    with pytest.raises(Reject, match=r"got `str` - at `\$.value`"):
        handler.process(session, b'{"value": "x"}')


def test_only_the_records_annotation_needs_to_be_there_at_run_time(load: Load, session: Session) -> None:
    source = (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from sqlalchemy.orm import Session\n    from decimal import Decimal\n"
    )
    handler = load(f"{source}def process(dbsession: Session, record: dict) -> Decimal: seen.append(record)")
    handler.process(session, b"{}")
    assert seen(handler) == [{}]
    told = mistake(load, f"{source}def process(dbsession: Session, record: Decimal): pass")
    assert "the annotation of process()'s record cannot be resolved: name 'Decimal' is not defined" in told
    assert "outside of `if TYPE_CHECKING:`" in told


def test_a_field_that_is_not_there_at_run_time_is_named(load: Load) -> None:
    told = mistake(
        load,
        "from __future__ import annotations\n@dataclass\nclass Bad:\n    a: Decimal\ndef process(s, record: Bad): pass",
    )
    assert "process(): records cannot be decoded into Bad: name 'Decimal' is not defined" in told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "has no function process(dbsession, record)"),
        ("process = process_batch = 3", "has no function process(dbsession, record)"),
        ("def process(dbsession): pass", "process() must take (dbsession, record): too many positional arguments"),
        ("def process(dbsession, record, more): pass", "missing a required argument: 'more'"),
        ("async def process(dbsession, record): pass", "process() must be an ordinary function, not an async one"),
        ("def process(dbsession, record: int): pass", "process(): a record cannot be int: annotate it as bytes, str,"),
        ("def process_batch(dbsession): pass", "process_batch() must take (dbsession, records)"),
        ("async def process_batch(dbsession, records): pass", "process_batch() must be an ordinary function"),
        ("def process_batch(dbsession, records: bytes): pass", "annotate them as list[…], not as <class 'bytes'>"),
        ("def process_batch(dbsession, records: list[int]): pass", "process_batch(): a record cannot be int"),
        ("def process(s, record): pass\ndef process_batch(s): pass", "process_batch() must take (dbsession, records)"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(load: Load, source: str, told: str) -> None:
    message = mistake(load, source)
    assert message.startswith("queues.q.handler: ")
    assert told in message


@pytest.mark.parametrize("signature", ["*args", "dbsession, *records", "dbsession, record, more=None"])
def test_other_signatures_that_can_be_called_will_do(load: Load, session: Session, signature: str) -> None:
    handler = load(f"def process({signature}): seen.append(1)")
    handler.process(session, b"")
    assert seen(handler) == [1]


@pytest.mark.parametrize("annotation", ["", ": list", ": list[bytes]", ": Sequence[bytes]", ": 'list[bytes]'"])
def test_a_batch_of_bytes_is_left_as_it_came(load: Load, session: Session, annotation: str) -> None:
    handler = load(
        f"from collections.abc import Sequence\ndef process_batch(dbsession, records{annotation}): seen.append(records)"
    )
    assert handler.process_batch is handler.module.process_batch
    assert handler.decode is None
    handler.process(session, b"one")
    assert seen(handler) == [[b"one"]]


def test_each_record_of_a_typed_batch_can_be_decoded_alone(load: Load, session: Session) -> None:
    handler = load("def process_batch(dbsession, records: list[Reading]): seen.append(records)")
    assert handler.decode is not None
    assert handler.decode(b'{"value": 2}') == handler.module.Reading(2.0)
    with pytest.raises(Reject):
        handler.decode(b"{}")
    handler.process(session, b'{"value": 3}')
    assert seen(handler) == [[handler.module.Reading(3.0)]]


def test_process_and_process_batch_may_want_different_things(load: Load, session: Session) -> None:
    handler = load(
        "def process(dbsession, record: dict): seen.append(record)\n"
        "def process_batch(dbsession, records: list[Reading]): seen.append(records)"
    )
    handler.process(session, b'{"value": 1}')
    assert seen(handler) == [{"value": 1}]
    assert handler.decode is not None
    assert handler.decode(b'{"value": 2}') == handler.module.Reading(2.0)

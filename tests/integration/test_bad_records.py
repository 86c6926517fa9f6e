"""Bad records of every kind: each costs itself only, and its dead letter says what is wrong with it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import Engine, Table, create_engine, text
from sqlalchemy.orm import Session

from handlers_example import events
from streamfea.core.entry import Entry
from streamfea.database.session.session import open_sessions
from streamfea.streams.connection.keys import dead_letters_key
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Verdict
from streamfea.worker.settlement import _last_error
from streamfea.worker.stop_signal import StopSignal
from tests.support.commands import Project
from tests.support.entries import submitted
from tests.support.queues import ref_of

_TIME = '"timestamp": "2024-01-01T00:00:00Z"'
_DEEP = 100_000

# What a record is, and a part of the reason that its dead letter gives.
_FOR_THE_FIRST_HANDLER: list[tuple[bytes, str]] = [
    (b"", "Expecting value"),
    (b"\x00", "Expecting value"),
    (b"\xff\xfe\x00", "can't decode byte 0xff"),
    ('{"name": "ä"}'.encode("latin-1"), "can't decode byte 0xe4"),
    ('{"name": "a"}'.encode("utf-16"), "can't decode byte 0xff"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b"{", "Expecting property name"),
    (b"null", "must be a mapping"),
    (b"[]", "must be a mapping"),
    (b"1e400", "must be a mapping"),
    (b"[" * _DEEP, "maximum recursion depth"),
    (b'{"a":' * _DEEP, "maximum recursion depth"),
    (b"1" * 5000, "4300 digits"),
    (b"{}", "not-null"),
    (b'{"name": null, ' + _TIME.encode() + b"}", "not-null"),
    (b'{"name": "a\\u0000b", ' + _TIME.encode() + b"}", "NUL"),
    (b'{"name": "\\ud800", ' + _TIME.encode() + b"}", "surrogates not allowed"),
    (b'{"name": {"a": 1}, ' + _TIME.encode() + b"}", "dict"),
    (b'{"name": "a", "id": 1e999, ' + _TIME.encode() + b"}", ""),
    (b'{"name": "a", "id": NaN, ' + _TIME.encode() + b"}", ""),
    (b'{"name": "a", "id": 99999999999999999999, ' + _TIME.encode() + b"}", "out of range"),
    (b'{"name": "a", "timestamp": "no time"}', "invalid input syntax"),
]
_FOR_THE_TYPED_HANDLER: list[tuple[bytes, str]] = [
    (b"", "the record is empty"),
    (b"\x00", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b'{"name": "\xe4", "value": 1}', "not UTF-8: byte 0xe4 at position 10"),
    (b'{"a":' * _DEEP, "nested too deeply"),
    (b"null", "Expected `object`"),
    (b"{}", "missing required field `name`"),
    (b'{"name": "a", "value": "1"}', "Expected `int`"),
    (b'{"name": "a", "value": 1.5}', "Expected `int`"),
    (b'{"name": "a", "value": NaN}', "not JSON"),
    (b'{"name": "a", "value": 1' + b"0" * 400 + b"}", ""),
    (b'{"name": "a", "value": 99999999999}', "out of range"),
    (b'{"name": "a\\u0000b", "value": 1}', "NUL"),
    (b'{"name": "\\ud800", "value": 1}', ""),
    (b'{"name": "a", "value": 1, "at": "2024-13-01T00:00:00"}', "date"),
]
_GOOD = {
    "seed": [
        b'{"name": "first", ' + _TIME.encode() + b"}",
        b'{"name": "twice", "name": "second", "unknown": [1], "self": 2, "__class__": 3, ' + _TIME.encode() + b"}",
    ],
    "typed": [b'{"name": "first", "value": 1}', b'{"name": "twice", "name": "second", "value": 2, "unknown": {}}'],
}


@pytest.mark.parametrize(
    ("handler", "bad", "table"),
    [("seed", _FOR_THE_FIRST_HANDLER, "my_event"), ("typed", _FOR_THE_TYPED_HANDLER, "reading")],
)
def test_each_bad_record_has_its_dead_letter_and_the_good_ones_their_rows(
    project: Project, client: Redis, database_url: str, handler: str, bad: list[tuple[bytes, str]], table: str
) -> None:
    project.configure(handler, max_deliveries=1)
    project.run("initdb")
    first, last = _GOOD[handler]
    with client.pipeline() as pipeline:
        for record in (first, *(record for record, _ in bad), last):
            pipeline.xadd(project.stream, {"record": record})
        pipeline.execute()
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(60) == 0
    assert "died" not in consumer.log()
    letters: Any = client.xrange(dead_letters_key(ref_of(project.stream)))
    reasons = {fields[b"record"]: fields[b"streamfea-error"].decode() for _, fields in letters}
    told = {record: (reasons.pop(record, None), reason) for record, reason in bad}
    assert not reasons, "good records are buried"
    wrong = {record[:60]: (got, wanted) for record, (got, wanted) in told.items() if not got or wanted not in got}
    assert not wrong
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalars(text(f"SELECT name FROM {table} ORDER BY id")).all() == ["first", "second"]
    engine.dispose()


def test_entries_of_odd_fields_cost_themselves_only(project: Project, client: Redis) -> None:
    project.configure(max_deliveries=1)
    raw: Any = client
    many = [part for number in range(20_000) for part in (f"field{number}", "value")]
    raw.execute_command("XADD", project.stream, "*", "record", '{"n": 1, "do": "fail"}', *many)
    raw.execute_command("XADD", project.stream, "*", *many)
    raw.execute_command("XADD", project.stream, "*", "", "", b"\xff\x00", b"\xff")
    raw.execute_command("XADD", project.stream, "*", "record", '{"n": 1, "do": "fail"}', "streamfea-reason", "ours")
    raw.execute_command("XADD", project.stream, "*", "record", "first", "record", '{"n": 1}')
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(60) == 0
    assert "died" not in consumer.log()
    letters: Any = client.xrange(dead_letters_key(ref_of(project.stream)))
    assert sorted(fields[b"streamfea-reason"] for _, fields in letters) == [
        b"failed", b"failed", b"no-record", b"no-record",
    ]  # fmt: skip
    assert len(max((fields for _, fields in letters), key=len)) == 20_001 + 12


@pytest.fixture
def tables(project: Project) -> Sequence[Table]:
    project.configure("seed")
    project.run("initdb")  # makes them all
    return ()


_KEYS = st.sampled_from(
    ["name", "timestamp", "id", "", "self", "metadata", "registry", "__class__", "__dict__", "__table__", "__mapper__",
     "_sa_instance_state", "_sa_registry", "__init__", "__str__", "__eq__", "__hash__", "key"]
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2024-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=2),
    max_leaves=4,
)
_RECORDS = st.binary(max_size=20) | st.dictionaries(_KEYS, _VALUES, max_size=5).map(
    lambda one: json.dumps(one).encode()
)


@given(records=st.lists(_RECORDS, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_record_breaks_a_batch(engine: Engine, records: list[bytes]) -> None:
    def process(session: Session, entry: Entry) -> None:
        events.process(session, entry.fields[b"record"])

    good = json.dumps({"name": "good", "timestamp": "2024-01-01T00:00:00Z"}).encode()
    entries = [Entry("q", "s", f"{n}-1", {b"record": one}, 1) for n, one in enumerate([good, *records, good], 1)]
    batch = GroupCommit(open_sessions(engine), process, batch_size=500, commit_interval_seconds=5, stop=StopSignal())
    outcomes = {one.entry.id: one for done in submitted(batch, entries) for one in done}
    assert outcomes.keys() == {entry.id for entry in entries}
    assert {outcomes["1-1"].verdict, outcomes[entries[-1].id].verdict} == {Verdict.DONE}
    for outcome in outcomes.values():
        if outcome.verdict is not Verdict.DONE:
            last_error = _last_error(outcome.error)
            assert last_error.type
            assert last_error.error
            last_error.to_json().encode()


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_that_cannot_speak_or_says_too_much_is_kept_all_the_same() -> None:
    assert _last_error(MuteError()).error == "its text could not be made: RuntimeError"
    assert len(_last_error(ValueError("x" * 10_000_000)).error) < 5_000
    assert len(_last_error(ValueError("x" * 10_000_000)).traceback) < 20_000

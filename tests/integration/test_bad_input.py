"""Configurations, command lines and servers of any kind are answered in readable lines, never by a traceback."""

import io
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamfea.cli.app import main
from streamfea.config.loading import load_settings
from streamfea.config.settings import describe, to_toml
from streamfea.errors import ConfigurationError
from tests.support.commands import HANDLERS, Project
from tests.support.waiting import wait_until

_ONCE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_TEXTS = st.sampled_from(
    ["", "5s", "redis://h", "redis://u:p/w@h:x/0", "redis://[::1", "unix://", "embedded:x",
     "rediss://h?ssl_cert_reqs=no",
     "postgresql+psycopg://h/d", "postgresql+psycopg://u:p@h:x/d", "acked", "maxlen:-1", "99999999999d",
     "json", "recorder"]
) | st.text(max_size=8)  # fmt: skip
_VALUES = st.recursive(
    _TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)
_NAMES = st.sampled_from(
    ["url", "password", "password_file", "username", "tls_ca_file", "connect_args", "handler", "stream", "field",
     "workers", "batch_size", "block", "claim_idle", "retention", "legacy_list", "legacy_errors", "shards", "level",
     "format", "listen"]
) | st.text(max_size=5)  # fmt: skip
_SECTIONS = st.sampled_from(["redis", "database", "consumer", "queues", "log", "metrics", "dashboard", "source"])
_CONFIGURATIONS = st.dictionaries(
    _SECTIONS | st.text(max_size=5),
    _VALUES | st.dictionaries(_NAMES, _VALUES | st.dictionaries(_NAMES, _VALUES, max_size=5), max_size=5),
    max_size=6,
)


@given(configuration=_CONFIGURATIONS)
@_ONCE
def test_any_toml_is_a_configuration_or_a_list_of_mistakes(tmp_path: Path, configuration: dict[str, Any]) -> None:
    usable = {
        "redis": {"url": "redis://h"},
        "database": {"url": "postgresql+psycopg://h/d"},
        "queues": {"q": {"handler": "h"}},
    }
    for content in (configuration, {**usable, **configuration}):
        assert is_loaded_or_told(tmp_path, tomli_w.dumps(content).encode("utf-8", "surrogatepass"))


@given(content=st.binary(max_size=60) | st.text("[]={}\"'.#\n aq1", max_size=60).map(str.encode))
@example(b"\xff\xfe")
@example(b"\x00")
@example(b"[redis]\n[redis]")
@example(b"a = " + b"[" * 10_000)
@_ONCE
def test_any_file_is_a_configuration_or_a_list_of_mistakes(tmp_path: Path, content: bytes) -> None:
    assert is_loaded_or_told(tmp_path, content)


class Said(SimpleNamespace):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


_WORDS = st.sampled_from(
    ["status", "pending", "produce", "check", "print-config", "initdb", "dropdb", "migratedb", "trim", "reset",
     "consumers", "list", "prune", "refresh-views", "make-migration", "q", "-", "--json", "--yes", "--help",
     "--limit", "--idle",
     "--fail-over", "--fail-lag", "--fail-age", "--rate", "--dry-run", "-m", "--list", "-1", "1e9", "5m",
     "/dev/null", "."]
)  # fmt: skip


@given(words=st.lists(_WORDS | st.text(max_size=6).filter(lambda word: "\0" not in word), max_size=5))
@example(["pending", "--idle", "-1s"])
@example(["produce", "q", "/nowhere"])
@example(["produce", "q", "."])
@example(["pending", "--limit", "99999999999999999999999"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_command_line_is_done_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setenv("STREAMFEA_CONFIG", str(configured(tmp_path, "redis://127.0.0.1:1")))
    said = run(words, monkeypatch, capsys)
    assert said.code in {0, 1, 2}, said
    assert "Traceback" not in said.err
    assert "unexpected" not in said.err.replace("unexpected extra argument", "")
    if said.code == 1:
        assert said.err or "problem" in said.out


_REPLIES = [
    b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"+OK\r\n", b":1\r\n", b"$-1\r\n",
    b"*0\r\n",
    b"$5\r\nhello\r\n", b"*1\r\n*1\r\n:7\r\n", b"*2\r\n$1\r\na\r\n*-1\r\n", b"-ERR whatever\r\n", b"-\r\n", b"$x\r\n",
    b"-STRANGE \xff\xfe\r\n", b"%1\r\n+a\r\n+b\r\n", b"*99999999999999\r\n",
]  # fmt: skip


@pytest.mark.parametrize("reply", _REPLIES, ids=repr)
@pytest.mark.parametrize("command", ["status", "pending", "check", "consumers list", "trim"])
def test_a_confused_redis_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, reply: bytes
) -> None:
    with confused_server(reply) as port:
        monkeypatch.setenv("STREAMFEA_CONFIG", str(configured(tmp_path, f"redis://127.0.0.1:{port}")))
        said = run(command.split(), monkeypatch, capsys)
    assert "Traceback" not in said.err
    if said.code:
        assert said.code == 1
        assert "problem" in said.out or len(said.err.splitlines()) == 1, said.err


@pytest.mark.parametrize(
    "reply", [b"", b"N", b"S", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\x00\x00\x00\xff", b"\x00" * 20]
)
def test_a_confused_postgresql_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reply: bytes
) -> None:
    with confused_server(reply) as port:
        file = configured(tmp_path, "redis://127.0.0.1:1")
        file.write_text(file.read_text().replace("127.0.0.1:1/d", f"127.0.0.1:{port}/d?connect_timeout=2"))
        monkeypatch.setenv("STREAMFEA_CONFIG", str(file))
        said = run(["initdb"], monkeypatch, capsys)
    assert said.code == 1
    assert said.err.startswith("Error: PostgreSQL: ")
    assert len(said.err.splitlines()) == 1


def test_consume_waits_for_what_is_no_redis_and_says_so_once(
    tmp_path: Path, project: Project, database_url: str
) -> None:
    with confused_server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port:
        misled = Project(tmp_path / "misled", f"redis://127.0.0.1:{port}", database_url, "s")
        with misled.consuming() as consumer:
            wait_until(lambda: "waiting for Redis" in consumer.log(), "it says that it waits")
            assert consumer.terminate() == 0
    assert consumer.log().count("waiting for Redis") == 1
    assert "Traceback" not in consumer.log()


def is_loaded_or_told(folder: Path, content: bytes) -> bool:
    """Load a file; tell whether its mistakes are told, or what is printed of it means the same when it is loaded."""
    file = folder / "any.toml"
    file.write_bytes(content)
    try:
        found = describe(load_settings(file))
    except ConfigurationError as error:
        return "any.toml" in str(error)
    file.write_text(to_toml(found), encoding="utf-8")
    return describe(load_settings(file)) == found


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run the command line in this process."""
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.chdir(HANDLERS)
        patched.setattr(sys, "argv", ["streamfea", *arguments])
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"n": 1}\n')))
        patched.setattr(sys, "path", [str(HANDLERS), *sys.path])
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
    captured = capsys.readouterr()
    return Said(code=code, out=captured.out, err=captured.err)


def configured(folder: Path, redis_url: str) -> Path:
    """Return a configuration with this Redis, and a PostgreSQL that is away."""
    file = folder / "streamfea.toml"
    database_url = "postgresql+psycopg://u@127.0.0.1:1/d"
    queues = {"q": {"handler": "recorder"}}
    file.write_text(tomli_w.dumps({"redis": {"url": redis_url}, "database": {"url": database_url}, "queues": queues}))
    return file


@contextmanager
def confused_server(reply: bytes) -> Iterator[int]:
    """Answer everything on a port of loopback with `reply`; without one, hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, reply))
        thread.start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer(listener: socket.socket, reply: bytes) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.settimeout(3)  # for clients that wait, too
            with connection, suppress(OSError):
                while reply and connection.recv(65536):
                    connection.sendall(reply)

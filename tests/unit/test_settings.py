"""The configuration: where it comes from, and what is said about mistakes in it."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from streamfea.errors import ConfigurationError
from streamfea.settings import (
    ConsumerSettings,
    LogSettings,
    Queue,
    describe,
    environment_variable,
    load_settings,
    to_toml,
)

_GOOD = """
[redis]
url = "redis://user:geheim@localhost/0"
[database]
url = "postgresql+psycopg://u:geheim@localhost/x"
[consumer]
block = "2s"
[queues.orders]
handler = "handlers.orders"
[queues.clicks]
handler = "handlers.clicks"
block = "7s"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "streamfea.toml"
    path.write_text(_GOOD)
    return path


def mistakes(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    return str(caught.value)


def test_queues_take_their_defaults_from_consumer_and_override_them(file: Path) -> None:
    orders, clicks = load_settings(file).select([])
    assert (orders.stream, orders.block, orders.batch_size) == ("orders", timedelta(seconds=2), 500)
    assert clicks.block == timedelta(seconds=7)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFEA_REDIS__URL", "redis://elsewhere/3")
    monkeypatch.setenv("STREAMFEA_CONSUMER__BATCH_SIZE", "7")
    monkeypatch.setenv("STREAMFEA_QUEUES__CLICKS__WORKERS", "4")
    settings = load_settings(file)
    assert settings.redis.url == "redis://elsewhere/3"
    assert [queue.batch_size for queue in settings.select([])] == [7, 7]
    assert settings.queues["clicks"].workers == 4
    assert settings.queues["clicks"].handler == "handlers.clicks"


def test_the_file_is_looked_for_in_the_usual_places(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().source == "streamfea.toml"
    moved = file.parent / "config" / "streamfea.toml"
    moved.parent.mkdir()
    file.rename(moved)
    assert load_settings().source == "config/streamfea.toml"
    other = moved.rename(file.parent / "other.toml")
    monkeypatch.setenv("STREAMFEA_CONFIG", str(other))
    assert load_settings().source == str(other)
    monkeypatch.delenv("STREAMFEA_CONFIG")
    with pytest.raises(ConfigurationError, match="name a file with --config"):
        load_settings()


def test_all_mistakes_are_told_at_once_with_key_and_remedy(file: Path) -> None:
    told = mistakes(
        file,
        """
        [redis]
        url = "http://localhost"
        [database]
        url = "postgresql://localhost/x"
        [consumer]
        batchsize = 4
        block = "soon"
        [queues.a]
        workers = 0
        [logs]
        """,
    )
    assert told.startswith(f"7 mistakes in {file}:\n")
    for line in (
        "redis.url: not an address of a Redis: write redis://, rediss://, unix:// or embedded:DIR",
        "database.url: write postgresql+psycopg:// before the rest",
        "consumer.batchsize: there is no such key (did you mean batch_size?)",
        "consumer.block: 'soon' is not a duration: write a number and a unit, like 500ms",
        "queues.a.workers: should be greater than or equal to 1",
        'queues.a.handler: is missing; add handler = "module"',
        "logs: there is no such section (did you mean log?)",
    ):
        assert line in told


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ('[queues.orders]\nhandler = "x"\nshards = 2', "queues.orders.shards"),
        ('[metrics]\nlisten = ":1"', "metrics"),
        ('[dashboard]\ntoken = "x"', "dashboard"),
    ],
)
def test_what_comes_later_is_refused_not_ignored(file: Path, line: str, where: str) -> None:
    servers = _GOOD.split("[consumer]", maxsplit=1)[0]
    assert f"{where}: not supported by this version yet; remove it" in mistakes(file, servers + line)


@pytest.mark.parametrize("url", ["redis+sentinel://a:1,b:2/name/0", "redis+cluster://a:1"])
def test_sentinel_and_cluster_are_said_to_come_later(file: Path, url: str) -> None:
    assert "not supported by this version yet" in mistakes(file, _GOOD.replace("redis://user:geheim@localhost/0", url))


@pytest.mark.parametrize(
    ("lines", "stream"),
    [
        ('legacy_list = "orders"', "{orders}:stream"),
        ('legacy_list = "shop:{orders}:in"', "shop:{orders}:in:stream"),
        ('legacy_list = "orders"\nstream = "other"', "other"),
        ('legacy_errors = "errors-orders"', "orders"),
    ],
)
def test_a_list_and_its_stream_share_a_slot_but_no_key(file: Path, lines: str, stream: str) -> None:
    servers = _GOOD.split("[consumer]", maxsplit=1)[0]
    file.write_text(f'{servers}[queues.orders]\nhandler = "x"\n{lines}')
    assert load_settings(file).queues["orders"].stream == stream


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('legacy_list = "a"\nstream = "a"', "queues.orders: a cannot be both a list and the stream"),
        ('legacy_errors = "orders"', "queues.orders: orders cannot be both a list and the stream"),
        ('legacy_list = "a"\nlegacy_errors = "a"', "queues.orders: legacy_list and legacy_errors are both a"),
        ('legacy_list = "a"\nfield = "*"', 'which field = "*" has no name for: set field = "record"'),
        (
            'legacy_list = "a"\n[queues.more]\nhandler = "x"\nlegacy_errors = "a"',
            "queues.orders and queues.more would both take from the list a",
        ),
    ],
)
def test_a_list_that_cannot_be_moved_is_a_mistake(file: Path, lines: str, told: str) -> None:
    servers = _GOOD.split("[consumer]", maxsplit=1)[0]
    assert told in mistakes(file, f'{servers}[queues.orders]\nhandler = "x"\n{lines}')


def test_no_queue_is_a_mistake(file: Path) -> None:
    assert "queues: is missing" in mistakes(file, _GOOD.split("[consumer]", maxsplit=1)[0])


def test_broken_toml_is_told_with_its_line(file: Path) -> None:
    assert "line 2" in mistakes(file, "[redis]\nurl = redis")


def test_unknown_variables_are_mistakes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFEA_REDDIS__URL", "redis://x")
    with pytest.raises(ConfigurationError, match="STREAMFEA_REDDIS__URL: there is no such setting"):
        load_settings(file)


def test_an_unknown_queue_is_told_with_the_known_ones(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no queue 'order' \(did you mean orders\?\).* has orders, clicks"):
        load_settings(file).select(["order"])


def test_secrets_are_shown_nowhere(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("geheim\n")
    file.write_text(
        _GOOD.replace("[database]", f'password_file = "{secret}"\n[database]\nconnect_args = {{ password = "geheim" }}')
    )
    settings = load_settings(file)
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "geheim"
    assert "geheim" not in to_toml(describe(settings))
    assert "geheim" not in repr(settings.redis.password)
    assert "geheim" not in mistakes(file, _GOOD.replace("redis://", "rdis://").replace("+psycopg", ""))


def test_a_password_file_that_cannot_be_read_is_a_mistake(file: Path) -> None:
    told = mistakes(file, _GOOD.replace("[database]", 'password_file = "nowhere"\n[database]'))
    assert "redis: cannot read password_file nowhere" in told


def test_tls_files_need_a_tls_address(file: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    told = mistakes(file, _GOOD.replace("[database]", f'tls_ca_file = "{ca}"\n[database]'))
    assert "tls_ca_file is for TLS: write the url as rediss://" in told


def test_what_is_described_can_be_read_again(file: Path) -> None:
    described = describe(load_settings(file))
    again = tomllib.loads(to_toml(described))
    assert again["queues"]["clicks"]["block"] == "7s"
    assert again == described


def test_variables_are_named_in_one_way() -> None:
    assert environment_variable("redis", "url") == "STREAMFEA_REDIS__URL"


def test_the_production_file_shows_every_key_with_its_default() -> None:
    path = Path(__file__).parents[2] / "config" / "production.toml"
    text = path.read_text()
    shown = tomllib.loads(text)
    defaults = describe(load_settings(path))
    assert shown["log"] == {name: defaults["log"][name] for name in LogSettings.model_fields}
    queue = Queue(name="x", stream="x", handler="x").model_dump(mode="json")
    assert shown["consumer"] == {name: queue[name] for name in ConsumerSettings.model_fields}
    for key in (
        "username",
        "password_file",
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
        "connect_args",
        "field",
        "legacy_list",
        "legacy_errors",
    ):
        assert f"{key} =" in text

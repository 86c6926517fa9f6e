"""The configuration: where it comes from, and what is said about mistakes in it."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from streamfea.config.loading import load_settings
from streamfea.config.sections import ConsumerSettings, LogSettings, Queue
from streamfea.config.settings import describe, environment_variable, to_toml
from streamfea.errors import ConfigurationError

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
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == (
        f"no configuration: neither streamfea.toml nor config/streamfea.toml is in {file.parent}: name a file with "
        "--config or $STREAMFEA_CONFIG, or write one with `streamfea new-handler NAME`"
    )


def test_a_file_that_is_named_and_not_there_is_a_mistake_whatever_else_is(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^there is no configuration file nowhere.toml$"):
        load_settings(Path("nowhere.toml"))


def test_all_mistakes_are_told_at_once_with_key_and_remedy(file: Path) -> None:
    told = mistakes(
        file,
        """
        [redis]
        url = "http://localhost"
        [database]
        url = "mysql://localhost/x"
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
        "database.url: not an address of a PostgreSQL: write postgresql:// or embedded:DIR",
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
        ('[history]\nkeep = "72h"', "history"),
        ('[dashboard]\ntoken = "x"', "dashboard"),
    ],
)
def test_what_comes_later_is_refused_not_ignored(file: Path, line: str, where: str) -> None:
    servers = _GOOD.split("[consumer]", maxsplit=1)[0]
    assert f"{where}: not supported by this version yet; remove it" in mistakes(file, servers + line)


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://a:1,b:2/name/0", "redis+cluster://a:1", "rediss+sentinel://a:1/name", "rediss+cluster://a:1"],
)
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
        ('field = "streamfea-record"', 'names that begin with "streamfea-" are those of dead letters'),
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
    told = mistakes(file, "[redis]\nurl = redis")
    assert told.startswith(f"cannot read {file}: ")
    assert "line 2" in told


@pytest.mark.parametrize(
    "variable", ["STREAMFEA_REDDIS__URL", "STREAMFEA_REDIS", "STREAMFEA_SOURCE__URL", "STREAMFEA_REDIS_URL"]
)
def test_unknown_variables_are_mistakes(file: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "redis://x")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert str(caught.value) == (
        "1 mistake in the environment:\n"
        f"  {variable}: there is no such setting; write STREAMFEA_SECTION__KEY, or unset it"
    )


def test_a_table_in_the_environment_is_json_or_a_mistake(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFEA_DATABASE__CONNECT_ARGS", '{"sslmode": "require"}')
    assert load_settings(file).database.connect_args == {"sslmode": "require"}
    monkeypatch.setenv("STREAMFEA_DATABASE__CONNECT_ARGS", "sslmode=require")
    with pytest.raises(ConfigurationError, match=r'"database" .*: a table in the environment is written as JSON$'):
        load_settings(file)


def test_an_unknown_variable_is_told_with_the_mistakes_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFEA_REDDIS__URL", "redis://x")
    told = mistakes(file, _GOOD.replace('"2s"', '"0s"'))
    assert told.startswith(f"2 mistakes in {file}:\n  consumer.block: should be")
    assert "\n  STREAMFEA_REDDIS__URL: there is no such setting" in told


def test_variables_that_name_a_setting_or_are_for_tests_and_embedded_servers_are_none(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFEA_DATABASE__URL", "embedded:elsewhere")
    monkeypatch.setenv("STREAMFEA_LOG__LEVEL", "debug")
    monkeypatch.setenv("STREAMFEA_QUEUES__ORDERS__RETENTION", "7d")
    monkeypatch.setenv("STREAMFEA_TEST_SECONDS", "1")
    monkeypatch.setenv("STREAMFEA_EMBEDDED_X", "1")
    settings = load_settings(file)
    assert (settings.database.url, settings.log.level) == ("embedded:elsewhere", "debug")
    assert str(settings.queues["orders"].retention) == "7d"


@pytest.mark.parametrize("where", ["other place/streamfea.toml", "other place/config/streamfea.toml"])
def test_embedded_servers_are_found_from_the_file_not_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    file = tmp_path / where
    file.parent.mkdir(parents=True)
    file.write_text(
        '[redis]\nurl = "embedded:var/redis"\n[database]\nurl = "embedded:/srv/pg"\n[queues.q]\nhandler = "h"\n'
    )
    monkeypatch.chdir(tmp_path)
    settings = load_settings(file)
    assert settings.redis.url == f"embedded:{tmp_path}/other place/var/redis"
    assert settings.database.url == "embedded:/srv/pg"
    monkeypatch.chdir(tmp_path / "other place")
    assert load_settings(file).redis.url == "embedded:var/redis"


def test_of_a_hundred_queues_ten_are_named(tmp_path: Path) -> None:
    file = tmp_path / "streamfea.toml"
    queues = "".join(f'[queues.q{number}]\nhandler = "h"\n' for number in range(100))
    file.write_text(f'[redis]\nurl = "redis://x"\n[database]\nurl = "postgresql://x/y"\n{queues}')
    with pytest.raises(ConfigurationError, match=r"\(did you mean q4\?\): .* q9 and 90 more$"):
        load_settings(file).select(["qq4"])


def test_an_unknown_queue_is_told_with_the_known_ones(file: Path) -> None:
    settings = load_settings(file)
    with pytest.raises(ConfigurationError) as caught:
        settings.select(["clicks", "order"])
    assert str(caught.value) == f"there is no queue 'order' (did you mean orders?): {file} has orders, clicks"


def test_queues_are_selected_in_the_order_in_which_they_are_named_and_once(file: Path) -> None:
    settings = load_settings(file)
    assert [queue.name for queue in settings.select([])] == ["orders", "clicks"]
    assert [queue.name for queue in settings.select(["clicks", "orders", "clicks"])] == ["clicks", "orders"]


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


def test_a_password_and_a_file_that_holds_one_are_a_mistake(file: Path) -> None:
    told = mistakes(file, _GOOD.replace("[database]", 'password = "x"\npassword_file = "nowhere"\n[database]'))
    assert "redis: has both password and password_file; keep one" in told


def test_a_password_file_may_end_its_line_as_any_editor_does_and_spaces_count(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b" geheim \r\n")
    file.write_text(_GOOD.replace("[database]", f'password_file = "{secret}"\n[database]'))
    password = load_settings(file).redis.password
    assert password is not None
    assert password.get_secret_value() == " geheim "


def test_tls_files_need_a_tls_address(file: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    told = mistakes(file, _GOOD.replace("[database]", f'tls_ca_file = "{ca}"\n[database]'))
    assert "tls_ca_file is for TLS: write the url as rediss://" in told
    file.write_text(_GOOD.replace("redis://", "rediss://").replace("[database]", f'tls_ca_file = "{ca}"\n[database]'))
    assert load_settings(file).redis.tls_ca_file == ca


def test_a_tls_file_that_is_not_there_is_a_mistake(file: Path) -> None:
    text = _GOOD.replace("redis://", "rediss://").replace("[database]", 'tls_key_file = "nowhere"\n[database]')
    assert "redis.tls_key_file: there is no file nowhere" in mistakes(file, text)


def test_what_is_described_can_be_read_again(file: Path) -> None:
    described = describe(load_settings(file))
    again = tomllib.loads(to_toml(described))
    assert again["queues"]["clicks"]["block"] == "7s"
    assert again == described
    assert again.keys() == {"redis", "database", "queues", "log", "metrics"}


def test_of_what_is_secret_it_is_described_only_that_it_is_there(file: Path) -> None:
    file.write_text(
        _GOOD.replace(
            "[database]",
            'password = "geheim"\n[database]\n'
            'connect_args = { password = "geheim", sslpassword = "geheim", sslmode = "require" }',
        )
    )
    described = describe(load_settings(file))
    assert described["redis"] == {"url": "redis://user:**********@localhost/0", "password": "**********"}
    assert described["database"] == {
        "url": "postgresql+psycopg://u:**********@localhost/x",
        "connect_args": {"password": "**********", "sslpassword": "**********", "sslmode": "require"},
    }


def test_variables_are_named_in_one_way() -> None:
    assert environment_variable("redis", "url") == "STREAMFEA_REDIS__URL"
    assert environment_variable("queues.orders", "batch_size") == "STREAMFEA_QUEUES__ORDERS__BATCH_SIZE"


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


def test_a_file_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    deep = tmp_path / "deep.toml"
    deep.write_text(f"x = {'[' * 100_000}")
    with pytest.raises(ConfigurationError, match=f"^cannot read {re.escape(str(deep))}: nested too deeply$"):
        load_settings(deep)

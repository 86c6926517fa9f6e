"""What is said about mistakes in a configuration, and what is never shown of it."""

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamfea.config.problems import MASK, check_database_url, check_redis_url, masked, problems_in, suggestion
from streamfea.config.settings import Settings

_GOOD: dict[str, Any] = {
    "source": "",
    "redis": {"url": "redis://localhost"},
    "database": {"url": "postgresql+psycopg://localhost/x"},
    "queues": {"orders": {"handler": "x"}},
}


def told(*variables: str, **sections: Any) -> str:
    """Return what is said when `sections` are put over a good configuration; those that are None are left out."""
    given = {name: section for name, section in {**_GOOD, **sections}.items() if section is not None}
    try:
        Settings(**given)
    except ValidationError as error:
        return problems_in(error, "x.toml", variables, Settings)
    return problems_in(None, "x.toml", variables, Settings)


@pytest.mark.parametrize(
    "url", ["redis://host:6379/0", "rediss://host", "unix:///run/redis.sock", "embedded:var/valkey", 3, None]
)
def test_addresses_of_a_redis_are_left_as_they_are_and_types_to_pydantic(url: Any) -> None:
    assert check_redis_url(url) == url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_libpqs_own_schemes_are_taken(scheme: str) -> None:
    assert check_database_url(f"{scheme}://u:p@host/db?x=://") == "postgresql+psycopg://u:p@host/db?x=://"


@pytest.mark.parametrize("url", ["postgresql+psycopg://u@host/db", "embedded:var/postgresql", 3, None])
def test_addresses_of_a_postgresql_are_left_as_they_are_and_types_to_pydantic(url: Any) -> None:
    assert check_database_url(url) == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://host", "not an address of a Redis: write redis://, rediss://, unix:// or embedded:DIR"),
        ("REDIS://host", "not an address of a Redis: write redis://, rediss://, unix:// or embedded:DIR"),
        (
            "redis+sentinel://a:1,b:2/name/0",
            "Sentinel and Cluster are not supported by this version yet; use redis://, rediss:// or unix://",
        ),
        ("embedded:", "name the folder that the server lives in, as in embedded:var/server"),
    ],
)
def test_any_other_address_of_a_redis_is_told_with_those_that_work(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_redis_url(url)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql+asyncpg://host/db",
            "write postgresql:// before the rest: psycopg is the one driver that streamfea uses",
        ),
        ("mysql://host/db", "not an address of a PostgreSQL: write postgresql:// or embedded:DIR"),
        ("embedded:", "name the folder that the server lives in, as in embedded:var/server"),
    ],
)
def test_any_other_address_of_a_postgresql_is_told_with_those_that_work(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_database_url(url)
    assert str(caught.value) == message


_WORDS = st.text("abc019_-.", max_size=8)


@given(_WORDS, st.text())
@example("user", "p@ss")
@example("", "a:b/c?d#e")
def test_of_an_address_everything_is_shown_but_its_password(user: str, password: str) -> None:
    assert masked(f"redis://{user}:{password}@host:6379/0") == f"redis://{user}:{MASK}@host:6379/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("postgresql+psycopg://user@host/db", "postgresql+psycopg://user@host/db"),
        ("embedded:var/valkey", "embedded:var/valkey"),
        ("unix:///run/redis.sock?password=geheim&db=1", f"unix:///run/redis.sock?password={MASK}&db=1"),
        (
            "postgresql+psycopg://host/db?user=u&password=geheim&sslpassword=geheim",
            f"postgresql+psycopg://host/db?user=u&password={MASK}&sslpassword={MASK}",
        ),
    ],
)
def test_passwords_are_masked_wherever_an_address_has_them(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    ("word", "known", "question"),
    [
        ("ordrs", ["clicks", "orders"], " (did you mean orders?)"),
        ("oders", ["orders", "border"], " (did you mean orders?)"),
        ("zzz", ["clicks", "orders"], ""),
        ("orders", [], ""),
    ],
)
def test_the_nearest_name_is_suggested_if_any_is_near(word: str, known: list[str], question: str) -> None:
    assert suggestion(word, known) == question


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"redis": None}, 'redis: is missing; add [redis] with url = "redis://localhost:6379/0"'),
        ({"redis": {}}, 'redis.url: is missing; add url = "redis://localhost:6379/0"'),
        (
            {"database": None},
            'database: is missing; add [database] with url = "postgresql+psycopg://user@localhost/name"',
        ),
        ({"database": {}}, 'database.url: is missing; add url = "postgresql+psycopg://user@localhost/name"'),
        ({"queues": None}, 'queues: is missing; add [queues.NAME] with handler = "module"'),
        ({"queues": {}}, 'queues: there is none; add [queues.NAME] with handler = "module"'),
        ({"queues": {"a": {}}}, 'queues.a.handler: is missing; add handler = "module"'),
        ({"queues": 3}, "queues: should be a valid dictionary"),
        ({"qeues": {}}, "qeues: there is no such section (did you mean queues?)"),
        ({"zzz": {}}, "zzz: there is no such section"),
        ({"sourc": {}}, "sourc: there is no such section"),
        ({"log": {"levl": "info"}}, "log.levl: there is no such key (did you mean level?)"),
        (
            {"queues": {"a": {"handlr": "x", "handler": "x"}}},
            "queues.a.handlr: there is no such key (did you mean handler?)",
        ),
        ({"queues": {"a": {"nam": "x", "handler": "x"}}}, "queues.a.nam: there is no such key"),
        (
            {"queues": {"stream": {"blok": "5s", "handler": "x"}}},
            "queues.stream.blok: there is no such key (did you mean block?)",
        ),
        (
            {"queues": {"a": {"shards": 2, "handler": "x"}}},
            "queues.a.shards: not supported by this version yet; remove it",
        ),
        ({"dashboard": {}}, "dashboard: not supported by this version yet; remove it"),
        ({"shards": 2}, "shards: there is no such section"),
        ({"queues": {"a": {"metrics": 2, "handler": "x"}}}, "queues.a.metrics: there is no such key"),
        ({"consumer": {"block": "0s"}}, "consumer.block: should be greater than 0s"),
        ({"consumer": {"workers": 0}}, "consumer.workers: should be greater than or equal to 1"),
        (
            {"redis": {"url": "embedded:"}},
            "redis.url: name the folder that the server lives in, as in embedded:var/server",
        ),
        (
            {"queues": {"a": {"handler": "x", "legacy_list": "l"}, "b": {"handler": "x", "legacy_errors": "l"}}},
            "queues.a and queues.b would both take from the list l: an element goes to one stream; remove one",
        ),
        ({"queues": {"a": {"handler": "x", "legacy_list": 3}}}, "queues.a.legacy_list: should be a valid string"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_a_remedy(sections: dict[str, Any], line: str) -> None:
    assert told(**sections) == f"1 mistake in x.toml:\n  {line}"


def test_mistakes_are_counted_and_each_is_told_once() -> None:
    assert told("STREAMFEA_X", "STREAMFEA_Y", consumer={"workers": 0}).splitlines() == [
        "3 mistakes in x.toml:",
        "  consumer.workers: should be greater than or equal to 1",
        "  STREAMFEA_X: there is no such setting; write STREAMFEA_SECTION__KEY, or unset it",
        "  STREAMFEA_Y: there is no such setting; write STREAMFEA_SECTION__KEY, or unset it",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost", "redis://localhost/", "redis://localhost:6379/0", "rediss://u:p%2F@h:1/%31%32",
        "unix:///run/redis.sock", "unix:///X",
    ],
)  # fmt: skip
def test_addresses_of_a_redis_that_can_be_read(url: str) -> None:
    assert check_redis_url(url) == url


_UNREADABLE = "cannot be read: check host and port, and write / ? # @ : in a password as %2F %3F %23 %40 %3A"
_NO_NUMBER = "the database after the host has to be a number, as in redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("unix://", "name the socket, as in unix:///run/redis.sock"),
        ("unix:///", "name the socket, as in unix:///run/redis.sock"),
        ("redis://localhost:port/0", _UNREADABLE),
        ("redis://localhost:70000/0", _UNREADABLE),
        ("redis://[::1/0", _UNREADABLE),
        ("redis://localhost/orders", _NO_NUMBER),
        ("redis://localhost/X", _NO_NUMBER),
        ("redis://localhost/\N{ARABIC-INDIC DIGIT ONE}", _NO_NUMBER),
    ],
)
def test_addresses_of_a_redis_that_cannot_be_read(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(what)}$"):
        check_redis_url(url)

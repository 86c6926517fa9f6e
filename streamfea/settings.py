"""The configuration, typed: a TOML file, the environment over it, defaults under it.

This is the one place that knows the names of sections, keys and environment variables. Mistakes are reported all at
once, each with its key and a remedy.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamfea.durations import format_duration, parse_duration
from streamfea.errors import ConfigurationError
from streamfea.hashtag import in_slot_of
from streamfea.mistakes import check_database_url, check_redis_url, masked, mistakes_in, suggestion
from streamfea.retention import ACKED, Retention, parse_retention

__all__ = [
    "DatabaseSettings", "LogSettings", "Queue", "RedisSettings", "Settings", "describe", "environment_variable",
    "load_settings", "to_toml",
]  # fmt: skip

_PREFIX = "STREAMFEA_"
_CONFIG_VARIABLE = f"{_PREFIX}CONFIG"
_NO_SETTINGS = (f"{_PREFIX}TEST_", f"{_PREFIX}EMBEDDED_")
_FILES = (Path("streamfea.toml"), Path("config/streamfea.toml"))

Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str, when_used="always")
]
# Without NoDecode, a value from the environment would have to be JSON.
Retained = Annotated[
    Retention, NoDecode, BeforeValidator(parse_retention), PlainSerializer(str, return_type=str, when_used="always")
]
PositiveDuration = Annotated[Duration, Field(gt=timedelta(0))]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """A section whose keys are all known, and whose values are never shown in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _WithPassword(_Section):
    password: SecretStr | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _read_password_file(self) -> Self:
        if self.password_file is None:
            return self
        if self.password is not None:
            raise ValueError("has both password and password_file; keep one")
        try:
            password = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"cannot read password_file {self.password_file}: {error.strerror}") from error
        object.__setattr__(self, "password", SecretStr(password))
        return self


class RedisSettings(_WithPassword):
    """`[redis]`: where the streams are."""

    url: Annotated[str, BeforeValidator(check_redis_url)]
    username: str | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

    @field_validator("tls_ca_file", "tls_cert_file", "tls_key_file")
    @classmethod
    def _must_exist(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @model_validator(mode="after")
    def _tls_files_need_tls(self) -> Self:
        given = [name for name in ("tls_ca_file", "tls_cert_file", "tls_key_file") if getattr(self, name) is not None]
        if given and not self.url.startswith("rediss://"):
            raise ValueError(f"{given[0]} is for TLS: write the url as rediss://, or remove {', '.join(given)}")
        return self


class DatabaseSettings(_WithPassword):
    """`[database]`: where the rows go. `connect_args` are libpq's connection parameters."""

    url: Annotated[str, BeforeValidator(check_database_url)]
    connect_args: dict[str, str | int] = {}


class LogSettings(_Section):
    """`[log]`: what is logged, and how; `records` logs every record whole."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
    records: bool = False


class ConsumerSettings(_Section):
    """`[consumer]`: the defaults of every queue.

    `guarantee`: `at-least-once`, where a crash between COMMIT and XACK has a record done again, or `exactly-once`,
    where a ledger in the database, written in the same transaction, has its effects there once. `bulk` writes new rows
    by COPY instead of INSERT where that makes no difference but to speed.

    `retention` says what becomes of entries that every group of the stream has acknowledged: `acked` removes them,
    `keep` does not, `7d` once they are older than that, `maxlen:N` while the stream is longer than N.
    """

    group: Annotated[str, Field(min_length=1)] = "streamfea"
    workers: Count = 1
    batch_size: Count = 500
    commit_interval: PositiveDuration = timedelta(seconds=1)
    block: PositiveDuration = timedelta(seconds=5)
    claim_idle: PositiveDuration = timedelta(seconds=60)
    max_deliveries: Count = 5
    backoff: PositiveDuration = timedelta(seconds=1)
    timeout: PositiveDuration = timedelta(minutes=10)
    guarantee: Literal["at-least-once", "exactly-once"] = "at-least-once"
    bulk: bool = True
    retention: Retained = ACKED
    shutdown_timeout: PositiveDuration = timedelta(seconds=30)


class Queue(ConsumerSettings):
    """`[queues.NAME]`: a stream, the group that reads it, and the handler that its records go to.

    `field` is the field of an entry that holds the record; with `*` the record is a JSON object of all fields.
    `legacy_list` is a list that producers still push to, `legacy_errors` one that holds records which failed in the
    system before this one: both are moved to the stream, each element as a record in `field`.
    """

    name: Annotated[str, Field(pattern=r"^\S+$")]
    handler: Annotated[str, Field(min_length=1)]
    stream: Annotated[str, Field(min_length=1)]
    field: Annotated[str, Field(min_length=1)] = "record"
    legacy_list: Annotated[str, Field(min_length=1)] | None = None
    legacy_errors: Annotated[str, Field(min_length=1)] | None = None

    @property
    def legacy_lists(self) -> tuple[str, ...]:
        """The lists that feed the stream, the one that producers push to first."""
        return tuple(key for key in (self.legacy_list, self.legacy_errors) if key is not None)

    @model_validator(mode="after")
    def _lists_are_keys_of_their_own(self) -> Self:
        lists = self.legacy_lists
        if self.stream in lists:
            raise ValueError(
                f"{self.stream} cannot be both a list and the stream: remove stream, or set it to another key"
            )
        if len(set(lists)) < len(lists):
            raise ValueError(f"legacy_list and legacy_errors are both {lists[0]}: remove one")
        if lists and self.field == "*":
            raise ValueError(
                'an element of a list is one record, which field = "*" has no name for: set field = "record" '
                "or another field"
            )
        return self


class Settings(BaseSettings):
    """All settings in force; `source` is the file that they come from."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    redis: RedisSettings
    database: DatabaseSettings
    consumer: ConsumerSettings = ConsumerSettings()
    queues: dict[str, Queue] = Field(min_length=1)
    log: LogSettings = LogSettings()
    source: str = ""

    @model_validator(mode="before")
    @classmethod
    def _give_queues_their_defaults(cls, data: Any) -> Any:
        queues = data.get("queues") if isinstance(data, dict) else None
        if not isinstance(queues, dict):
            return data
        shared = data.get("consumer")
        known = (
            {key: value for key, value in shared.items() if key in ConsumerSettings.model_fields}
            if isinstance(shared, dict)
            else {}
        )
        wrong = _wrong_keys(known)
        defaults = {key: value for key, value in known.items() if key not in wrong}
        return {**data, "queues": {name: _complete(name, queue, defaults) for name, queue in queues.items()}}

    @model_validator(mode="after")
    def _no_list_feeds_two_queues(self) -> Self:
        fed: dict[str, str] = {}
        for queue in self.queues.values():
            for key in queue.legacy_lists:
                if key in fed:
                    raise ValueError(
                        f"queues.{fed[key]} and queues.{queue.name} would both take from the list {key}: "
                        "an element goes to one stream; remove one"
                    )
                fed[key] = queue.name
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; the file's path comes with `source`."""
        path = init_settings().get("source", "")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    def select(self, names: Sequence[str]) -> list[Queue]:
        """Return the queues of these names, or all if there are none; raise `ConfigurationError` for an unknown one."""
        for name in names:
            if name not in self.queues:
                raise ConfigurationError(
                    f"there is no queue {name!r}{suggestion(name, self.queues)}: "
                    f"{self.source} has {', '.join(self.queues)}"
                )
        return [self.queues[name] for name in dict.fromkeys(names or self.queues)]


def load_settings(path: Path | None = None) -> Settings:
    """Return the settings from the file at `path`, else from the first of the usual places, and the environment.

    Raises `ConfigurationError` that lists every mistake.
    """
    source = _find(path)
    try:
        settings = Settings(source=str(source))
    except ValidationError as error:
        mistakes = mistakes_in(error, str(source), [*_unknown_variables()], Settings)
        raise ConfigurationError(mistakes) from None  # the cause would show values, passwords among them
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"cannot read {source}: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"cannot read {source}: nested too deeply") from None
    unknown = list(_unknown_variables())
    if unknown:
        raise ConfigurationError(mistakes_in(None, "the environment", unknown, Settings))
    return settings


def environment_variable(section: str, key: str) -> str:
    """Return the name of the variable that sets `key` of `section`, as in STREAMFEA_REDIS__URL."""
    return f"{_PREFIX}{section}__{key}".upper().replace(".", "__")


def describe(settings: Settings) -> dict[str, Any]:
    """Return the settings in force as TOML knows them, with secrets masked."""
    dumped = settings.model_dump(mode="json", exclude={"source", "consumer"}, exclude_none=True)
    for section in ("redis", "database"):
        dumped[section]["url"] = masked(dumped[section]["url"])
        if "password" in dumped[section]:
            dumped[section]["password"] = masked(None)
    if "password" in dumped["database"].get("connect_args", {}):
        dumped["database"]["connect_args"]["password"] = masked(None)
    for queue in dumped["queues"].values():
        del queue["name"]
    return dumped


def to_toml(settings: dict[str, Any]) -> str:
    """Return TOML text."""
    return tomli_w.dumps(settings)


def _find(path: Path | None) -> Path:
    given = path or (Path(variable) if (variable := os.environ.get(_CONFIG_VARIABLE)) else None)
    if given is not None:
        if not given.is_file():
            raise ConfigurationError(f"there is no configuration file {given}")
        return given
    for candidate in _FILES:
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        f"no configuration: neither {' nor '.join(map(str, _FILES))} is in {Path.cwd()}; "
        f"name a file with --config or ${_CONFIG_VARIABLE}"
    )


def _complete(name: str, queue: Any, defaults: dict[str, Any]) -> Any:
    if not isinstance(queue, dict):
        return queue
    legacy = queue.get("legacy_list")
    # One key cannot be list and stream.
    stream = f"{in_slot_of(legacy)}:stream" if isinstance(legacy, str) and legacy else name
    return {"stream": stream, **defaults, **queue, "name": name}


def _wrong_keys(section: dict[str, Any]) -> set[str]:
    """Return the keys of `[consumer]` that are wrong: told once there, they need not be told again for every queue."""
    try:
        ConsumerSettings.model_validate(section)
    except ValidationError as error:
        return {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    return set()


def _unknown_variables() -> Iterator[str]:
    """Yield the environment variables that mean to be ours and set nothing."""
    for variable in os.environ:
        if not variable.startswith(_PREFIX) or variable == _CONFIG_VARIABLE or variable.startswith(_NO_SETTINGS):
            continue
        section = variable.removeprefix(_PREFIX).partition("__")[0].lower()
        if section not in {"redis", "database", "consumer", "queues", "log"} or "__" not in variable:
            yield variable

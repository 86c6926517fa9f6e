"""The typed configuration: a TOML file, overridden by the environment, completed by defaults.

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
    SettingsError,
    TomlConfigSettingsSource,
)

from streamfea.config.azafea import is_of_azafea
from streamfea.config.problems import (
    MASK,
    check_database_url,
    check_redis_url,
    is_secret,
    masked,
    problems_in,
    suggestion,
)
from streamfea.config.retention import ACKED, Retention, parse_retention
from streamfea.core.durations import format_duration, parse_duration
from streamfea.core.group_ref import GroupRef
from streamfea.core.hash_tag import in_slot_of
from streamfea.errors import ConfigurationError

__all__ = [
    "DatabaseSettings", "LogSettings", "Queue", "RedisSettings", "Settings", "describe", "environment_variable",
    "find_config", "folder_of", "load_settings", "to_toml",
]  # fmt: skip

_PREFIX = "STREAMFEA_"
_CONFIG_VARIABLE = f"{_PREFIX}CONFIG"
_NO_SETTINGS = (f"{_PREFIX}TEST_", f"{_PREFIX}EMBEDDED_")
_NAMED_AT_MOST = 10
_EMBEDDED = "embedded:"
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
    password: SecretStr | None = Field(
        None, description="the password, if the url has none; a file or the environment is safer", examples=["…"]
    )
    password_file: Path | None = Field(
        None, description="a file that holds the password and nothing else", examples=["/run/secrets/password"]
    )

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

    url: Annotated[str, BeforeValidator(check_redis_url)] = Field(
        description="redis:// (plain), rediss:// (TLS), unix:///path/of.sock, or embedded:DIR for a server that "
        "streamfea starts itself",
        examples=["redis://redis.example:6379/0"],
    )
    username: str | None = Field(None, description="the user, if the url has none", examples=["streamfea"])
    tls_ca_file: Path | None = Field(
        None,
        description="for rediss://: the authorities to trust, instead of the system's",
        examples=["/etc/ssl/redis-ca.pem"],
    )
    tls_cert_file: Path | None = Field(
        None,
        description="for rediss://: the client's certificate, if the server asks for one",
        examples=["/etc/ssl/streamfea.pem"],
    )
    tls_key_file: Path | None = Field(
        None, description="the key of that certificate", examples=["/etc/ssl/streamfea.key"]
    )

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
    """`[database]`: where the rows go."""

    url: Annotated[str, BeforeValidator(check_database_url)] = Field(
        description="postgresql+psycopg://, or embedded:DIR for a server that streamfea starts itself",
        examples=["postgresql+psycopg://streamfea@postgresql.example/streamfea"],
    )
    connect_args: dict[str, str | int] = Field(
        {}, description="libpq's connection parameters", examples=[{"sslmode": "verify-full"}]
    )
    pooler: Literal["none", "session", "transaction"] | None = Field(
        None,
        description="what answers at the url: none (PostgreSQL itself), or the pool_mode of PgBouncer; each connection "
        "finds out if this is not set",
        examples=["transaction"],
    )


class LogSettings(_Section):
    """`[log]`: the level and the format of the log."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the minimum level of a log line")
    format: Literal["console", "json"] = Field(
        "console", description="console (text for people) or json (one object a line)"
    )
    records: bool = Field(False, description="log every record whole, private data included")


class ConsumerSettings(_Section):
    """`[consumer]`: the defaults of every queue; each key can be overridden in `[queues.NAME]`."""

    group: Annotated[str, Field(min_length=1)] = Field(
        "streamfea", description="the consumer group; consumers of one group share the records"
    )
    workers: Count = Field(
        1, description="processes for each queue; one handles tens of thousands of simple records a second"
    )
    batch_size: Count = Field(500, description="most records in one transaction")
    batch_bytes: Count = Field(
        16 * 1024 * 1024,
        description="most bytes of records in one transaction, estimated from earlier records; a single larger record "
        "gets a transaction of its own",
    )
    commit_interval: PositiveDuration = Field(
        timedelta(seconds=1), description="after this time a transaction takes no further record"
    )
    block: PositiveDuration = Field(timedelta(seconds=5), description="how long one read waits for new entries")
    claim_idle: PositiveDuration = Field(
        timedelta(seconds=60),
        description="an entry that no worker has renewed for this long is taken over by another",
    )
    max_deliveries: Count = Field(5, description="tries before a record is a dead letter")
    backoff: PositiveDuration = Field(
        timedelta(seconds=1), description="the delay before the second try; it doubles for each further one"
    )
    timeout: PositiveDuration = Field(
        timedelta(minutes=10),
        description="the longest run of one record; after it the worker is killed, and in the end the record is a dead "
        "letter",
    )
    guarantee: Literal["at-least-once", "exactly-once"] = Field(
        "at-least-once",
        description="at-least-once: a crash between COMMIT and XACK runs a record again; exactly-once: a ledger in the "
        "database, written with the rows, prevents that",
    )
    bulk: bool = Field(
        True, description="write new rows by COPY where the result is the same as by INSERT; false: always by INSERT"
    )
    retention: Retained = Field(
        ACKED,
        description="when entries that every group has acknowledged are removed: at once (acked), never (keep), when "
        "older (7d), or while the stream is longer (maxlen:1000000)",
    )
    shutdown_timeout: PositiveDuration = Field(
        timedelta(seconds=30), description="how long workers may take to finish after SIGTERM; then they are killed"
    )


class Queue(ConsumerSettings):
    """`[queues.NAME]`: a stream, the group that reads it, and the handler that its records go to."""

    name: Annotated[str, Field(pattern=r"^\S+$")]
    handler: Annotated[str, Field(min_length=1)] = Field(
        description="the module with process() and the models; the current folder is searched first",
        examples=["handlers_example.flights"],
    )
    stream: Annotated[str, Field(min_length=1)] = Field(
        description="the key of the stream; by default the queue's name, or {LIST}:stream with legacy_list",
        examples=["flights"],
    )
    field: Annotated[str, Field(min_length=1)] = Field(
        "record", description='the entry\'s field that holds the record; "*" makes a JSON object of all fields'
    )
    legacy_list: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="a list to which producers still LPUSH; the shim moves its elements to the stream",
        examples=["flights"],
    )
    legacy_errors: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="a list of records that failed in the former system; the shim moves them, too",
        examples=["errors-flights"],
    )

    @property
    def ref(self) -> GroupRef:
        """The group of the stream, by name."""
        return GroupRef(self.stream, self.group, self.name)

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

    @field_validator("field")
    @classmethod
    def _field_is_not_of_dead_letters(cls, field: str) -> str:
        if field.startswith("streamfea-"):
            raise ValueError(
                'names that begin with "streamfea-" are those of dead letters: have producers use another field'
            )
        return field


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
    def _keep_servers_beside_the_file(self) -> Self:
        folder = folder_of(self.source)
        for section in (self.redis, self.database):
            if section.url.startswith(_EMBEDDED) and folder != Path.cwd():
                object.__setattr__(section, "url", f"{_EMBEDDED}{folder / section.url.removeprefix(_EMBEDDED)}")
        return self

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, init_settings()["source"])

    def select(self, names: Sequence[str]) -> list[Queue]:
        """Return the queues of these names, or all if there are none; raise `ConfigurationError` for an unknown one."""
        for name in names:
            if name not in self.queues:
                raise ConfigurationError(
                    f"there is no queue {name!r}{suggestion(name, self.queues)}: "
                    f"{self.source} has {_some_of(list(self.queues))}"
                )
        return [self.queues[name] for name in dict.fromkeys(names or self.queues)]


def load_settings(path: Path | None = None) -> Settings:
    """Return the settings from the file at `path`, else from the first of the usual places, and the environment.

    Raises `ConfigurationError` that lists every mistake.
    """
    source = find_config(path)
    if source is None:
        raise ConfigurationError(
            f"no configuration: neither {' nor '.join(map(str, _FILES))} is in {Path.cwd()}",
            remedy=f"name a file with --config or ${_CONFIG_VARIABLE}, or write one with `streamfea new-handler NAME`",
        )
    if is_of_azafea(source):
        raise ConfigurationError(
            f"{source} is a configuration of Azafea",
            remedy=f"`streamfea import-config {source} > streamfea.toml` makes one for streamfea of it, and "
            "docs/migrating-from-azafea.md says what becomes of what",
        )
    unknown = list(_unknown_variables())
    try:
        settings = Settings(source=str(source))
    except ValidationError as error:
        mistakes = problems_in(error, str(source), unknown, Settings)
        raise ConfigurationError(mistakes) from None  # the cause would show values, passwords among them
    except SettingsError as error:
        if not unknown:
            remedy = "a table in the environment is written as JSON"
            raise ConfigurationError(str(error), remedy=remedy) from None  # as above
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"cannot read {source}: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"cannot read {source}: nested too deeply") from None
    if unknown:
        raise ConfigurationError(problems_in(None, "the environment", unknown, Settings))
    return settings


def find_config(path: Path | None = None) -> Path | None:
    """Return `path`, else the file that the environment names, else the first of the usual files that exists.

    Raises `ConfigurationError` when the file that was named does not exist.
    """
    given = path or (Path(variable) if (variable := os.environ.get(_CONFIG_VARIABLE)) else None)
    if given is not None and not given.is_file():
        raise ConfigurationError(f"there is no configuration file {given}")
    return given or next((candidate for candidate in _FILES if candidate.is_file()), None)


def folder_of(source: str) -> Path:
    """Return the folder that relative paths in the file `source` start from: the folder of its project."""
    folder = Path(source).absolute().parent
    return folder.parent if folder.name == "config" else folder


def _some_of(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more:,} more" if more > 0 else "")


def environment_variable(section: str, key: str) -> str:
    """Return the name of the variable that sets `key` of `section`, as in STREAMFEA_REDIS__URL."""
    return f"{_PREFIX}{section}__{key}".upper().replace(".", "__")


def describe(settings: Settings) -> dict[str, Any]:
    """Return the settings in force as TOML knows them, with secrets masked."""
    dumped = settings.model_dump(mode="json", exclude={"source", "consumer"}, exclude_none=True)
    for section in ("redis", "database"):
        dumped[section]["url"] = masked(dumped[section]["url"])
    arguments = dumped["database"]["connect_args"]
    arguments.update({name: MASK for name in arguments if is_secret(name)})
    for queue in dumped["queues"].values():
        del queue["name"]
    return dumped


def to_toml(settings: dict[str, Any]) -> str:
    """Return TOML text."""
    return tomli_w.dumps(settings)


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
        return {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
    return set()


def _unknown_variables() -> Iterator[str]:
    """Yield the environment variables that mean to be ours and set nothing."""
    sections = Settings.model_fields.keys() - {"source"}
    for variable in os.environ:
        if not variable.startswith(_PREFIX) or variable == _CONFIG_VARIABLE or variable.startswith(_NO_SETTINGS):
            continue
        section = variable.removeprefix(_PREFIX).partition("__")[0].lower()
        if section not in sections or "__" not in variable:
            yield variable

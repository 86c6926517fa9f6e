"""The sections of the configuration: every key, its type, its default and its description."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    NoDecode,
)

from streamfea.config.addresses import Address
from streamfea.config.problems import (
    check_database_url,
    check_redis_url,
)
from streamfea.config.retention import ACKED, Retention, parse_retention
from streamfea.core.durations import format_duration, parse_duration
from streamfea.core.group_ref import GroupRef

__all__ = [
    "ConsumerSettings", "DatabaseSettings", "LogSettings", "MetricsSettings", "Queue", "RedisSettings",
]  # fmt: skip

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


class MetricsSettings(_Section):
    """`[metrics]`: figures and health of this host's workers, over HTTP."""

    listen: Annotated[Address, BeforeValidator(Address.parse), PlainSerializer(str, return_type=str)] | None = Field(
        None,
        description="HOST:PORT at which `consume` serves /metrics (Prometheus), /healthz and /readyz; off if not set",
        examples=["127.0.0.1:9090"],
    )


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

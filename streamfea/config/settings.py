"""All settings in force: a TOML file, overridden by the environment, completed by defaults."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import (
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamfea.config.problems import (
    MASK,
    is_secret,
    masked,
    suggestion,
)
from streamfea.config.sections import (
    ConsumerSettings,
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    Queue,
    RedisSettings,
)
from streamfea.core.hash_tag import in_slot_of
from streamfea.errors import ConfigurationError

__all__ = ["Settings", "describe", "environment_variable", "folder_of", "to_toml"]

_PREFIX = "STREAMFEA_"
_NAMED_AT_MOST = 10
_EMBEDDED = "embedded:"


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
    metrics: MetricsSettings = MetricsSettings()
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


def folder_of(source: str) -> Path:
    """Return the folder that relative paths in the file `source` start from: the folder of its project."""
    folder = Path(source).absolute().parent
    return folder.parent if folder.name == "config" else folder


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


def _some_of(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more:,} more" if more > 0 else "")

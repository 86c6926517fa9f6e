"""Write down every key of the configuration, from the settings themselves.

python .ci/configuration_reference.py           the page of the documentation, as Markdown
python .ci/configuration_reference.py --toml    config/production.toml
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

import tomli_w
from annotated_types import Ge
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from streamfea.config.retention import Retention
from streamfea.config.sections import ConsumerSettings, Queue
from streamfea.config.settings import Settings, environment_variable

_WIDTH = 120
_LONGEST = 42  # a longer line has its description above it
_QUEUE = "flights"
_TOML_HEAD = """\
# Every key of streamfea, with its default where it has one; a key behind a # has none. `just config` writes this file.
# Each can be set in the environment, too: STREAMFEA_REDIS__URL, STREAMFEA_QUEUES__FLIGHTS__WORKERS, …
# Durations: 500ms, 30s, 5m, 2h, 7d.
"""
_PAGE = """\
# Configuration

One TOML file: `--config PATH`, else `$STREAMFEA_CONFIG`, else `streamfea.toml`, else `config/streamfea.toml`. It needs
`[redis]`, `[database]` and at least one queue; all else has a default. `streamfea print-config` prints what is in
force, with secrets masked; `streamfea check` tries it.

Every key can be set in the environment as well, which wins over the file: `STREAMFEA_SECTION__KEY`; a table is written
as JSON there. Unknown keys, wrong types and handlers that do not import are errors, told all at once, with exit code 2.

A duration is a number and a unit: `500ms`, `30s`, `5m`, `2h`, `7d`.

{sections}
## The whole file

`config/production.toml`, to copy from:

```toml
{toml}```
"""


@dataclass(frozen=True)
class Key:
    """A key of a section; `default` is None where there is none, `example` is for those."""

    name: str
    kind: str
    default: Any
    example: Any
    required: bool
    description: str


def page() -> str:
    """Return the page of the documentation."""
    return _PAGE.format(
        sections="\n".join(_section_page(name, model) for name, model in _sections()), toml=production_toml()
    )


def production_toml() -> str:
    """Return a file that shows every key."""
    return "\n".join([_TOML_HEAD, *(_section_toml(name, model) for name, model in _sections())])


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the sections as a file names them, with what is in them."""
    for name, field in Settings.model_fields.items():
        if name == "queues":
            yield f"queues.{_QUEUE}", Queue
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


def _keys(model: type[BaseModel]) -> list[Key]:
    """Return the keys of a section, what is required first; of a queue, those that `[consumer]` has not."""
    elsewhere = {"name", *ConsumerSettings.model_fields} if model is Queue else set()
    defaults = model.model_construct().model_dump(mode="json")
    found = [
        _key(name, field, defaults.get(name)) for name, field in model.model_fields.items() if name not in elsewhere
    ]
    return sorted(found, key=lambda key: (not key.required, key.name.startswith(("password", "tls"))))


def _key(name: str, field: FieldInfo, default: Any) -> Key:
    return Key(
        name=name,
        kind=_kind(field),
        default=None if default == {} else default,
        example=field.examples[0] if field.examples else None,
        required=field.is_required() and name != "stream",  # the queue's name stands in for it
        description=field.description or "",
    )


def _kind(field: FieldInfo) -> str:
    """Return what kind of value a key takes, in words."""
    kind = field.annotation
    if get_origin(kind) not in {dict, Literal}:
        kind = next((option for option in get_args(kind) if option is not type(None)), kind)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{option}`" for option in get_args(kind))
    least = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    names: dict[Any, str] = {
        bool: "true or false",
        int: "whole number" if least is None else f"whole number, {least} or more",
        str: "text",
        timedelta: "duration",
        Path: "path of a file",
        SecretStr: "text, secret",
        Retention: "`acked`, `keep`, duration or `maxlen:N`",
    }
    return names.get(getattr(kind, "__origin__", kind), "table")


def _section_page(name: str, model: type[BaseModel]) -> str:
    shown = name.replace(_QUEUE, "NAME")
    intro = " ".join((model.__doc__ or "").partition(": ")[2].split())
    also = " It takes all keys of `[consumer]`, for this queue alone, and:" if model is Queue else ""
    variable = f" In the environment: `{environment_variable(shown, 'KEY')}`."
    rows = [
        f"| `{key.name}` | {key.kind} | {_default_cell(key)} | {key.description.replace('|', '&#124;')} |"
        for key in _keys(model)
    ]
    return "\n".join(
        [
            *(f"## `[{shown}]`", "", f"{intro[:1].upper()}{intro[1:]}{variable}{also}", ""),
            *("| key | value | default | meaning |", "|---|---|---|---|", *rows, ""),
        ]
    )


def _default_cell(key: Key) -> str:
    if key.default is not None:
        return f"`{_toml_value(key.default)}`"
    if key.required:
        return "required"
    return "the queue's name" if key.name == "stream" else "none"


def _section_toml(name: str, model: type[BaseModel]) -> str:
    note = ["# The defaults of every queue; each can be overridden in [queues.NAME]."] if name == "consumer" else []
    pairs = [(_pair(key), key.description) for key in _keys(model)]
    column = 2 + max(len(pair) for pair, _ in pairs if len(pair) <= _LONGEST)
    lines = [line for pair, description in pairs for line in _described(pair, description, column)]
    return "\n".join([f"[{name}]", *note, *lines, ""])


def _pair(key: Key) -> str:
    if key.default is None:
        return f"{'' if key.required else '# '}{key.name} = {_toml_value(key.example)}"
    return f"{key.name} = {_toml_value(key.default)}"


def _described(pair: str, description: str, column: int) -> list[str]:
    """Return a line with its description beside it, or above it if there is no room."""
    if len(pair) >= column:
        return [*(f"# {line}" for line in wrap(description, _WIDTH - 2)), pair]
    first, *more = wrap(description, _WIDTH - column - 2, break_on_hyphens=False)
    return [f"{pair:{column}}# {first}", *(f"{'':{column}}# {line}" for line in more)]


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml_value(one)}' for key, one in value.items())} }}"
    return tomli_w.dumps({"x": value}).partition("= ")[2].strip()


if __name__ == "__main__":
    print(production_toml() if "--toml" in sys.argv[1:] else page(), end="")

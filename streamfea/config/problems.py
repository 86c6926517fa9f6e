"""Turns mistakes in a configuration into messages: where, what, and what to do."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["MASK", "check_database_url", "check_redis_url", "is_secret", "masked", "problems_in", "suggestion"]

MASK = "**********"  # as pydantic masks its secrets
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|(client|server)_key$|conninfo|dsn", re.IGNORECASE
)
_LATER_KEYS = {"shards"}
_LATER_SECTIONS = {"history", "dashboard"}
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://", "embedded:")
_LATER_REDIS_SCHEMES = tuple(f"{scheme}+{way}://" for scheme in ("redis", "rediss") for way in ("sentinel", "cluster"))
_HANDLER = 'handler = "module"'
_EXAMPLES = {
    "redis": '[redis] with url = "redis://localhost:6379/0"',
    "redis.url": 'url = "redis://localhost:6379/0"',
    "database": '[database] with url = "postgresql+psycopg://user@localhost/name"',
    "database.url": 'url = "postgresql+psycopg://user@localhost/name"',
    "queues": f"[queues.NAME] with {_HANDLER}",
}


def check_redis_url(url: Any) -> Any:
    """Return `url`; raise `ValueError` when it is of a kind that this version does not know."""
    if not isinstance(url, str) or url.startswith("embedded:"):
        return _with_folder(url)
    if url.startswith(_REDIS_SCHEMES):
        return _with_readable_parts(url)
    if url.startswith(_LATER_REDIS_SCHEMES):
        raise ValueError(
            "Sentinel and Cluster are not supported by this version yet; use redis://, rediss:// or unix://"
        )
    raise ValueError("not an address of a Redis: write redis://, rediss://, unix:// or embedded:DIR")


def check_database_url(url: Any) -> Any:
    """Return `url`; raise `ValueError` when it is not one of PostgreSQL through psycopg."""
    if not isinstance(url, str) or url.startswith(("postgresql+psycopg://", "embedded:")):
        return _with_folder(url)
    if url.startswith(("postgresql://", "postgres://")):
        return f"postgresql+psycopg://{url.partition('://')[2]}"  # the same to everybody but SQLAlchemy
    if url.startswith(("postgresql", "postgres:")):
        raise ValueError("write postgresql:// before the rest: psycopg is the one driver that streamfea uses")
    raise ValueError("not an address of a PostgreSQL: write postgresql:// or embedded:DIR")


def masked(url: str) -> str:
    """Return `url` with the passwords in it masked: rather more than that, if it has an `@` too many."""
    without = re.sub(r"(://[^/?#:@]*:)(?s:.*)(?=@)", rf"\1{MASK}", url)
    return re.sub(r"([?&])([^=&]*)=[^&]*", _masked_parameter, without)


def is_secret(name: str) -> bool:
    """Tell whether a parameter of this name, as it is written in a URL or elsewhere, holds a secret.

    `conninfo` holds whatever libpq takes, passwords among it.
    """
    return _SECRET.search(unquote(name)) is not None


def _masked_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK}" if is_secret(match[2]) else match[0]


def problems_in(error: ValidationError | None, source: str, variables: Sequence[str], root: type[BaseModel]) -> str:
    """Return a line for each mistake in `source`, under a line that counts them; `variables` are unknown ones."""
    lines = list(dict.fromkeys(_line(problem, root) for problem in (error.errors() if error else [])))
    lines += [
        f"{variable}: there is no such setting; write STREAMFEA_SECTION__KEY, or unset it" for variable in variables
    ]
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return "\n  ".join([f"{count} in {source}:", *lines])


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question that names the word that was probably meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _line(error: ErrorDetails, root: type[BaseModel]) -> str:
    parts = [str(part) for part in error["loc"]]
    problem = _problem(error, parts, root)
    return f"{'.'.join(parts)}: {problem}" if parts else problem


def _problem(error: ErrorDetails, parts: list[str], root: type[BaseModel]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        if parts[-1] in (_LATER_SECTIONS if len(parts) == 1 else _LATER_KEYS):
            return "not supported by this version yet; remove it"
        return (
            f"there is no such {'key' if len(parts) > 1 else 'section'}{suggestion(parts[-1], _siblings(root, parts))}"
        )
    if kind == "missing":
        return f"is missing; add {_EXAMPLES.get('.'.join(parts), _HANDLER)}"
    if kind == "too_short":
        return f"there is none; add {_EXAMPLES['queues']}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message.replace("datetime.timedelta(0)", "0s")


def _siblings(root: type[BaseModel], parts: list[str]) -> list[str]:
    """Return the names that are known where the last of `parts` stands: sections, or the keys of one."""
    model: Any = root
    if len(parts) > 1:
        section: Any = root.model_fields[parts[0]].annotation
        model = section if isinstance(section, type) else get_args(section)[1]  # dict[str, Queue]
    return [name for name in model.model_fields if name not in {"name", "source"}]


def _with_folder(url: Any) -> Any:
    if url == "embedded:":
        raise ValueError("name the folder that the server lives in, as in embedded:var/server")
    return url


def _with_readable_parts(url: str) -> str:
    """Return a Redis URL; raise `ValueError`, without showing anything of a password, when it cannot be understood."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "cannot be read: check host and port, and write / ? # @ : in a password as %2F %3F %23 %40 %3A"
        ) from None
    path = unquote(parts.path).strip("/")
    if parts.scheme == "unix":
        if not path:
            raise ValueError("name the socket, as in unix:///run/redis.sock")
    elif path and not (path.isascii() and path.isdecimal()):
        raise ValueError("the database after the host has to be a number, as in redis://localhost:6379/0")
    return url

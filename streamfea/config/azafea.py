"""Recognises configurations of Azafea, and converts them."""

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["is_of_azafea", "settings_from_azafea"]

# Sections that only Azafea has; `[redis]` and `[queues.NAME]` are in both.
_ITS_OWN = {"main", "postgresql"}
_HOST = "localhost"


def is_of_azafea(path: Path) -> bool:
    """Tell whether the file is a configuration of Azafea; False if it cannot be read."""
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8")).keys()
    except (OSError, ValueError, RecursionError):
        return False
    return bool(sections & _ITS_OWN) and "database" not in sections


def settings_from_azafea(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of streamfea that do what a configuration of Azafea did; its defaults are Azafea's."""
    main, redis, postgresql = (given.get(name, {}) for name in ("main", "redis", "postgresql"))
    settings: dict[str, Any] = {"redis": _redis(redis), "database": _database(postgresql)}
    if "number_of_workers" in main:
        settings["consumer"] = {"workers": main["number_of_workers"]}
    if main.get("verbose"):
        settings["log"] = {"level": "debug"}
    settings["queues"] = {
        name: {"handler": queue.get("handler", ""), "legacy_list": name, "legacy_errors": f"errors-{name}"}
        for name, queue in given.get("queues", {}).items()
    }
    return settings


def _redis(given: dict[str, Any]) -> dict[str, Any]:
    scheme = "rediss" if given.get("ssl", False) else "redis"
    url = f"{scheme}://{_host(given.get('host', _HOST))}:{given.get('port', 6379)}/0"
    return {"url": url, **_password(given)}


def _database(given: dict[str, Any]) -> dict[str, Any]:
    user, name = (quote(str(given.get(key, "azafea")), safe="") for key in ("user", "database"))
    address = f"{_host(given.get('host', _HOST))}:{given.get('port', 5432)}"
    arguments = {"connect_args": given["connect_args"]} if given.get("connect_args") else {}
    return {"url": f"postgresql+psycopg://{user}@{address}/{name}", **_password(given), **arguments}


def _password(given: dict[str, Any]) -> dict[str, str]:
    return {"password": given["password"]} if given.get("password") else {}


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")

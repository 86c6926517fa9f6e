"""The Lua scripts, each behind a function; what a script promises stands at its head, in `lua/`."""

from functools import cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.commands.core import Script


class Scripts:
    """Runs the scripts in `lua/` on a server, loading each on its first use and again when the server forgot it."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._loaded: dict[str, Script] = {}

    def run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Return the reply of the script `name`."""
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self._client.register_script(_source(name))
        return script(keys=keys, args=arguments)


@cache
def _source(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")

"""The Lua scripts, called by name. The head of each file in `lua/` says what the script expects and returns."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import ResponseError


class Scripts:
    """Runs the scripts in `lua/` on a server, loading each on its first use and again when the server forgot it.

    With `mark`, which returns the name of a group that marks the stream or '', they do nothing to a stream without it.
    """

    def __init__(self, client: Redis, mark: Callable[[], str] | None = None) -> None:
        self._client = client
        self._mark = mark
        self._loaded: dict[str, Script] = {}

    def run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Return the reply of the script `name`."""
        return self._script(name)(keys=keys, args=self._guarded(arguments))

    def run_each(self, name: str, keys: list[str], arguments: list[list[Any]]) -> list[Any]:
        """Run the script `name` for each list of arguments, one after the other but sent at once.

        Returns the replies; where one is an error, the exception.
        """
        if len(arguments) == 1:
            return [self._alone(name, keys, arguments[0])]
        script = self._script(name)
        with self._client.pipeline(transaction=False) as pipeline:
            for call_arguments in arguments:
                script(keys=keys, args=self._guarded(call_arguments), client=pipeline)
            return pipeline.execute(raise_on_error=False)

    def command(self, name: str, keys: list[str], arguments: list[Any]) -> tuple[Any, ...]:
        """Return the words of the command that runs a script, if the server has not forgotten it."""
        return ("EVALSHA", self._script(name).sha, len(keys), *keys, *self._guarded(arguments))

    def _alone(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Return the reply, or the server's error: without asking first whether the server has the script."""
        try:
            return self.run(name, keys, arguments)
        except ResponseError as error:
            return error

    def _script(self, name: str) -> Script:
        script = self._loaded.get(name)
        if script is None:
            source = _source(name) if self._mark is None else f"{_source('guard')}{_source(name)}"
            script = self._loaded[name] = self._client.register_script(source)
        return script

    def _guarded(self, arguments: list[Any]) -> list[Any]:
        return arguments if self._mark is None else [*arguments, self._mark()]


@cache
def _source(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")

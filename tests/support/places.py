"""A handler that a test writes itself, and the commands run beside it."""

import json

from redis import Redis
from sqlalchemy import Engine, text

from tests.support.commands import Project

__all__ = ["Place"]


class Place:
    """A folder with a handler `events`, and the commands run in it."""

    def __init__(self, project: Project, client: Redis, engine: Engine) -> None:
        self.project = project
        self.engine = engine
        self._client = client

    def handler(self, source: str, **keys: object) -> None:
        """Write the handler."""
        (self.project.folder / "events.py").write_text(source)
        self.project.configure("events", **keys)

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Run a command in the folder."""
        return self.project.run(*arguments, expect=expect, cwd=self.project.folder)

    def put(self, *records: object) -> None:
        """Put records on the stream, as JSON."""
        for record in records:
            self._client.xadd(self.project.stream, {"record": json.dumps(record)})

    def rows(self, sql: str) -> list[object]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

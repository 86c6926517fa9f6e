"""A handler with commands of its own."""

import json

import typer
from recorder import Seen  # type: ignore[import-not-found]  # the folder of handlers is on the path where this runs
from sqlalchemy.orm import Session

from streamfea import commands


def process(dbsession: Session, record: bytes) -> None:
    dbsession.add(Seen(number=json.loads(record)["n"], pid=0))


def register_commands(app: typer.Typer) -> None:
    @app.command()
    def add(number: int = typer.Argument(help="What to add."), fail: bool = False) -> None:
        """Add a row."""
        commands.dbsession().add(Seen(number=number, pid=0))
        commands.dbsession().flush()
        if fail:
            raise ValueError("asked to fail")
        print(f"added to what comes from {commands.queue().stream}")

    @app.command("count-all")
    def count_all() -> None:
        """Count the rows."""
        print(sum(1 for chunk in commands.dbsession().chunked_query(Seen) for _ in chunk))

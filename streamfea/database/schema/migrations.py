"""Migrations: Alembic's, set up in code, with the files of each handler in a folder beside it.

All handlers share the table `alembic_version`, a row for each branch. Rows of branches whose files are not here,
because they belong to handlers of another configuration, are left alone.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic.autogenerate import RevisionContext
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, rev_id, to_tuple
from sqlalchemy import Connection

from streamfea.database.schema.alembic_internals import create_version_table, delete_of_version, upgrade_revisions
from streamfea.database.schema.autogenerate import comparing
from streamfea.errors import StreamfeaError
from streamfea.handlers.schemas import HandlerSchema
from streamfea.model import Base

__all__ = ["Migrations"]

_TEMPLATE = Path(__file__).parent / "alembic"
_FILE = "%(year)d%(month).2d%(day).2d_%(rev)s_%(slug)s"

# Its lines of progress say nothing that the commands do not say better.
logging.getLogger("alembic").setLevel(logging.WARNING)


class Migrations:
    """The migrations of some handlers. Every method raises `StreamfeaError` when their files do not fit together."""

    def __init__(self, schemas: Sequence[HandlerSchema]) -> None:
        self._schemas = [schema for schema in schemas if schema.migrations is not None]
        wanted = [schema.migrations for schema in self._schemas if schema.migrations is not None]
        folders = [str(folder) for folder in wanted if folder.is_dir()]
        self._script = ScriptDirectory(_TEMPLATE, file_template=_FILE, version_locations=folders)
        try:
            self._all = list(self._script.walk_revisions()) if folders else []
        except CommandError as error:
            raise StreamfeaError(f"migrations in {', '.join(folders)}: {error}") from error

    def recorded(self, connection: Connection, schema: HandlerSchema) -> bool:
        """Tell whether the database knows a migration of `schema`."""
        heads = self._context(connection).get_current_heads()
        return any(script.revision in heads for script in self._of(schema))

    def pending(self, connection: Connection, schema: HandlerSchema) -> list[str]:
        """Return the revisions of `schema` that the database has not had, oldest first."""
        applied = self._with_ancestors(self._context(connection).get_current_heads())
        return [script.revision for script in reversed(self._of(schema)) if script.revision not in applied]

    def upgrade(self, connection: Connection, schema: HandlerSchema | None = None) -> None:
        """Apply the pending migrations of all handlers, or of one, in the transaction of `connection`."""
        wanted: Any = "heads" if schema is None else self._heads(schema)
        if not self._all or not wanted:
            return
        steps: Any = lambda heads, _: upgrade_revisions(self._script, wanted, heads)  # noqa: E731 - Alembic's `fn`
        # Names of constraints go through the naming convention, unless they are marked with op.f().
        context = self._context(connection, fn=steps, target_metadata=Base.metadata)
        try:
            with Operations.context(context):
                context.run_migrations()
        except CommandError as error:
            raise StreamfeaError(f"migrations: {error}") from error

    def stamp(self, connection: Connection, schema: HandlerSchema) -> None:
        """Note that the tables of `schema` are as its newest migrations leave them."""
        heads = self._heads(schema)
        if heads:
            context = self._context(connection)
            create_version_table(context)
            context.stamp(self._script, heads)  # type: ignore[arg-type]  # takes several as ScriptDirectory does

    def forget(self, connection: Connection, schema: HandlerSchema) -> None:
        """Remove the rows of `alembic_version` for the migrations of `schema`."""
        context = self._context(connection)
        for revision in {script.revision for script in self._of(schema)} & set(context.get_current_heads()):
            connection.execute(delete_of_version(context, revision))

    def make(self, connection: Connection, schema: HandlerSchema, message: str, *, empty: bool = False) -> Path | None:
        """Write a migration from the tables in the database to the models of `schema`; None if they are alike.

        An `empty` one is for SQL of one's own, and compares nothing. Raises `StreamfeaError` when migrations are
        pending: they would be written a second time.
        """
        if schema.migrations is None:
            raise StreamfeaError(f"{schema.name} has no file, so there is no folder for its migrations")
        existed = schema.migrations.is_dir()
        schema.migrations.mkdir(exist_ok=True)
        try:
            return Migrations(self._schemas)._make(connection, schema, message, empty=empty)
        except CommandError as error:
            remedy = "run `streamfea migratedb` first" if "not up to date" in str(error) else ""
            raise StreamfeaError(f"make-migration: {error}", remedy=remedy) from error
        finally:
            if not existed and not any(schema.migrations.iterdir()):
                schema.migrations.rmdir()

    def _make(self, connection: Connection, schema: HandlerSchema, message: str, *, empty: bool) -> Path | None:
        heads = self._heads(schema)
        arguments = {
            "rev_id": rev_id(), "message": message, "sql": False, "splice": False, "depends_on": None,
            "head": heads or "base", "branch_label": None if heads else schema.name,
            "version_path": str(schema.migrations),
        }  # fmt: skip
        context = self._context(connection, **comparing(schema))
        revision = RevisionContext(Config(), self._script, arguments)
        run = revision.run_no_autogenerate if empty else revision.run_autogenerate
        run(context.get_current_heads(), context)
        upgrade = revision.generated_revisions[0].upgrade_ops
        if not empty and (upgrade is None or upgrade.is_empty()):
            return None
        [script] = revision.generate_scripts()
        if script is None:
            return None
        _format(Path(script.path), unfinished=empty)
        return Path(script.path)

    def _of(self, schema: HandlerSchema) -> list[Script]:
        """Return the migrations of `schema`, newest first."""
        return [script for script in self._all if Path(script.path).parent == schema.migrations]

    def _heads(self, schema: HandlerSchema) -> tuple[str, ...]:
        mine = {script.revision for script in self._of(schema)}
        older = {down for script in self._of(schema) for down in to_tuple(script.down_revision, ())}
        return tuple(sorted(mine - older))

    def _with_ancestors(self, heads: Sequence[str]) -> set[str]:
        known = {script.revision: script for script in self._all}
        found: set[str] = set()
        waiting = list(heads)
        while waiting:
            revision = waiting.pop()
            if revision in known and revision not in found:
                found.add(revision)
                waiting += [*to_tuple(known[revision].down_revision, ()), *to_tuple(known[revision].dependencies, ())]
        return found

    def _context(self, connection: Connection, **more: Any) -> MigrationContext:
        known = {script.revision for script in self._all}
        return _Context(known, connection, {"script": self._script, **more})


class _Context(MigrationContext):
    """Sees only the rows of `alembic_version` whose migrations are here."""

    def __init__(self, known: set[str], connection: Connection, options: dict[str, Any]) -> None:
        super().__init__(connection.dialect, connection, options)
        self._known = known

    def get_current_heads(self) -> tuple[str, ...]:
        return tuple(head for head in super().get_current_heads() if head in self._known)


def _format(file: Path, *, unfinished: bool) -> None:
    """Have ruff, where it is installed, put the file in the project's style; it is valid without.

    An `unfinished` one keeps the imports that what will be written needs.
    """
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.is_file() else shutil.which("ruff")
    if ruff is not None:
        for command in [["format"]] if unfinished else [["check", "--fix"], ["format"]]:
            subprocess.run([ruff, *command, "--quiet", str(file)], check=False, capture_output=True)

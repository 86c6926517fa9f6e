"""Migrations: Alembic's, set up in code, with the files of each handler in a folder beside it.

All handlers share the table `alembic_version`, a row for each branch. Rows of branches whose files are not here,
because they belong to handlers of another configuration, are left alone.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alembic.autogenerate import RevisionContext, renderers
from alembic.config import Config
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, rev_id, to_tuple
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ENUM

from streamfea.database.schema import enum_of
from streamfea.errors import StreamfeaError
from streamfea.model import Base
from streamfea.schemas import HandlerSchema

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
        return any(one.revision in heads for one in self._of(schema))

    def pending(self, connection: Connection, schema: HandlerSchema) -> list[str]:
        """Return the revisions of `schema` that the database has not had, oldest first."""
        applied = self._with_ancestors(self._context(connection).get_current_heads())
        return [one.revision for one in reversed(self._of(schema)) if one.revision not in applied]

    def upgrade(self, connection: Connection) -> None:
        """Apply all pending migrations, in the transaction of `connection`."""
        if not self._all:
            return
        steps: Any = lambda heads, _: self._script._upgrade_revs("heads", heads)  # noqa: E731 - Alembic's `fn`
        context = self._context(connection, fn=steps)
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
            context._ensure_version_table()
            context.stamp(self._script, heads)  # type: ignore[arg-type]  # takes several as ScriptDirectory does

    def forget(self, connection: Connection, schema: HandlerSchema) -> None:
        """Remove what the database knows of the migrations of `schema`."""
        context = self._context(connection)
        for revision in {one.revision for one in self._of(schema)} & set(context.get_current_heads()):
            connection.execute(context._version.delete().where(context._version.c.version_num == revision))

    def make(self, connection: Connection, schema: HandlerSchema, message: str) -> Path | None:
        """Write a migration from the tables in the database to the models of `schema`; None if they are alike.

        Raises `StreamfeaError` when migrations are pending: they would be written a second time.
        """
        if schema.migrations is None:
            raise StreamfeaError(f"{schema.name} has no file, so there is no folder for its migrations")
        existed = schema.migrations.is_dir()
        schema.migrations.mkdir(exist_ok=True)
        try:
            return Migrations(self._schemas)._make(connection, schema, message)
        except CommandError as error:
            remedy = ": run `streamfea migratedb` first" if "not up to date" in str(error) else ""
            raise StreamfeaError(f"make-migration: {error}{remedy}") from error
        finally:
            if not existed and not any(schema.migrations.iterdir()):
                schema.migrations.rmdir()

    def _make(self, connection: Connection, schema: HandlerSchema, message: str) -> Path | None:
        heads = self._heads(schema)
        arguments = {
            "rev_id": rev_id(), "message": message, "sql": False, "splice": False, "depends_on": None,
            "head": heads or "base", "branch_label": None if heads else schema.name,
            "version_path": str(schema.migrations),
        }  # fmt: skip
        context = self._context(connection, **_comparing(schema))
        revision = RevisionContext(Config(), self._script, arguments)
        revision.run_autogenerate(context.get_current_heads(), context)
        upgrade = revision.generated_revisions[0].upgrade_ops
        if upgrade is None or upgrade.is_empty():
            return None
        [script] = revision.generate_scripts()
        if script is None:
            return None
        _format(Path(script.path))
        return Path(script.path)

    def _of(self, schema: HandlerSchema) -> list[Script]:
        """Return the migrations of `schema`, newest first."""
        return [one for one in self._all if Path(one.path).parent == schema.migrations]

    def _heads(self, schema: HandlerSchema) -> tuple[str, ...]:
        mine = {one.revision for one in self._of(schema)}
        older = {down for one in self._of(schema) for down in to_tuple(one.down_revision, ())}
        return tuple(sorted(mine - older))

    def _with_ancestors(self, heads: Sequence[str]) -> set[str]:
        known = {one.revision: one for one in self._all}
        found: set[str] = set()
        waiting = list(heads)
        while waiting:
            revision = waiting.pop()
            if revision in known and revision not in found:
                found.add(revision)
                waiting += [*to_tuple(known[revision].down_revision, ()), *to_tuple(known[revision].dependencies, ())]
        return found

    def _context(self, connection: Connection, **more: Any) -> MigrationContext:
        known = {one.revision for one in self._all}
        return _Context(known, connection, {"script": self._script, **more})


class _Context(MigrationContext):
    """Sees only the rows of `alembic_version` whose migrations are here."""

    def __init__(self, known: set[str], connection: Connection, options: dict[str, Any]) -> None:
        super().__init__(connection.dialect, connection, options)
        self._known = known

    def get_current_heads(self) -> tuple[str, ...]:
        return tuple(head for head in super().get_current_heads() if head in self._known)


def _comparing(schema: HandlerSchema) -> dict[str, Any]:
    """Return Alembic's options for comparing the tables of `schema`, and no others, with those in the database."""
    names = {(table.schema, table.name) for table in schema.tables}
    return {
        "target_metadata": Base.metadata,
        "include_name": partial(_include_name, names),
        "include_object": partial(_include_object, names),
        "include_schemas": any(table.schema for table in schema.tables),
        "compare_type": True,
        "compare_server_default": True,
        "render_item": _render,
        "process_revision_directives": _create_enums,
        "sqlalchemy_module_prefix": "sa.",
        "alembic_module_prefix": "op.",
        "user_module_prefix": None,
        "upgrade_token": "upgrades",
        "downgrade_token": "downgrades",
    }


def _include_name(names: set[tuple[str | None, str]], name: str | None, type_: str, parents: Any) -> bool:
    if type_ == "schema":
        return any(schema == name for schema, _ in names)
    return type_ != "table" or (parents.get("schema_name"), name) in names


def _include_object(names: set[tuple[str | None, str]], thing: Any, _name: str, type_: str, *_: Any) -> bool:
    return type_ != "table" or (thing.schema, thing.name) in names


def _render(type_: str, thing: Any, context: Any) -> str | bool:
    """Write an enum as PostgreSQL's own, which the migration creates itself; leave all else to Alembic."""
    enum = enum_of(thing) if type_ == "type" else None
    return False if enum is None else _render_enum(enum, context, ", create_type=False")


def _render_enum(enum: ENUM, context: Any, more: str = "") -> str:
    context.imports.add("from sqlalchemy.dialects import postgresql")
    schema = f", schema={enum.schema!r}" if enum.schema else ""
    return f"postgresql.ENUM({', '.join(map(repr, enum.enums))}, name={enum.name!r}{schema}{more})"


class _CreateEnum(ops.MigrateOperation):
    """Creates an enum type unless it is there, as it is when another table has it, too."""

    def __init__(self, enum: ENUM) -> None:
        self.enum = enum


@renderers.dispatch_for(_CreateEnum)
def _render_creation(context: Any, operation: _CreateEnum) -> str:
    return f"{_render_enum(operation.enum, context)}.create(op.get_bind(), checkfirst=True)"


def _create_enums(_context: Any, _revision: Any, scripts: list[ops.MigrationScript]) -> None:
    """Have a migration create the enum types of its new columns where they are missing: Alembic does not."""
    for script in scripts:
        if script.upgrade_ops is None:
            continue
        enums = {str(enum.name): enum for enum in map(enum_of, _types(script.upgrade_ops.ops)) if enum}
        script.upgrade_ops.ops[:0] = [_CreateEnum(enum) for enum in enums.values()]


def _types(operations: Sequence[Any]) -> Iterator[Any]:
    for one in operations:
        if isinstance(one, ops.ModifyTableOps):
            yield from _types(one.ops)
        elif isinstance(one, ops.CreateTableOp):
            yield from (column.type for column in one.to_table().columns)
        elif isinstance(one, ops.AddColumnOp):
            yield one.column.type
        elif isinstance(one, ops.AlterColumnOp):
            yield one.modify_type


def _format(file: Path) -> None:
    """Have ruff, where it is installed, put the file in the project's style; it is valid without."""
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.is_file() else shutil.which("ruff")
    if ruff is not None:
        for command in (["check", "--fix"], ["format"]):
            subprocess.run([ruff, *command, "--quiet", str(file)], check=False, capture_output=True)

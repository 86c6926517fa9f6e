"""Has Alembic compare a handler's models with its tables, and writes the differences as a migration."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from alembic.autogenerate import renderers
from alembic.operations import ops
from sqlalchemy import Identity
from sqlalchemy.dialects.postgresql import ENUM

from streamfea.database.schema.tables import enum_of
from streamfea.handlers.schemas import HandlerSchema
from streamfea.model import Base

__all__ = ["comparing"]


def comparing(schema: HandlerSchema) -> dict[str, Any]:
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
        "process_revision_directives": _finish,
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


def _finish(_context: Any, _revision: Any, scripts: list[ops.MigrationScript]) -> None:
    for script in scripts:
        for operations in (script.upgrade_ops, script.downgrade_ops):
            if operations is not None:
                operations.ops = list(_without_identities(operations.ops))
        if script.upgrade_ops is not None:
            _create_enums(script.upgrade_ops)


def _without_identities(operations: Sequence[Any]) -> Iterator[Any]:
    """Yield the operations but for those that only take an identity from a column, or give it one.

    The primary keys that Azafea made are GENERATED ALWAYS AS IDENTITY, which a model does not say: they stay so.
    """
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            operation.ops = list(_without_identities(operation.ops))
            if operation.is_empty():
                continue
        elif isinstance(operation, ops.AlterColumnOp) and _only_in_the_database(operation):
            operation.modify_server_default = False
            if not operation.has_changes():
                continue
        yield operation


def _only_in_the_database(operation: ops.AlterColumnOp) -> bool:
    defaults = [operation.existing_server_default, operation.modify_server_default]
    return any(isinstance(default, Identity) for default in defaults) and None in defaults


def _create_enums(operations: ops.UpgradeOps) -> None:
    """Have a migration create the enum types of its new columns where they are missing: Alembic does not."""
    enums = {str(enum.name): enum for enum in map(enum_of, _types(operations.ops)) if enum}
    operations.ops[:0] = [_CreateEnum(enum) for enum in enums.values()]


def _types(operations: Sequence[Any]) -> Iterator[Any]:
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            yield from _types(operation.ops)
        elif isinstance(operation, ops.CreateTableOp):
            yield from (column.type for column in operation.to_table().columns)
        elif isinstance(operation, ops.AddColumnOp):
            yield operation.column.type
        elif isinstance(operation, ops.AlterColumnOp):
            yield operation.modify_type

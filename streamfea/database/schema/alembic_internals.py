"""All that streamfea relies on in Alembic beyond its documented API; nothing else names a private attribute of it."""

from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Delete

__all__ = ["create_version_table", "delete_of_version", "upgrade_revisions"]


def upgrade_revisions(script: ScriptDirectory, wanted: Any, heads: Any) -> Any:
    """Return the steps from `heads` to `wanted`, as `alembic upgrade` finds them: `ScriptDirectory._upgrade_revs()`."""
    return script._upgrade_revs(wanted, heads)


def create_version_table(context: MigrationContext) -> None:
    """Create `alembic_version` unless it is there: `MigrationContext._ensure_version_table()`."""
    context._ensure_version_table()


def delete_of_version(context: MigrationContext, revision: str) -> Delete:
    """Return the statement that removes one row of `alembic_version`: `MigrationContext._version`."""
    table = context._version
    return table.delete().where(table.c.version_num == revision)

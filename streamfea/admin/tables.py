"""The handlers' tables and views: created, migrated, refreshed, dropped, for all queues of the configuration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, Table

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.schema.migrations import Migrations
from streamfea.database.schema.refresh_views import Refreshed, refresh_views
from streamfea.database.schema.setup import Changes, all_schemas, create_all, drop_all, migrate_all
from streamfea.handlers.loading import load_handler, load_handlers
from streamfea.handlers.schemas import HandlerSchema, schema_of

__all__ = ["Tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the handlers of a configuration have in the database, and what streamfea keeps there for their queues."""

    schemas: Sequence[HandlerSchema]

    @classmethod
    def of(cls, settings: Settings) -> "Tables":
        """Import the handlers; raise `ConfigurationError` that names those that cannot be used."""
        return cls(all_schemas(load_handlers(settings.select([]))))

    @property
    def names(self) -> list[str]:
        """The names of the tables and views."""
        found = [table.fullname for schema in self.schemas for table in [*schema.tables, *schema.views]]
        return list(dict.fromkeys(found))

    @property
    def views(self) -> list[Table]:
        """The materialised views."""
        return list(dict.fromkeys(view for schema in self.schemas for view in schema.views))

    def create(self, engine: Engine) -> Changes:
        """Create missing tables and views."""
        return create_all(engine, self.schemas)

    def make_migration(self, engine: Engine, queue: Queue, message: str, *, empty: bool = False) -> Path | None:
        """Write a migration from the tables to the models of a queue's handler; None if they are alike."""
        with engine.connect() as connection:
            schema = schema_of(load_handler(queue))
            return Migrations(self.schemas).make(connection, schema, message, empty=empty)

    def migrate(self, engine: Engine) -> Changes:
        """Apply the pending migrations, all of them or none."""
        return migrate_all(engine, self.schemas)

    def drop(self, engine: Engine) -> list[str]:
        """Drop tables and views with every row in them; return the names of those that were there."""
        return drop_all(engine, self.schemas)

    def refresh_views(self, engine: Engine) -> Iterator[Refreshed]:
        """Refresh the materialised views one by one; yield the result for each."""
        return refresh_views(engine, self.views)

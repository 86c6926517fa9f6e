"""Finds the tables, views and migrations that belong to a handler."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from streamfea.handlers.loading import Handler
from streamfea.model import Base, is_view

__all__ = ["OTHER_MODELS", "HandlerSchema", "models_of", "schema_of", "schemas_of"]

# Of models that no handler leads to.
OTHER_MODELS = "other models"


@dataclass(frozen=True, slots=True)
class HandlerSchema:
    """What one handler has in the database.

    `name` is the handler's module, and the label of its migrations' branch. `tables` come parents first, `views`
    in an order in which they can be created. `migrations` is the folder of its migrations, which may not exist yet;
    None for the models that are nobody's in particular.
    """

    name: str
    tables: list[Table]
    views: list[Table]
    migrations: Path | None


def schemas_of(handlers: Iterable[Handler]) -> list[HandlerSchema]:
    """Return a schema for each module that is a handler, and one for models that none of them leads to."""
    modules = {handler.module.__name__: handler.module for handler in handlers}
    schemas = [_schema(module) for module in modules.values()]
    owned = {table for schema in schemas for table in [*schema.tables, *schema.views]}
    rest = set(Base.metadata.tables.values()) - owned
    if rest:
        schemas.append(HandlerSchema(OTHER_MODELS, *_split(rest), None))
    return schemas


def schema_of(handler: Handler) -> HandlerSchema:
    """Return the schema of one handler."""
    return _schema(handler.module)


def models_of(handler: Handler) -> list[type]:
    """Return the models that rows of a handler's tables are made with, by name."""
    tables = set(schema_of(handler).tables)
    return sorted((mapper.class_ for mapper in _mappers() if mapper.local_table in tables), key=lambda it: it.__name__)


def _schema(module: ModuleType) -> HandlerSchema:
    return HandlerSchema(module.__name__, *_split(_tables(module)), _migrations(module))


def _split(chosen: set[Table]) -> tuple[list[Table], list[Table]]:
    """Return the tables, parents first, and the views as they were declared: each after those it is made from."""
    tables = [table for table in Base.metadata.sorted_tables if table in chosen and not is_view(table)]
    views = [table for table in Base.metadata.tables.values() if table in chosen and is_view(table)]
    return tables, views


def _migrations(module: ModuleType) -> Path | None:
    """Return `migrations/` in a package, `NAME_migrations/` beside a module."""
    if module.__file__ is None:
        return None
    file = Path(module.__file__).absolute()
    return file.parent / "migrations" if hasattr(module, "__path__") else file.with_name(f"{file.stem}_migrations")


def _tables(module: ModuleType) -> set[Table]:
    """Return the tables of the models defined in `module` or below it, or in reach of its names.

    And those that they refer to, by a foreign key or a relationship.
    """
    found = {table for mapper in _mappers() if _belongs(mapper, module) for table in _tables_around(mapper)}
    found |= {value for value in vars(module).values() if isinstance(value, Table) and value.metadata is Base.metadata}
    pending = list(found)
    while pending:
        new = {key.column.table for key in pending.pop().foreign_keys} - found
        found |= new
        pending += new
    return found


def _mappers() -> Iterator[Mapper[object]]:
    Base.registry.configure()
    yield from Base.registry.mappers


def _belongs(mapper: Mapper[object], module: ModuleType) -> bool:
    home = mapper.class_.__module__
    if home == module.__name__ or (hasattr(module, "__path__") and home.startswith(f"{module.__name__}.")):
        return True
    return any(
        value is mapper.class_ or (isinstance(value, ModuleType) and value.__name__ == home)
        for value in vars(module).values()
    )


def _tables_around(mapper: Mapper[object]) -> Iterator[Table]:
    """Yield the tables of a model, of the models that its relationships lead to, and those between them."""
    mappers = {mapper, *(relationship.mapper for relationship in mapper.relationships)}
    secondary = (relationship.secondary for relationship in mapper.relationships)
    for table in [*(table for related in mappers for table in related.tables), *secondary]:
        if isinstance(table, Table):
            yield table

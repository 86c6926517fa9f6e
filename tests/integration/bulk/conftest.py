"""The tables of these tests, some of which are in another schema."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Engine, Table, create_engine, text

from tests.support.bulk_tables import SCHEMA, Base


@pytest.fixture
def tables(database_url: str) -> Iterator[Sequence[Table]]:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{SCHEMA}"'))
    yield Base.metadata.sorted_tables
    with engine.begin() as connection:
        connection.execute(text(f'DROP SCHEMA "{SCHEMA}" CASCADE'))
    engine.dispose()


@pytest.fixture
def engine(engine: Engine) -> Engine:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE cage ADD FOREIGN KEY (zoo_code) REFERENCES zoo (code) ON DELETE CASCADE"))
    return engine

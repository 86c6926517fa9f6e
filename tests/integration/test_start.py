"""What `consume` says when it cannot start: one sentence, without SQL."""

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from tests.support.commands import Project


@pytest.mark.parametrize(
    ("limit", "remedy", "command"),
    [
        ("lock_timeout", "somebody has locked the table", ["consume", "--create-tables"]),
        ("lock_timeout", "somebody has locked the table", ["consume", "--workers", "0"]),
        ("statement_timeout", "a statement_timeout of the role", ["consume"]),
    ],
)
def test_a_table_that_is_locked_at_the_start_is_told_in_a_sentence(
    project: Project, database_url: str, limit: str, remedy: str, command: list[str]
) -> None:
    project.configure(guarantee="exactly-once")
    project.run("initdb")
    [options] = [make_url(database_url).query["options"]]
    project.configure_servers(database={"connect_args": {"options": f"{options} -c{limit}=200ms"}})
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")):
            connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        with project.consuming(*command[1:]) as consumer:
            code = consumer.process.wait(30)
    assert code != 0, consumer.log()
    assert "Error: " in consumer.log()
    assert remedy in consumer.log()
    assert "SELECT" not in consumer.log()
    assert len(consumer.log().splitlines()) == 1, consumer.log()

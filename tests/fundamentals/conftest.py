"""The shop that every page plays in."""

from pathlib import Path

import pytest
from redis import Redis

from tests.support.commands import Project
from tests.support.shops import Shop


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str) -> Shop:
    """A shop on the shared servers, not open yet."""
    return Shop(Project(tmp_path, redis_url, database_url, f"{name}:stream"), client, database_url)

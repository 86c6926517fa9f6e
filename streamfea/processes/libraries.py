"""Tells which installed libraries streamfea was not tried with."""

from streamfea.core.advice import Advice
from streamfea.database.connection import psycopg_internals
from streamfea.orm import internals
from streamfea.streams.connection import redis_internals

__all__ = ["unknown_libraries"]


def unknown_libraries() -> list[Advice]:
    """Return what the operator should know of each library whose version is not known."""
    versions = (internals.VERSIONS, psycopg_internals.VERSIONS, redis_internals.VERSIONS)
    return [advice for known in versions if (advice := known.advice()) is not None]

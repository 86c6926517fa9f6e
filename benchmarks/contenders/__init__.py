"""Ways to turn each record into a committed row, each written as its own documentation tells its users to.

Every module defines `CONTENDER` and can be run on its own, as its library wants to be run. What they all have to do:
one row for each record in PostgreSQL, acknowledged in Redis after the commit. They are measured from outside.
"""

from importlib import import_module

from benchmarks.contenders.contender import Contender

__all__ = ["ALL", "Contender", "load"]

# In the order of the report; the first is what all are compared with.
ALL = (
    "azafea_loop",
    "celery_task",
    "dramatiq_actor",
    "faststream_single",
    "taskiq_task",
    "asyncio_loop",
    "faststream_batch",
    "streamfea_process",
    "streamfea_once",
    "streamfea_batch",
    "executemany_loop",
    "copy_loop",
)


def load(name: str) -> Contender:
    """Return a contender; the servers' addresses must be in the environment. Raises `ImportError` without a library."""
    contender: Contender = import_module(f"benchmarks.contenders.{name}").CONTENDER
    return contender

"""Every record of a Redis Stream becomes a committed row in PostgreSQL.

A handler imports from here what tells streamfea the fate of a record, its models from `streamfea.model`, and what its
own commands have at hand from `streamfea.commands`; its tests use `streamfea.testing`.
"""

from importlib.metadata import version

from streamfea.errors import Reject, Retry

__all__ = ["Reject", "Retry", "__version__"]

__version__ = version("streamfea")

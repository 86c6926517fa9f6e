"""Every record of a Redis Stream becomes a committed row in PostgreSQL.

A handler imports from here what tells streamfea the fate of a record, and its models from `streamfea.model`.
"""

from importlib.metadata import version

from streamfea.errors import Reject, Retry

__all__ = ["Reject", "Retry", "__version__"]

__version__ = version("streamfea")

"""All that streamfea relies on in psycopg beyond its documented API, and the versions that it was tried with.

`VigilantConnection` overrides `Connection.wait()`, which every call goes through. It runs a generator that yields when
it waits for the socket, and is sent `Ready.NONE` when nothing has come for `interval`. With a version that is not
known, connections are psycopg's own: only TCP's time-outs tell of a dead server.
"""

import psycopg
from psycopg.waiting import Ready

from streamfea.core.known_versions import KnownVersions

__all__ = ["VERSIONS", "Ready"]

VERSIONS = KnownVersions(
    "psycopg", psycopg.__version__, (3, 3, 6), (4,), "a connection that dies without an error is noticed late"
)

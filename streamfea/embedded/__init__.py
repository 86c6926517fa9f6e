"""Real servers in a folder, for the demo, the tests and the first steps: what `embedded:DIR` in a URL means.

A server is started by the first command that names its folder and keeps running after it, so that several terminals
share it. `streamfea embedded stop` stops it, and so does `python -m streamfea.embedded stop DIR`.

Both listen on a unix socket only, which is its owner's alone, as are their files. Their data survives a stop, as it
would on any other server.

Which programs are run can be chosen in the environment: STREAMFEA_EMBEDDED_REDIS_SERVER names a valkey-server or
redis-server, STREAMFEA_EMBEDDED_POSTGRESQL_BIN the folder of PostgreSQL's programs.
"""

from streamfea.embedded.files import EmbeddedServerError
from streamfea.embedded.postgresql import ensure_postgresql, postgresql_address, postgresql_program
from streamfea.embedded.stopping import server_pid, stop
from streamfea.embedded.valkey import ensure_valkey, valkey_address, valkey_client, valkey_executable

__all__ = [
    "EmbeddedServerError",
    "ensure_postgresql",
    "ensure_valkey",
    "postgresql_address",
    "postgresql_program",
    "server_pid",
    "stop",
    "valkey_address",
    "valkey_client",
    "valkey_executable",
]

"""TLS in front of servers that have none: certificates of a CA made on the spot, and a proxy that ends TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# PostgreSQL manual, "Message Formats", SSLRequest: length 8, then the code 80877103.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@contextmanager
def tls_proxy(target: Path, context: ssl.SSLContext | None, *, postgresql: bool = False) -> Iterator[int]:
    """Speak TLS on a port of loopback, and plainly with the unix socket `target`; yield the port.

    Without a `context` it passes everything through. With `postgresql`, TLS begins when the client asks for it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, target, context, postgresql), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, target: Path, context: ssl.SSLContext | None, postgresql: bool) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, target, context, postgresql), daemon=True).start()


def _serve(accepted: socket.socket, target: Path, context: ssl.SSLContext | None, postgresql: bool) -> None:
    with accepted, suppress(OSError):
        if context is not None and postgresql:
            assert accepted.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) == _SSL_REQUEST
            accepted.sendall(b"S")
        client = accepted if context is None else context.wrap_socket(accepted, server_side=True)
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(target))
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)

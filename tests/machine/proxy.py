"""A proxy in front of a server that cuts connections where it hurts, or forwards nothing any more."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Cut", "Proxy"]

_CHUNK_BYTES = 65_536
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Cut:
    """Where to cut: once a request with `pattern` in it was seen, after so many more bytes of the `direction`.

    `Cut(b"COMMIT", "reply", 0)` lets the server commit, and the client never hear of it.
    """

    pattern: bytes
    direction: Literal["request", "reply"]
    after_bytes: int


class Proxy:
    """Listens on a TCP port of its own, in a thread of its own."""

    def __init__(self, server: Path | int) -> None:
        """Take the server's unix socket, or its port on loopback."""
        self.port = 0
        self._server = server
        self._is_dark = False
        self._loop = asyncio.new_event_loop()
        self._links: set[_Link] = set()
        self._cut: Cut | None = None
        self._done = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Serve meanwhile."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, _HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}")
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(server), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def cut_all(self) -> int:
        """Cut all connections at once; return how many there were."""
        return asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    def cut_next(self, cut: Cut, seconds: float) -> bool:
        """Cut the next connection that comes to where `cut` says; return whether one did within `seconds`."""
        self._done.clear()
        self._cut = cut
        was_cut = self._done.wait(seconds)
        self._cut = None
        return was_cut

    def go_dark(self, seconds: float) -> None:
        """Forward nothing for a while; the connections of before and meanwhile stay as they are, and dead."""
        self.begin_dark()
        time.sleep(seconds)
        self._is_dark = False

    def begin_dark(self) -> None:
        """Forward nothing from now on."""
        self._is_dark = True
        for link in self._links.copy():
            link.is_dark = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        link.is_dark = self._is_dark
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, "request", reader, server_writer), self._pump(link, "reply", server_reader, writer)
            )
        except (OSError, asyncio.CancelledError):  # the latter at the end of it all, or asyncio prints a traceback
            pass
        finally:
            link.abort()
            self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, Path):
            return await asyncio.open_unix_connection(str(self._server))
        return await asyncio.open_connection(_HOST, self._server)

    async def _pump(
        self,
        link: "_Link",
        direction: Literal["request", "reply"],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if link.is_dark:
                continue
            if direction == "request" and link.cut is None:
                link.meet(self._take(data))
            allowed = link.allow(direction, len(data))
            writer.write(data[:allowed])
            await writer.drain()
            if allowed < len(data):
                self._done.set()
                break
        if not link.is_dark:
            link.abort()

    def _take(self, data: bytes) -> Cut | None:
        """Return the cut that is asked for if `data` matches; only one connection gets it."""
        cut = self._cut
        if cut is None or cut.pattern not in data:
            return None
        self._cut = None
        return cut

    async def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        await self._cut_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.cut: Cut | None = None
        self.is_dark = False
        self._writers = writers
        self._left = 0

    def meet(self, cut: Cut | None) -> None:
        """Be cut there."""
        if cut is not None:
            self.cut = cut
            self._left = cut.after_bytes

    def allow(self, direction: str, size: int) -> int:
        """Return how many of `size` bytes may pass before the cut."""
        if self.cut is None or self.cut.direction != direction:
            return size
        allowed = min(size, self._left)
        self._left -= allowed
        return allowed

    def abort(self) -> None:
        """Cut it."""
        for writer in self._writers:
            writer.transport.abort()

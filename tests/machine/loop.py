"""What goes on in a thread as long as the machine runs."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager


class Loop(ABC):
    """Takes its step again and again, with a pause before each."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause = pause_seconds
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do it meanwhile."""
        thread = threading.Thread(target=self.run, name=type(self).__name__)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def run(self) -> None:
        """Do it until the end."""
        while not self._ended.wait(self._pause):
            self.step()

    @abstractmethod
    def step(self) -> object:
        """Do it once."""

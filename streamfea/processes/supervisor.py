"""The processes of one `consume`, workers and shims: started, watched, restarted, stopped.

The supervisor opens no connection, starts no thread and imports no handler, so that what it forks is clean. A pipe
whose writing end only it holds tells the workers that it is alive: when that closes, they finish and go.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import structlog

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError, QueuesError, StreamfeaError
from streamfea.processes.child import preflight_main, shim_main, worker_main
from streamfea.processes.forking import fork
from streamfea.processes.lease_substitute import blocked_after, runs, substitute_main
from streamfea.processes.misfits import Misfits, last_words
from streamfea.processes.outlook import Outlook
from streamfea.processes.slots import Slot
from streamfea.streams.consuming.name_lock import NameHolder, consumer_name
from streamfea.worker.stop_signal import StopSignal

__all__ = ["Supervisor"]

log = structlog.get_logger(__name__)

_CANNOT_WORK = 2  # the exit code of a worker whose configuration cannot work
_LOOK_EVERY_SECONDS = 1.0


class Supervisor:
    """Runs `queue.workers` processes for each of `queues`, and one that empties its lists into its stream."""

    def __init__(
        self,
        settings: Settings,
        queues: Sequence[Queue],
        stop: StopSignal,
        *,
        name: str | None = None,
        until_empty: bool = False,
        strict: bool = False,
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._stop = stop
        self._at_once = False
        self._until_empty = until_empty
        self._strict = strict
        self._name = name
        self._holder = NameHolder.here()
        self._liveness = os.pipe()
        self._misfits = Misfits(self._start_trial)
        self._slots = [Slot(queue, number) for queue in queues for number in range(1, queue.workers + 1)]
        self._outlook = Outlook(settings, [(slot.queue, slot.monitor) for slot in self._slots], self._liveness)
        for slot, row in zip(self._slots, self._outlook.rows, strict=True):
            slot.row = row
        self._slots += [Slot(queue, 0, is_shim=True) for queue in queues if queue.legacy_lists]

    def stop_at_once(self) -> None:
        """Do not wait for the workers any more; safe in a signal handler."""
        self._at_once = True

    def run(self, *, create_tables: bool = False) -> None:
        """Work until `stop` is set or, with `until_empty`, until every worker found nothing left to do.

        A queue that cannot work is tried again while others can. Raises `ConfigurationError` when none can and, with
        `strict`, when one cannot at the start or, with `until_empty`, at the end; `StreamfeaError` when workers had to
        be killed.
        """
        try:
            self._preflight(create_tables)
            while not self._stop.is_set() and any(self._awaits(slot) for slot in self._slots):
                if not self._until_empty:
                    self._misfits.try_again()
                self._start_what_is_due()
                self._outlook.keep_up()
                self._wait()
                self._reap()
                self._kill_overdue()
                self._substitute_for_the_blocked()
        finally:
            self._misfits.end()
            killed = self._end()
        if killed:
            raise StreamfeaError(
                f"{killed} of {len(self._slots)} processes had to be killed; "
                "what they held goes to others after claim_idle"
            )
        if self._until_empty and not self._stop.is_set() and (errors := self._misfits.errors()):
            raise QueuesError(errors)

    def _awaits(self, slot: Slot) -> bool:
        """Tell whether there is still something to do in `slot`."""
        return slot.is_awaited() and not (self._until_empty and slot.queue.name in self._misfits)

    def _preflight(self, create_tables: bool) -> None:
        """Let a process that is thrown away find out whether this can work, before any worker tries."""
        process, words = self._start_preflight(self._queues, create_tables)
        while process.is_alive():
            wait(
                [process.sentinel, self._stop.fileno()], _LOOK_EVERY_SECONDS
            )  # a handler's child may hold a sentinel open
            if self._stop.is_set():
                process.terminate()
                process.join(_LOOK_EVERY_SECONDS)
                process.kill()
            process.join(_LOOK_EVERY_SECONDS)
        if process.exitcode and not self._stop.is_set():
            error = last_words(words) or ConfigurationError(
                f"the start-up check died with exit code {process.exitcode}"
            )
            if self._strict or not isinstance(error, QueuesError):
                raise error
            self._note_misfits(error.errors)

    def _start_preflight(self, queues: Sequence[Queue], create_tables: bool) -> tuple[ForkProcess, Connection]:
        return self._fork(preflight_main, (self._settings, queues, create_tables), "preflight")

    def _start_trial(self, name: str) -> tuple[ForkProcess, Connection]:
        return self._start_preflight([queue for queue in self._queues if queue.name == name], create_tables=False)

    def _note_misfits(self, errors: Mapping[str, ConfigurationError]) -> None:
        """Let the other queues go on without those that cannot work; raise `QueuesError` when no queue can."""
        known = {**self._misfits.errors(), **errors}
        if len(known) == len(self._queues):
            raise QueuesError(known)
        for name, error in errors.items():
            self._misfits.note(name, error)

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if (
                slot.process is None
                and not slot.finished
                and slot.start_at <= now
                and slot.queue.name not in self._misfits
            ):
                self._start(slot)

    def _start(self, slot: Slot) -> None:
        slot.consumer = consumer_name(self._name, slot.number)
        main, arguments = self._job(slot)
        slot.process, slot.words = self._fork(main, arguments, slot.consumer)
        slot.started_at = time.monotonic()
        slot.hides_its_end = False
        if slot.row is not None:
            slot.row.starts(slot.process.pid or 0)

    def _fork(self, main: Callable[..., None], arguments: tuple[Any, ...], name: str) -> tuple[ForkProcess, Connection]:
        return fork(main, arguments, name, self._liveness)

    def _job(self, slot: Slot) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Return the main function of the process in `slot`, and its arguments."""
        if slot.is_shim:
            return shim_main, (self._settings, slot.queue)
        slot.monitor.reset()
        predecessors = tuple(slot.predecessors)
        return worker_main, (
            self._settings, slot.queue, slot.consumer, self._holder, self._until_empty, predecessors, slot.monitor,
            slot.row,
        )  # fmt: skip

    def _wait(self) -> None:
        """Wait until a process ends, a signal comes, or it is time to look after something."""
        pause = min(_LOOK_EVERY_SECONDS, min(blocked_after(queue.claim_idle) for queue in self._queues) / 2)
        for slot in self._slots:
            if slot.process is None and not slot.finished and slot.queue.name not in self._misfits:
                pause = min(pause, max(0.0, slot.start_at - time.monotonic()))
        watched = [(slot, slot.process) for slot in self._slots if slot.process and not slot.hides_its_end]
        ready = wait([self._stop.fileno(), *(process.sentinel for _, process in watched)], pause)
        for slot, process in watched:
            slot.hides_its_end = process.sentinel in ready and process.is_alive()

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is not None and not slot.process.is_alive():
                self._note_end(slot, slot.process)

    def _note_end(self, slot: Slot, process: ForkProcess) -> None:
        process.join()
        slot.process = None
        code = process.exitcode
        if slot.row is not None:
            slot.row.ends(crashed=code not in (0, _CANNOT_WORK), wanted=code not in (0, _CANNOT_WORK))
        if code == 0:
            slot.finished = True
            return
        if code == _CANNOT_WORK:
            why = last_words(slot.words) or ConfigurationError("a worker cannot work with this configuration")
            self._note_misfits({slot.queue.name: why})
            return
        how = f"killed by {_signal_name(-code)}" if code is not None and code < 0 else f"exit code {code}"
        delay = slot.restart_after(how)
        error = last_words(slot.words)
        log.error(
            "a shim died" if slot.is_shim else "a worker died",
            queue=slot.queue.name,
            consumer=slot.consumer,
            how=how,
            restart_in_seconds=delay,
            error=None if error is None else str(error),
        )

    def _kill_overdue(self) -> None:
        for slot in self._slots:
            if slot.is_shim or slot.process is None or slot.process.pid is None or slot.timed_out:
                continue
            if slot.monitor.counted_seconds() <= slot.queue.timeout.total_seconds():
                continue
            # Stopped first, so that a record that ends this very moment does not let the next one pay for it.
            os.kill(slot.process.pid, signal.SIGSTOP)
            if slot.monitor.counted_seconds() <= slot.queue.timeout.total_seconds():
                os.kill(slot.process.pid, signal.SIGCONT)
                continue
            log.error(
                "a record runs longer than timeout: killing its worker",
                queue=slot.queue.name,
                consumer=slot.consumer,
                entry=slot.monitor.entry_id,
            )
            slot.timed_out = True
            slot.process.kill()

    def _substitute_for_the_blocked(self) -> None:
        """Have the leases of workers renewed whose handlers keep their own threads from doing it."""
        for slot in self._slots:
            if slot.is_shim or slot.process is None or slot.process.pid is None:
                continue
            if slot.substitute is not None and slot.substitute.is_alive():
                continue
            if slot.monitor.is_blocked(blocked_after(slot.queue.claim_idle)) and runs(slot.process.pid):
                arguments = (self._settings, slot.queue, slot.consumer, self._holder, slot.process.pid, slot.monitor)
                slot.substitute, _ = self._fork(substitute_main, arguments, f"{slot.consumer}-substitute")

    def _end(self) -> int:
        """Stop all workers by one shared deadline; return how many had to be killed.

        They are told by the end of the pipe: what SIGTERM does in a worker, its handler may have changed.
        """
        processes = [
            process for slot in self._slots for process in (slot.process, slot.substitute) if process is not None
        ]
        if (server := self._outlook.end()) is not None:
            processes.append(server)
        hidden = {slot.process for slot in self._slots if slot.hides_its_end}
        for descriptor in self._liveness:
            os.close(descriptor)
        longest = max((queue.shutdown_timeout.total_seconds() for queue in self._queues), default=0.0)
        deadline = time.monotonic() + longest
        while any(process.is_alive() for process in processes) and not self._at_once:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            awaited = [process.sentinel for process in processes if process.is_alive() and process not in hidden]
            wait(awaited, min(remaining, 0.1))
        killed = 0
        for process in processes:
            if process.is_alive():
                killed += 1
                process.kill()
            process.join()
        return killed


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Several processes on one set of sockets: the parent binds, starts workers, restarts what dies, and stops them.

Workers are spawned, not forked: nothing of the parent's (its lock, its key, its database) is theirs. A worker ends
soon after its parent, whatever ended that.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from capsvc.config import Settings, SettingsError
from capsvc.errors import StartError
from capsvc.http.app import create_app
from capsvc.http.serving import GRACE_SECONDS, Stop, serve_app, set_up_process

__all__ = ["Workers"]

LOOK_SECONDS: Final = 0.2
RESTART_SECONDS: Final = 1.0
"""Between two attempts to start a worker that ended while starting."""

ORPHAN_SECONDS: Final = 3.0
"""What a worker whose parent is gone has to finish its answers."""

READY: Final = ("ready", "", 0)
Said = tuple[str, str, int]

logger = logging.getLogger("capsvc.serve")
spawn: Final = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    channel: Connection
    ready: bool = False
    began: float = field(default_factory=time.monotonic)


class Workers:
    """The workers of one service."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], stop: Stop) -> None:
        self._settings = settings
        self._sockets = sockets
        self._stop = stop
        self._workers: list[_Worker] = []

    def run(self, listening: Callable[[], None]) -> None:
        """Serve until told to stop. Raises `StartError` when a worker cannot start the first time."""
        resource_tracker.ensure_running()  # starting it later would undo the blocking of signals in `_start`
        try:
            self._workers.extend(self._start() for _ in range(self._settings.workers))
            self._until_ready()
            if not self._stop.asked:
                listening()
            while not self._stop.asked:
                wait([worker.process.sentinel for worker in self._workers], LOOK_SECONDS)
                self._replace_dead()
        finally:
            self._end()

    def _start(self) -> _Worker:
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_work, args=(self._settings, self._sockets, theirs), daemon=True)
        # ^C reaches a worker before it can handle it: it stays blocked until the worker can.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process, ours)

    def _until_ready(self) -> None:
        while not self._stop.asked and (waiting := [worker for worker in self._workers if not worker.ready]):
            wait([worker.channel for worker in waiting], LOOK_SECONDS)
            for worker in waiting:
                if said := _heard(worker):
                    code, message, exit_code = said
                    raise StartError(code, message, exit_code=exit_code)

    def _replace_dead(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker.process.is_alive():
                said = _heard(worker)
            elif worker.ready or time.monotonic() - worker.began > RESTART_SECONDS:
                said = _heard(worker)
                _put_away(worker)
                self._workers[index] = self._start()
                logger.warning("a worker ended (%s) and was replaced", worker.process.exitcode)
            else:
                continue
            if said:
                logger.error("a worker cannot start: %s", said[1])

    def _end(self) -> None:
        for item in self._sockets:
            item.close()
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS + 2
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            _put_away(worker)


def _heard(worker: _Worker) -> Said | None:
    """What a worker says of its start, once: ``None`` when it is ready or has said nothing yet."""
    if worker.ready or not worker.channel.poll():
        return None
    try:
        said: Said = worker.channel.recv()
    except (EOFError, OSError):
        worker.process.join(1)
        said = ("worker", f"a worker ended while starting ({worker.process.exitcode})", 3)
    worker.ready = said == READY
    return None if worker.ready else said


def _put_away(worker: _Worker) -> None:
    worker.channel.close()
    worker.process.join()


def _work(settings: Settings, sockets: list[socket.socket], channel: Connection) -> None:
    """A worker's whole life."""
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    set_up_process()
    threading.Thread(target=_end_with_parent, args=(stop,), name="parent", daemon=True).start()
    try:
        app = create_app(settings)
    except (StartError, SettingsError) as error:
        channel.send((error.code, str(error), error.exit_code))
        sys.exit(error.exit_code)
    serve_app(
        app,
        sockets,
        lambda: channel.send(READY),
        stop,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        stopping=app.state.watch.stop,
    )


def _end_with_parent(stop: Stop) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    stop.hear()
    time.sleep(ORPHAN_SECONDS)
    os._exit(3)

"""The worker processes that the service starts beside itself, and starts again when one dies."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

from rewriter.settings import Settings

PAUSE = 1.0  # seconds before a worker that died is started again; twice as long at each further death in a row
LONGEST_PAUSE = 60.0
SOUND = 60.0  # seconds after which a worker counts as having started well
FAREWELL = 15.0  # seconds that a worker has to give its job back


class LocalWorkers:
    """As many as REWRITER_WORKERS says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for number in range(self._settings.workers):
            thread = threading.Thread(target=self._keep, args=(number,), name=f"worker-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for process in list(self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + FAREWELL
        for process in list(self._processes.values()):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _keep(self, number: int) -> None:
        pause = PAUSE
        while not self._stop.is_set():
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "rewriter", "worker", "--parent", str(os.getpid())],
                env={**os.environ, **_environment(self._settings)},
                stdin=subprocess.DEVNULL,
            )
            self._processes[number] = process
            process.wait()
            if time.monotonic() - started > SOUND:
                pause = PAUSE
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _environment(settings: Settings) -> dict[str, str]:
    """The settings of this service for a worker, also those that did not come from the environment."""
    found = {"REWRITER_STORE": settings.store_url}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            found[f"REWRITER_{name.upper()}"] = plain
    return found

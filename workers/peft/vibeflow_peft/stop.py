"""Why a run should stop, asked for by a signal or by the lease, and obeyed between steps."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading

PAUSED = "paused"
ORPHANED = "orphaned"
SUPERSEDED = "superseded"

# A stronger reason replaces a weaker one: a superseded runner must not save, whatever else it was asked for.
_STRENGTH = {None: 0, PAUSED: 1, ORPHANED: 2, SUPERSEDED: 3}


class Stopped(Exception):
    """Raised between a run's stages when there is nothing to save yet."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StopRequest:
    """A flag with a reason; set from a signal handler or a thread, read between steps."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._lock = threading.RLock()  # reentrant: a signal may arrive while its own thread holds it

    @property
    def reason(self) -> str | None:
        """PAUSED, ORPHANED, SUPERSEDED, or None while the run may go on."""
        return self._reason

    def ask(self, reason: str) -> None:
        """Asks the run to stop."""
        with self._lock:
            if _STRENGTH[reason] > _STRENGTH[self._reason]:
                self._reason = reason

    def check(self) -> None:
        """Raises Stopped if the run should stop; for the time before the first step."""
        if self._reason is not None:
            raise Stopped(self._reason)


def handle_signals(stop: StopRequest) -> None:
    """SIGTERM and SIGINT pause, SIGUSR1 writes every thread's stack to stderr. Call from the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask(PAUSED))
    faulthandler.enable(file=sys.stderr)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)

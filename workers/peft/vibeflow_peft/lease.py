"""The runner's side of lease.json: a worker renews the file, and a runner that nobody renews saves and leaves.

Age is measured from when this process first saw the file's current mtime, on the monotonic clock: a clock that is set,
or a laptop that slept, must not make an orphan of a run whose worker slept too.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from .stop import ORPHANED, SUPERSEDED, StopRequest

_LEASE_LIMIT = 64 << 10


class Lease:
    """Watches one lease file and asks the run to stop when it lapses or names a newer epoch."""

    def __init__(self, path: Path, epoch: int, seconds: float, stop: StopRequest) -> None:
        self._path, self._epoch, self._seconds, self._stop = path, epoch, seconds, stop
        self._lock = threading.Lock()
        self._renewal: int | None = None  # mtime in nanoseconds, None while the file is missing
        self._seen_at = time.monotonic()

    def check(self) -> None:
        """Looks at the file once. Any trouble in reading it counts as "not renewed"."""
        with self._lock:
            try:
                renewal: int | None = self._path.stat().st_mtime_ns
            except OSError:
                renewal = None
            if renewal is not None and renewal != self._renewal:
                self._renewal, self._seen_at = renewal, time.monotonic()
            if self._owner() > self._epoch:
                self._stop.ask(SUPERSEDED)
            elif time.monotonic() - self._seen_at > self._seconds:
                self._stop.ask(ORPHANED)

    def watch(self) -> None:
        """Checks from a daemon thread as well, so that a long step or a long load notices too."""
        interval = max(0.05, min(5.0, self._seconds / 10))

        def loop() -> None:
            while True:
                self.check()
                time.sleep(interval)

        threading.Thread(target=loop, name="lease", daemon=True).start()

    def _owner(self) -> int:
        try:
            with self._path.open("rb") as file:
                epoch = json.loads(file.read(_LEASE_LIMIT)).get("epoch")
        except (OSError, ValueError, AttributeError):  # missing, or caught in the middle of a write
            return 0
        return epoch if isinstance(epoch, int) else 0

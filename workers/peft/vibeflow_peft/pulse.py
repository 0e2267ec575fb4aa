"""Tells the supervisor that a training moves, and how long it may stand still before something is wrong.

One line of fixed width in the run's folder, overwritten in place: it costs microseconds a step, and nobody stores it.
Only a step itself is watched: what comes between two (saving, held-out losses) and before the first (imports, models)
takes as long as it takes.
"""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from statistics import median

# A step is suspected once it takes so many times as long as the median of the last ones …
_TIMES_MEDIAN = 20
# … and never before this: a machine that swaps or is busy elsewhere is slow, not hung.
_FLOOR_SECONDS = 180.0
# What a launch's first steps may take, which pay for kernels and cold caches and have no like.
_FIRST_SECONDS = 1800.0
_BASIS = 3
_RECENT = 50
_WIDTH = 80


class Pulse:
    """The file `pulse`: {"beat": count, "patience_seconds": how long this beat may last, 0 for as long as it takes}."""

    def __init__(self, path: Path | None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600) if path else None
        self._beat = 0
        self._seconds: deque[float] = deque(maxlen=_RECENT)

    def step_begins(self) -> None:
        """A step is under way."""
        self._tell(self.patience)

    def step_ends(self, seconds: float) -> None:
        """A step has taken so long; what follows is not watched."""
        self._seconds.append(seconds)
        self.rest()

    def rest(self) -> None:
        """Nothing is watched until the next step."""
        self._tell(0)

    @property
    def patience(self) -> float:
        """Seconds that the next step may take."""
        if len(self._seconds) < _BASIS:
            return _FIRST_SECONDS
        return max(_FLOOR_SECONDS, _TIMES_MEDIAN * median(self._seconds))

    def _tell(self, patience: float) -> None:
        if self._file is None:
            return
        self._beat += 1
        line = json.dumps({"beat": self._beat, "patience_seconds": round(patience, 3)}).ljust(_WIDTH)
        os.pwrite(self._file, line.encode(), 0)

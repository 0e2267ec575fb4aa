"""Tells the supervisor that a run moves, and how long it may stand still before something is wrong.

One line of fixed width in the run's folder, overwritten in place: it costs microseconds a step, and nobody stores it.
What computes is watched, a step or a batch at a time; what waits for a disk or a network (imports, models, saves) takes
as long as it takes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import monotonic

# What there is to watch, as people are told of it.
STEP, HELD_OUT_BATCH, BATCH, TOKEN = "a step", "a batch of held-out rows", "a batch of rows", "a token of the answers"

# A step is suspected once it takes so many times as long as the median of the last ones …
_TIMES_MEDIAN = 20
# … and never before this: a machine that swaps or is busy elsewhere is slow, not hung.
_FLOOR_SECONDS = 180.0
# What has no like may take: a launch's first steps, which pay for kernels and cold caches, and batches, which come
# sorted by the length of their rows: the longest would be judged by the shortest.
_FIRST_SECONDS = 1800.0
_BASIS = 3
_RECENT = 50
_WIDTH = 120


class Pulse:
    """The file `pulse`: {"beat": count, "patience_seconds": how long this beat may last, "doing": one of the above}.

    With a patience of 0 it may last as long as it takes.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600) if path else None
        self._beat = 0
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._doing, self._began = "", 0.0

    def begins(self, doing: str) -> None:
        """Something that is watched is under way; the one before is over, if it has not ended."""
        self._doing, self._began = doing, monotonic()
        self._tell(self.patience(doing), doing)

    def ends(self) -> None:
        """It is done; what follows is not watched."""
        if self._doing == STEP:
            self._steps.append(monotonic() - self._began)
        self._tell(0, "")

    @contextlib.contextmanager
    def watching(self, doing: str) -> Iterator[None]:
        """Something that is watched, from its begin to its end. Nothing watched may be around it."""
        self.begins(doing)
        try:
            yield
        finally:
            self.ends()

    def patience(self, doing: str) -> float:
        """Seconds that the next one of a kind may take."""
        if doing != STEP or len(self._steps) < _BASIS:
            return _FIRST_SECONDS
        return max(_FLOOR_SECONDS, _TIMES_MEDIAN * median(self._steps))

    def _tell(self, patience: float, doing: str) -> None:
        if self._file is None:
            return
        self._beat += 1
        line = json.dumps({"beat": self._beat, "patience_seconds": round(patience, 3), "doing": doing}).ljust(_WIDTH)
        os.pwrite(self._file, line.encode(), 0)

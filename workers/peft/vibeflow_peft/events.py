"""The runner's event file: NDJSON, one object a line, each line one write.

A reader may take every line that ends in a newline; a torn last line is a crash in the middle of a write and is dropped
by whoever opens the file next. `n` is the line's number, counted from 1.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """A line of the log that people read: level is "info", "warn" or "error"."""

    message: str
    level: str = "info"


class EventWriter:
    """Appends events to one file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end, self._lines = _complete_lines(path)
        os.ftruncate(self._file, self._end)

    def emit(self, kind: str, **fields: Any) -> None:
        """Appends {"n", "at", "type", …fields}; numbers that JSON cannot carry become null. Raises OSError."""
        with self._lock:
            event = {"n": self._lines + 1, "at": _now(), "type": kind, **_finite(fields)}
            line = json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            written = os.pwrite(self._file, line, self._end)
            if written != len(line):  # a full disk takes half a line: take it back, so that no reader sees it
                os.ftruncate(self._file, self._end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += written
            self._lines += 1

    def log(self, *lines: Line) -> None:
        """Appends lines for people."""
        for line in lines:
            self.emit("log", level=line.level, message=line.message)

    def close(self) -> None:
        """Flushes the file to the disk and closes it."""
        os.fsync(self._file)
        os.close(self._file)


class Progress:
    """Tells how far a long stage has come: where it begins and ends, and at most once a second in between."""

    _EVERY_SECONDS = 1.0

    def __init__(self, events: EventWriter, phase: str, total: int) -> None:
        self._events, self._phase, self._total = events, phase, total
        self._told_at = -math.inf

    def at(self, done: int, **more: Any) -> None:
        """Reports that done of the total are done, and more fields of the event."""
        now = time.monotonic()
        if 0 < done < self._total and now - self._told_at < self._EVERY_SECONDS:
            return
        self._told_at = now
        self._events.emit("progress", phase=self._phase, done=done, total=self._total, **more)


def _complete_lines(path: Path) -> tuple[int, int]:
    """The offset after the last newline, and how many lines end before it."""
    end = lines = offset = 0
    with path.open("rb") as file:
        for line in file:
            offset += len(line)
            if line.endswith(b"\n"):
                end, lines = offset, lines + 1
    return end, lines


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value

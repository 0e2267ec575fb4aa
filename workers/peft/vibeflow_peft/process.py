"""Which process a pid means: with its start it names a process for good, for pids are used again."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path


def started(pid: int) -> str:
    """When a process started, as the system tells it; "" if it is gone."""
    return _status(pid)[1]


def alive(pid: int, start: str) -> bool:
    """Whether that very process still runs; one that has ended and that nobody has reaped does not."""
    state, found = _status(pid)
    return start != "" and found == start and not state.startswith("Z")


def _status(pid: int) -> tuple[str, str]:
    """A process's state ("Z": ended) and start, both "" if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        # The command's name may hold spaces and parentheses; what follows the last one is field 3 onwards.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        state, _, start = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=True
        ).stdout.partition(" ")
        return state, start.strip()
    return "", ""

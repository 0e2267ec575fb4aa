"""What a verb is given and what it gives back: the part of a run that train, evaluate and export share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .events import EventWriter, Line
from .lease import Lease
from .pulse import Pulse
from .spec import RunSpec
from .stop import StopRequest


@dataclass
class Run:
    """What a verb gets: its spec, and the ways to report and to be stopped."""

    spec: RunSpec
    events: EventWriter
    stop: StopRequest
    lease: Lease | None
    pulse: Pulse = field(default_factory=lambda: Pulse(None))

    def introduce(self, *lines: Line) -> None:
        """Lines for people that a resumed launch leaves out, for an earlier one has told them."""
        if not self.spec.resume_from:
            self.events.log(*lines)


@dataclass
class Ending:
    """What a verb gives back: contract.RunResult without the run's own names."""

    outcome: str = "completed"
    step: int = 0
    total_steps: int = 0
    checkpoint: str = ""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] | None = None
    error: dict[str, str] | None = None


class Failed(Exception):
    """Wraps what stopped a run (its cause) together with how far it had come."""

    def __init__(self, ending: Ending) -> None:
        super().__init__("the run failed")
        self.ending = ending

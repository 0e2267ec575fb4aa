"""Waits for the Hugging Face Hub: an outage of it must not end a run that had to wait for hours in a queue."""

from __future__ import annotations

import time
from pathlib import Path

from . import models, wording
from .errors import RunnerError
from .models import ResolvedModel
from .run import Run

_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 600.0
_LOOK_SECONDS = 0.2


def resolve(run: Run) -> ResolvedModel:
    """The run's base model, fetched for as long as it takes. Raises Stopped if the run is asked to stop meanwhile."""
    spec = run.spec
    folder = Path(spec.models_dir or Path(spec.output_dir).parent / "models")
    pause = _FIRST_SECONDS
    while True:
        try:
            return models.resolve(spec.model, folder)
        except RunnerError as error:
            if error.code != "unavailable":
                raise
            run.events.log(*wording.hub_away(error.message, pause, first=pause == _FIRST_SECONDS))
        _wait(run, pause)
        pause = min(2 * pause, _LONGEST_SECONDS)


def _wait(run: Run, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        run.stop.check()
        time.sleep(_LOOK_SECONDS)
    run.stop.check()

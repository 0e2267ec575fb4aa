"""The life of one run: read the spec, do the verb, leave a result. Whatever happens in between, result.json is written.

The run's folder is the one that spec.json lies in: events.ndjson is appended to it, and result.json renamed into it as
the very last act.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import errors, stop, wording
from .checkpoint import write_atomically
from .errors import EXIT_COMPLETED, EXIT_USAGE
from .events import EventWriter, Line
from .lease import Lease
from .spec import RunSpec, load
from .stop import Stopped, StopRequest

EVENTS, RESULT = "events.ndjson", "result.json"

# Held so that a result can be written on a disk that the run has filled.
_RESERVE, _RESERVE_BYTES = ".reserve", 64 << 10

_OUTCOME_CODES = {
    "completed": EXIT_COMPLETED,
    stop.PAUSED: errors.EXIT_PAUSED,
    stop.ORPHANED: errors.EXIT_ORPHANED,
    stop.SUPERSEDED: errors.EXIT_SUPERSEDED,
}

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # models.py goes online for a Hub model alone
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # OpenMP's threads spin for milliseconds at each of a step's thousands of barriers, and on a machine that does
    # anything else beside they take the core that the awaited thread needs: eight times slower, measured. This is
    # some 20 microseconds: enough from one operation to the next.
    "GOMP_SPINCOUNT": "500",
}


@dataclass
class Run:
    """What a verb gets: its spec, and the ways to report and to be stopped."""

    spec: RunSpec
    events: EventWriter
    stop: StopRequest
    lease: Lease | None

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


def prepare_environment() -> None:
    """Settings that the libraries read when they are imported; what the caller has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def run(spec_path: Path) -> int:
    """Does what spec.json asks for and returns the process's exit code (docs/runner-protocol.md)."""
    prepare_environment()
    folder = spec_path.resolve().parent
    asked = StopRequest()
    stop.handle_signals(asked)
    try:
        (folder / RESULT).unlink(missing_ok=True)  # of an earlier launch: it must not be taken for this one's
        _reserve(folder)
        events = EventWriter(folder / EVENTS)
    except OSError as error:
        print(f"the run's folder {folder} cannot be used: {error}", file=sys.stderr)
        return EXIT_USAGE
    names, ending, code = {"run_id": "", "epoch": 0}, Ending(outcome="failed"), errors.EXIT_CODES["internal"]
    try:
        names = _names(spec_path)
        ending = _do(load(spec_path), events, asked)
        code = _OUTCOME_CODES[ending.outcome]
    except Stopped as stopped:
        ending, code = Ending(outcome=stopped.reason), _OUTCOME_CODES[stopped.reason]
    except BaseException as error:  # noqa: BLE001  (the result must say so, whatever it was)
        failure = errors.classify(error)
        ending = error.ending if isinstance(error, Failed) else Ending()
        code = failure.exit_code
        ending.outcome, ending.error = "failed", failure.to_json()
        print(failure.detail or failure.message, file=sys.stderr)
    _finish(folder, events, names, ending)
    return code


def _do(spec: RunSpec, events: EventWriter, asked: StopRequest) -> Ending:
    lease = Lease(Path(spec.lease_file), spec.epoch, spec.lease_seconds, asked) if spec.lease_file else None
    if lease is not None:
        lease.watch()
    job = Run(spec, events, asked, lease)
    if spec.verb == "train":
        from .train import train

        return train(job)
    if spec.verb == "evaluate":
        from .evaluate import evaluate

        return evaluate(job)
    from .export import export

    return export(job)


def _finish(folder: Path, events: EventWriter, names: dict[str, Any], ending: Ending) -> None:
    (folder / _RESERVE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a full disk must not cost the result
        if ending.outcome in (stop.PAUSED, stop.ORPHANED, stop.SUPERSEDED):
            events.emit("stopping", reason=ending.outcome)
            events.log(wording.stopped(ending.outcome, step=ending.step, checkpoint=ending.checkpoint))
        if ending.error is not None:
            events.log(wording.failed(ending.error["message"], ending.error.get("remedy", ""), step=ending.step))
        events.emit("finished", outcome=ending.outcome, step=ending.step)
        events.close()
    result = {"version": 1, **names, **{k: v for k, v in asdict(ending).items() if v not in ("", None, [])}}
    write_atomically(folder / RESULT, json.dumps(result, indent=1).encode())


def _names(spec_path: Path) -> dict[str, Any]:
    """The run's id and epoch, even of a spec that will be refused: its result must say whose it is."""
    try:
        raw = json.loads(spec_path.read_text(encoding="utf-8"))
        return {"run_id": str(raw.get("run_id", "")), "epoch": int(raw.get("epoch", 0))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {"run_id": "", "epoch": 0}


def _reserve(folder: Path) -> None:
    with (folder / _RESERVE).open("wb") as file:
        file.write(b"\0" * _RESERVE_BYTES)

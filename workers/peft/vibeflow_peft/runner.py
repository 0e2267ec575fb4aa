"""The life of one run: read the spec, do the verb, leave a result. Whatever happens in between, result.json is written.

The run's folder is the one that spec.json lies in: events.ndjson is appended to it, and result.json renamed into it as
the very last act.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import environment, errors, stop, wording
from .checkpoint import write_atomically
from .errors import EXIT_COMPLETED, EXIT_USAGE
from .events import EventWriter
from .lease import Lease
from .pulse import Pulse
from .run import Ending, Failed, Run
from .spec import RunSpec, load
from .stop import Stopped, StopRequest

EVENTS, RESULT, PULSE = "events.ndjson", "result.json", "pulse"

# Held so that a result can be written on a disk that the run has filled.
_RESERVE, _RESERVE_BYTES = ".reserve", 64 << 10

_OUTCOME_CODES = {
    "completed": EXIT_COMPLETED,
    stop.PAUSED: errors.EXIT_PAUSED,
    stop.ORPHANED: errors.EXIT_ORPHANED,
    stop.SUPERSEDED: errors.EXIT_SUPERSEDED,
}


def run(spec_path: Path) -> int:
    """Does what spec.json asks for and returns the process's exit code (docs/runner-protocol.md)."""
    environment.prepare()
    folder = spec_path.resolve().parent
    asked = StopRequest()
    stop.handle_signals(asked)
    try:
        for earlier in (RESULT, PULSE):  # of an earlier launch: it must not be taken for this one's
            (folder / earlier).unlink(missing_ok=True)
        _reserve(folder)
        events = EventWriter(folder / EVENTS)
    except OSError as error:
        print(f"the run's folder {folder} cannot be used: {error}", file=sys.stderr)
        return EXIT_USAGE
    names, ending, code = {"run_id": "", "epoch": 0}, Ending(outcome="failed"), errors.EXIT_CODES["internal"]
    try:
        names = _names(spec_path)
        ending = _do(load(spec_path), folder, events, asked)
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


def _do(spec: RunSpec, folder: Path, events: EventWriter, asked: StopRequest) -> Ending:
    lease = Lease(Path(spec.lease_file), spec.epoch, spec.lease_seconds, asked) if spec.lease_file else None
    if lease is not None:
        lease.watch()
    job = Run(spec, events, asked, lease, Pulse(folder / PULSE))
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

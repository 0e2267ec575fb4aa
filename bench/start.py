"""From a runner's start to its first step, cold and warm, split into import, data, model, proof and rehearsal.

    PYTHON bench/start.py [--data FILE] [--model SOURCE] [--length 128] [--batch 8] [--rounds 3] [--tiny]

PYTHON is the runner's interpreter (`vibeflow doctor` names it). Cold is `python -m vibeflow_peft run SPEC`, a process
from nothing; warm is a fork of the warm parent, asked over its socket as the worker asks. Both train one step of the
same spec, by default of the bundled model on the sample set. Rounds alternate after one run that imports the model and
fills the page cache, and medians are printed, with the ratio cold ÷ warm. Import, data and model are the runner's own
timings in its `started` event; what its clock cannot see before them (the interpreter's start, or the fork) and after
them (the proof of the loss, the fingerprint) is "rest". A fork's import is zero: the parent has paid it, once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from train_speed import PACKAGE, SAMPLE, canonical, write_spec

PARTS = ("import", "data", "model", "rest", "started", "rehearsal", "first step", "start to first step")
PATIENCE = 600  # seconds for one run, and for the warm parent's imports, on a busy machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SAMPLE)
    parser.add_argument("--model", default="bundled:smollm2-135m-instruct")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "vibeflow-bench-models")
    parser.add_argument("--tiny", action="store_true", help="the tiny model, one round")
    options = parser.parse_args()
    options.steps = 1
    if options.tiny:
        options.model, options.rounds = "tiny:llama", 1
    measured: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="vf-") as name:  # short: a Unix socket lies in it
        folder = Path(name)
        rows = canonical(options.data, folder)
        told("first", measure(write_spec(options, rows, folder / "first"), cold))
        with warm_parent(folder) as fork:
            for number in range(options.rounds):
                for side, launch in (("cold", cold), ("warm", fork)):
                    run = measure(write_spec(options, rows, folder / f"{side}-{number}"), launch)
                    measured[side].append(told(f"round {number + 1}: {side}", run))
    report(options, measured, load)


def report(options: argparse.Namespace, measured: dict[str, list[dict[str, float]]], load: float) -> None:
    """The medians, part by part."""
    print(f"start: {options.model}, median of {options.rounds}; {os.cpu_count()} cores, load {load:.2f}")
    print(f"{'seconds':<22}{'cold':>8}{'warm':>8}")
    medians = {side: {part: statistics.median(run[part] for run in runs) for part in PARTS}
               for side, runs in measured.items()}
    for part in PARTS:
        print(f"{part:<22}{medians['cold'][part]:>8.2f}{medians['warm'][part]:>8.2f}")
    print(f"ratio cold / warm: {medians['cold'][PARTS[-1]] / medians['warm'][PARTS[-1]]:.1f}")


def told(what: str, run: dict[str, float]) -> dict[str, float]:
    """Says on standard error that a run is over, and hands it on: all of them take minutes."""
    print(f"{what}: first step after {run['start to first step']:.1f} s, over after {run['whole']:.1f} s", file=sys.stderr)
    return run


def measure(spec: Path, launch: Callable[[Path], None]) -> dict[str, float]:
    """Seconds by part of one run, which is over when this returns."""
    began = time.time()
    launch(spec)
    whole = time.time() - began
    events = {}
    for line in (spec.parent / "events.ndjson").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        events.setdefault(event["type"], event)
    if "metrics" not in events:
        sys.exit(f"the run made no step: {(spec.parent / 'result.json').read_text(encoding='utf-8')}")
    started, rehearsed, stepped = (datetime.fromisoformat(events[kind]["at"]).timestamp() - began
                                   for kind in ("started", "preflight", "metrics"))
    timings = {name: events["started"]["timings"][f"{name}_s"] for name in ("import", "data", "model")}
    return {**timings, "rest": started - sum(timings.values()), "started": started, "rehearsal": rehearsed - started,
            "first step": stepped - rehearsed, "start to first step": stepped, "whole": whole}


def environment() -> dict[str, str]:
    """What the worker gives a runner."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(os.cpu_count())}


def cold(spec: Path) -> None:
    """Runs a spec in a process from nothing."""
    done = subprocess.run([sys.executable, "-m", "vibeflow_peft", "run", str(spec)], env=environment(),
                          capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        sys.exit(f"the runner failed ({done.returncode}):\n{done.stderr[-3000:]}")


@contextlib.contextmanager
def warm_parent(folder: Path) -> Iterator[Callable[[Path], None]]:
    """Gives a function that runs a spec in a fork of a warm parent."""
    path, log = folder / "warm.sock", folder / "warm.log"
    command = [sys.executable, "-m", "vibeflow_peft", "warm", "--socket", str(path), "--log", str(log),
               "--idle-seconds", str(2 * PATIENCE)]  # no worker asks after it while a cold run takes its time
    process = subprocess.Popen(command, env=environment(), start_new_session=True)
    try:
        until = time.monotonic() + PATIENCE
        while not path.exists():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the warm parent did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(0.05)
        yield lambda spec: fork(path, spec)
    finally:
        process.terminate()
        process.wait(timeout=30)


def fork(path: Path, spec: Path) -> None:
    """Has the warm parent fork a runner, and waits for its result."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        request = {"op": "launch", "args": ["run", str(spec)], "stderr": str(spec.parent / "stderr.log"), "env": {}}
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "pid" not in answer:
        sys.exit(f"the warm parent did not fork: {answer}")
    until = time.monotonic() + PATIENCE
    while alive(answer["pid"]) and time.monotonic() < until:  # it is no child of ours
        time.sleep(0.05)
    if alive(answer["pid"]):
        os.kill(answer["pid"], signal.SIGTERM)
        sys.exit(f"the runner was not done within {PATIENCE} s and was told to stop")
    if not (spec.parent / "result.json").exists():
        sys.exit(f"the runner left no result:\n{(spec.parent / 'stderr.log').read_text(encoding='utf-8')[-3000:]}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()

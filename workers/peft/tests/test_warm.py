"""The warm parent: what it forks is a cold run bit for bit, detached, and nobody else's business."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from harness import ENVIRONMENT, Factory, Launched, WarmParent

from vibeflow_peft import process
from vibeflow_peft import warm as warm_module
from vibeflow_peft.__main__ import main


def test_warm_is_cold(runs: Factory) -> None:
    options = {"training": {"precision": "bf16", "max_steps": 8, "lora": {"dropout": 0.1}}}
    forked = runs.launch(**options)
    spec = runs.write(**options)
    cold = subprocess.run(
        [sys.executable, "-m", "vibeflow_peft", "run", str(spec)], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert cold.returncode == 0, cold.stderr
    assert forked.result()["outcome"] == "completed"
    other = Launched(spec.parent, 0)
    assert forked.steps == other.steps
    assert forked.weights() == other.weights()
    assert forked.of("started")[0]["loss_path_reason"] == other.of("started")[0]["loss_path_reason"]
    assert forked.of("started")[0]["timings"]["import_s"] == 0


def test_a_runner_is_detached(runs: Factory, warm: WarmParent) -> None:
    run = runs.launch(training={"epochs": 3000.0}).reaches(1)
    fields = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) != warm.process.pid, "a child of somebody else"
    assert os.getsid(run.pid) != os.getsid(warm.process.pid)
    assert process.started(run.pid) == fields[19]
    sockets = [str(f.readlink()) for f in Path(f"/proc/{run.pid}/fd").iterdir() if f.is_symlink()]
    assert not [s for s in sockets if s.startswith("socket:")], "the parent's socket is closed"
    run.signal(signal.SIGTERM)
    assert run.result()["outcome"] == "paused"
    assert warm.ask(op="ping")["ok"] is True, "the parent did not mind the child's signal"


def test_it_says_who_it_is(warm: WarmParent) -> None:
    answer = warm.ask(op="ping")
    assert answer["ok"] is True and answer["pid"] == warm.process.pid and len(answer["lock"]) == 64
    assert warm.socket_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("request_body", [{"op": "dance"}, {}, {"op": "launch", "args": [7], "stderr": "/x"}])
def test_nonsense_is_refused(warm: WarmParent, request_body: dict) -> None:
    assert warm.ask(**request_body) == {"error": "bad_request"}


def test_many_lines_and_half_lines(warm: WarmParent) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(warm.socket_path))
        connection.sendall(b'{"op": "ping"}\n{"op": "pi')
        connection.sendall(b'ng"}\nnonsense\n')
        with connection.makefile("rb") as stream:
            answers = [stream.readline() for _ in range(3)]
    assert b'"ok": true' in answers[0] and b'"ok": true' in answers[1] and b"bad_request" in answers[2]


def test_no_fork_beside_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = warm_module._Server(tmp_path / "s", 1, main)
    monkeypatch.setattr(warm_module, "cuda_present", lambda: True)
    assert server._answer(b'{"op": "launch", "args": ["run", "/x"], "stderr": "/y"}') == {"error": "cuda"}
    server.leave()
    assert server.run() == 0
    assert not (tmp_path / "s").exists()


def test_it_leaves_when_nobody_asks(tmp_path: Path) -> None:
    assert warm_module._Server(tmp_path / "s", 0.05, main).run() == 0


def test_it_stays_for_what_it_has_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that comes back for a live runner finds it."""
    looked = threading.Semaphore(0)
    alive = process.alive

    def look(pid: int, start: str) -> bool:
        looked.release()
        return alive(pid, start)

    monkeypatch.setattr(process, "alive", look)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as runner:
        server = warm_module._Server(tmp_path / "s", 0.01, main)
        server._forked = [(runner.pid, process.started(runner.pid))]
        parent = threading.Thread(target=server.run)
        parent.start()
        for _ in range(3):
            assert looked.acquire(timeout=30), "unasked for too long, it looks whether anything lives"
        assert parent.is_alive()
        runner.stdin.close()  # cat ends, and is not reaped until this block does
        parent.join(timeout=30)
        assert not parent.is_alive()
    assert not (tmp_path / "s").exists()


def test_a_reused_pid_is_no_fork(tmp_path: Path) -> None:
    server = warm_module._Server(tmp_path / "s", 0, main)
    server._forked = [(os.getpid(), "another start"), (os.getpid(), "")]
    assert server.run() == 0


def test_a_killed_workers_parent_leaves_with_its_last_runner(runs: Factory) -> None:
    """The whole of it, in a process of its own: nobody asks any more, the runner goes on, and the parent follows it."""
    with tempfile.TemporaryDirectory(prefix="vf") as folder:
        parent = WarmParent(Path(folder) / "warm.sock", Path(folder) / "warm.log", idle_seconds=3).start().ready()
        run = Factory(runs.root / "own", runs.models, parent).launch(training={"epochs": 3000.0}).reaches(20)
        assert parent.process.poll() is None
        run.signal(signal.SIGTERM)
        assert run.result()["outcome"] == "paused"
        assert parent.process.wait(timeout=30) == 0
        assert not parent.socket_path.exists()


def test_one_parent_a_socket(warm: WarmParent, tmp_path: Path) -> None:
    with pytest.raises(warm_module.RunnerError, match="another warm parent"):
        warm_module._listen(warm.socket_path)
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    warm_module._listen(stale).close()

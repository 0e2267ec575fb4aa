"""Real runs for the tests: writes specs and data, launches runners through a warm parent, watches and ends them."""

from __future__ import annotations

import copy
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 120.0

# faults/sitecustomize.py makes a run fail as its faults.json says; without one it does nothing.
_PATHS = os.pathsep.join([str(PACKAGE / "tests" / "faults"), str(PACKAGE)])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _PATHS}

TRAINING: dict[str, Any] = {
    "method": "lora",
    "epochs": 3.0,
    "max_steps": 0,
    "learning_rate": 2e-3,
    "scheduler": "cosine",
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "batch_size": 4,
    "gradient_accumulation_steps": 1,
    "max_length": 128,
    "completion_only": True,
    "gradient_checkpointing": False,
    "precision": "fp32",
    "seed": 42,
    "lora": {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"},
    "checkpoint": {"every_steps": 5, "every_seconds": 0},
    "eval_every_steps": 0,
}


def rows(count: int, offset: int = 0) -> list[dict[str, Any]]:
    """Chats of different lengths."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is {i} plus {i % 7}?" + " Please." * (i % 3)},
                {"role": "assistant", "content": f"It is {i + i % 7}." + " Indeed." * (i % 5)},
            ]
        }
        for i in range(offset, offset + count)
    ]


def write_jsonl(path: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes rows and returns them as a spec's Input."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    content = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """base with changes laid over it, object by object."""
    result = copy.deepcopy(base)
    for name, value in changes.items():
        result[name] = merged(result[name], value) if isinstance(value, dict) and name in result else value
    return result


@dataclass
class Launched:
    """One launch of a run: its folder and process."""

    folder: Path
    pid: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """The whole lines of the event file, so far."""
        try:
            text = (self.folder / "events.ndjson").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    def log(self, level: str) -> list[str]:
        """What people read, of one level."""
        return [e["message"] for e in self.of("log") if e["level"] == level]

    @property
    def steps(self) -> dict[int, tuple[str, ...]]:
        """What every step must repeat exactly: loss, rate, norm and samples, by step."""
        return {
            e["step"]: (repr(e["loss"]), repr(e["learning_rate"]), repr(e["grad_norm"]), e["samples"])
            for e in self.of("metrics")
        }

    def reaches(self, step: int) -> Launched:
        """Waits for a step's metrics."""
        self._await(lambda: any(e["step"] >= step for e in self.of("metrics")), f"step {step}")
        return self

    def result(self) -> dict[str, Any]:
        """Waits for result.json."""
        path = self.folder / "result.json"
        self._await(path.exists, "a result")
        return json.loads(path.read_text(encoding="utf-8"))

    def signal(self, number: int) -> Launched:
        """Sends a signal."""
        os.kill(self.pid, number)
        return self

    def kill(self) -> None:
        """kill -9, and waits until the process is gone."""
        self.signal(signal.SIGKILL)
        self._wait(lambda: not self.alive)

    @property
    def alive(self) -> bool:
        """Whether the process runs (a zombie does not)."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    @property
    def checkpoints(self) -> list[str]:
        """Names of complete checkpoints, oldest first."""
        folder = Path(json.loads((self.folder / "spec.json").read_text())["checkpoints_dir"])
        return sorted(p.parent.name for p in folder.glob("step-*/manifest.json"))

    def artifact(self, kind: str = "adapter") -> Path:
        """The folder of an artifact."""
        return self.folder / "output" / kind

    def weights(self, kind: str = "adapter") -> str:
        """The digest of the trained weights."""
        name = "adapter_model.safetensors" if kind == "adapter" else "model.safetensors"
        return hashlib.sha256((self.artifact(kind) / name).read_bytes()).hexdigest()

    @property
    def stderr(self) -> str:
        """What the process wrote to stderr."""
        path = self.folder / "stderr.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _await(self, there: Callable[[], bool], what: str) -> None:
        if not self._wait(lambda: there() or not self.alive) or not there():
            raise AssertionError(f"no {what}; alive: {self.alive}; {self.events[-1:]}\n{self.stderr[-4000:]}")

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.002)
        return False


@dataclass
class WarmParent:
    """A warm parent of the tests, and what it is asked over its socket."""

    socket_path: Path
    log: Path
    idle_seconds: float = 300
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> WarmParent:
        """Starts it; `ready` waits for its imports."""
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vibeflow_peft",
                "warm",
                "--socket",
                str(self.socket_path),
                "--log",
                str(self.log),
                "--idle-seconds",
                str(self.idle_seconds),
            ],
            env=ENVIRONMENT,
        )
        return self

    def ready(self) -> WarmParent:
        """Waits until it answers."""
        deadline = time.monotonic() + 5 * LIMIT_SECONDS  # 17 s of CPU, on a machine that may be busy
        while not self.socket_path.exists():
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the warm parent does not come up"
            time.sleep(0.05)
        return self

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request, one answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket_path))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                return json.loads(stream.readline())

    def stop(self) -> None:
        """Asks it to exit and reaps it."""
        assert self.process is not None
        if self.process.poll() is None:
            self.ask(op="exit")
        self.process.wait(timeout=30)


@dataclass
class Factory:
    """Makes specs in a folder of the test and launches them."""

    root: Path
    models: Path
    warm: WarmParent
    count: int = 0

    def write(
        self,
        *,
        training: dict[str, Any] | None = None,
        train: list[dict[str, Any]] | None = None,
        held_out: list[dict[str, Any]] | None = None,
        faults: list[dict[str, Any]] | None = None,
        **top: Any,
    ) -> Path:
        """Writes spec.json of a new launch and returns its path."""
        self.count += 1
        folder = self.root / f"launch-{self.count}"
        folder.mkdir(parents=True)
        spec = {
            "version": 1,
            "verb": "train",
            "run_id": "job_test",
            "epoch": 1,
            "models_dir": str(self.models),
            "model": {"source": "tiny:llama"},
            "dataset": {
                "id": "ds_test",
                "format": "chat",
                "train": write_jsonl(folder / "train.jsonl", rows(48) if train is None else train),
                "eval": write_jsonl(folder / "eval.jsonl", held_out) if held_out else {},
            },
            "training": merged(TRAINING, training or {}),
            "checkpoints_dir": str(folder / "checkpoints"),
            "output_dir": str(folder / "output"),
            "resume_from": "",
            "lease_file": "",
            "lease_seconds": 600,
            "threads": 1,
            "device": "cpu",
        }
        (folder / "spec.json").write_text(json.dumps(merged(spec, top)), encoding="utf-8")
        if faults:
            (folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
        return folder / "spec.json"

    def launch(self, env: dict[str, str] | None = None, **options: Any) -> Launched:
        """Writes a spec and has the warm parent fork its runner."""
        return self.fork(self.write(**options), env)

    def fork(self, spec: Path, env: dict[str, str] | None = None) -> Launched:
        """Has the warm parent fork a runner for a spec."""
        stderr = str(spec.parent / "stderr.log")
        answer = self.warm.ask(op="launch", args=["run", str(spec)], stderr=stderr, env=env or {})
        assert answer.get("pid"), answer
        return Launched(spec.parent, answer["pid"])

    def resume(self, earlier: Launched, checkpoint: str = "", **options: Any) -> Launched:
        """Launches the same run again, from a checkpoint (by default the newest complete one)."""
        spec = json.loads((earlier.folder / "spec.json").read_text())
        folder = Path(spec["checkpoints_dir"]) / (checkpoint or earlier.checkpoints[-1])
        return self.launch(checkpoints_dir=spec["checkpoints_dir"], resume_from=str(folder), epoch=2, **options)


COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_right"


@dataclass
class Hub:
    """A Hugging Face Hub on loopback; asked are the paths that it was asked for.

    It has the model in a folder as "acme/tiny", refuses "acme/gated" and every token but TOKEN, is broken where
    "acme/broken" is asked for, and knows nothing else.
    """

    source: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)
    server: http.server.ThreadingHTTPServer | None = None

    def start(self) -> Hub:
        """Listens from here on."""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        """Goes away."""
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Its address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        source, asked = self.source, self.asked
        names = sorted(p.name for p in source.iterdir() if p.name != "vibeflow-model.json")

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                asked.append(path)
                prefix = f"/acme/tiny/resolve/{COMMIT}/"
                if self.headers.get("Authorization", f"Bearer {TOKEN}") != f"Bearer {TOKEN}":
                    self.send(b'{"error":"no"}', {"X-Error-Message": "User Access Token is expired"}, 401)
                elif path.startswith("/api/models/acme/tiny/tree/"):
                    self.send_json(
                        [{"type": "file", "path": n, "size": (source / n).stat().st_size, "oid": n} for n in names]
                    )
                elif path.startswith("/api/models/acme/tiny"):
                    self.send_json({"id": "acme/tiny", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]})
                elif path.startswith(prefix) and path.removeprefix(prefix) in names:
                    name = path.removeprefix(prefix)
                    self.send((source / name).read_bytes(), {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'})
                elif "gated" in path:
                    self.send(b'{"error":"gated"}', {"X-Error-Code": "GatedRepo"}, 403)
                elif "broken" in path:
                    self.send(b"oh", status=503)
                else:
                    self.send(b'{"error":"no"}', {"X-Error-Code": "RepoNotFound"}, 404)

            def send_json(self, value: Any) -> None:
                self.send(json.dumps(value).encode())

            def send(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return Handler

"""The warm parent: imports torch, transformers, trl and peft once, and forks a runner or an engine in milliseconds.

A fork copies one thread, so it is safe only while no library has started work of its own: this process computes
nothing, no tensor, no OpenMP pool, and it refuses to fork where a CUDA device is visible. The runners are detached
(double fork, own session): they outlive this process and whoever asked.

Protocol: a Unix socket of mode 0600; one JSON object a line each way (docs/runner-protocol.md).
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from . import environment, process
from .device import cuda_present, versions
from .errors import EXIT_CODES, RunnerError

_REQUEST_LIMIT = 1 << 20
_FORKED_VERBS = ("run", "serve")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE)


def serve_forks(path: Path, log: Path, idle_seconds: float, command: Callable[[list[str]], int]) -> int:
    """Listens until asked to exit, a SIGTERM, or nobody needs it any more. Returns the exit code.

    Its worker asks after it twice a minute. So idle_seconds without a request say that there is none; a worker that
    comes within them, or before all that was forked has ended, takes over.
    """
    _redirect(log)
    _warm_up()
    server = _Server(path, idle_seconds, command)
    signal.signal(signal.SIGTERM, lambda *_: server.leave())
    signal.signal(signal.SIGINT, lambda *_: server.leave())
    return server.run()


def _warm_up() -> None:
    # Libraries that start threads on import unless told not to; a run sets torch's own by its spec.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    environment.prepare()
    from . import train  # noqa: F401  (the import is the point)

    with contextlib.suppress(ImportError):
        from . import evaluate, export  # noqa: F401
    _import_lazy_parts()
    gc.collect()
    gc.freeze()  # the collector would write to every page that the children share


def _import_lazy_parts() -> None:
    """What the libraries import at first use, as far as it computes nothing."""
    import importlib

    for name in (
        "transformers.models.llama.modeling_llama",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.loss.loss_utils",
        "transformers.integrations.sdpa_attention",
        "peft.tuners.lora",
        "torch._dynamo",
        "safetensors.torch",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class _Server:
    def __init__(self, path: Path, idle_seconds: float, command: Callable[[list[str]], int]) -> None:
        self._path, self._idle, self._asked_at = path, idle_seconds, time.monotonic()
        self._command = command
        self._forked: list[tuple[int, str]] = []  # pid and start
        self._selector = selectors.DefaultSelector()
        self._listener = _listen(path)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pending: dict[socket.socket, bytes] = {}
        self._leaving = False
        self._lock = _lock_digest()

    def leave(self) -> None:
        """Ends the loop after the current request."""
        self._leaving = True

    def run(self) -> int:
        """The loop. One thread: requests are short."""
        try:
            while not self._leaving and self._needed():
                for key, _ in self._selector.select(timeout=min(self._idle, 1.0)):
                    self._asked_at = time.monotonic()
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._read(key.fileobj)  # type: ignore[arg-type]
        finally:
            self._listener.close()
            self._path.unlink(missing_ok=True)
        return 0

    def _needed(self) -> bool:
        """Whether a worker asked lately, or may still come for what was forked here."""
        if time.monotonic() - self._asked_at < self._idle:
            return True
        self._forked = [(pid, start) for pid, start in self._forked if process.alive(pid, start)]
        return bool(self._forked)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        self._pending[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(64 << 10)
        except OSError:
            chunk = b""
        self._pending[connection] += chunk
        while b"\n" in self._pending[connection]:
            line, _, self._pending[connection] = self._pending[connection].partition(b"\n")
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        if not chunk or len(self._pending[connection]) > _REQUEST_LIMIT:
            self._selector.unregister(connection)
            del self._pending[connection]
            connection.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            operation = {"ping": self._ping, "launch": self._launch, "exit": self._exit}[request["op"]]
        except (ValueError, KeyError, TypeError):
            return {"error": "bad_request"}
        try:
            return operation(request)
        except (OSError, KeyError, TypeError, ValueError) as error:
            return {"error": "launch_failed", "message": str(error)}

    def _ping(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "lock": self._lock, "pid": os.getpid(), "pid_start": process.started(os.getpid())}

    def _exit(self, _: dict[str, Any]) -> dict[str, Any]:
        self._leaving = True
        return {"ok": True}

    def _launch(self, request: dict[str, Any]) -> dict[str, Any]:
        arguments, stderr, environment = request["args"], request["stderr"], request.get("env") or {}
        if not all(isinstance(v, str) for v in (*arguments, stderr, *environment, *environment.values())):
            return {"error": "bad_request"}
        if not arguments or arguments[0] not in _FORKED_VERBS:
            return {"error": "bad_request", "message": f"only {' and '.join(_FORKED_VERBS)} are forked"}
        if cuda_present():
            return {"error": "cuda"}
        if _threads() > 1:
            return {"error": "threads", "message": f"{_threads()} threads run here, so a fork is not safe"}
        pid = _fork_detached(lambda: self._child(arguments, stderr, environment))
        start = process.started(pid)
        self._forked = [*(fork for fork in self._forked if process.alive(*fork)), (pid, start)]
        return {"pid": pid, "pid_start": start}

    def _child(self, arguments: list[str], stderr: str, environment: dict[str, str]) -> int:
        self._selector.close()
        self._listener.close()
        for connection in self._pending:
            connection.close()
        _redirect(Path(stderr))
        os.environ.update(environment)
        from . import train

        train.IMPORT_SECONDS = 0.0  # paid by the parent
        return self._command(arguments)


def _fork_detached(body: Callable[[], int]) -> int:
    """Runs body in a process of its own session, a child of init. Returns its pid."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(reader)
        os.setsid()
        child = os.fork()
        if child == 0:
            os.close(writer)
            _become(body)
        os.write(writer, str(child).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(middle, 0)
    if not answer:
        raise OSError("the system could not fork another process")
    return int(answer)


def _become(body: Callable[[], int]) -> NoReturn:
    """The child's whole life. os._exit, so that nothing the parent registered for its own end runs here."""
    code = EXIT_CODES["internal"]
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        code = body()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else code
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _clear_stale(path)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise RunnerError(
            "in_use",
            f"the socket {path} cannot be made: {error}",
            remedy="choose another path (Unix sockets are limited to about 100 characters)",
        ) from error
    finally:
        os.umask(before)
    listener.listen(16)
    return listener


def _clear_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            return  # binding will say what is wrong
    raise RunnerError("in_use", f"another warm parent listens on {path}", remedy="use it, or ask it to exit")


def _redirect(log: Path) -> None:
    """stdin from nowhere, stdout and stderr appended to a file of mode 0600."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nowhere, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nowhere)
    os.close(output)


def _threads() -> int:
    """This process's threads, native ones included where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208
    except OSError:
        return threading.active_count()


def _lock_digest() -> str:
    """Names what was imported, so that a supervisor can tell a warm parent of another build."""
    return hashlib.sha256(json.dumps(versions(), sort_keys=True).encode()).hexdigest()

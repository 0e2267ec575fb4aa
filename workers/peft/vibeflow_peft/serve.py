"""The verb `serve`: an HTTP engine for one base model and its adapters, with OpenAI's chat completions.

    GET    /healthz               no authentication, no model work
    GET    /v1/models             the base model ("base") and the tuned ones
    POST   /v1/chat/completions   streaming and not
    GET    /adapters              what is loaded, on what
    POST   /adapters              {"id", "path", "method": "lora"|"full"}: load, check parity, serve
    DELETE /adapters/{id}

All but /healthz need `Authorization: Bearer <token file's content>`. Errors are OpenAI's envelope; those of the runner
carry their code and remedy. It keeps OpenAI's defaults: temperature 1, top_p 1.

Once it answers it writes the ready file, atomically: {"port", "pid", "pid_start", "token_sha", "device", "dtype"}; a
start that fails writes {"error": contract.Error} instead. It leaves on SIGTERM, and when nobody has renewed the lease
file for --lease-seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from . import environment, process
from .errors import RunnerError, classify

_BODY_LIMIT = 8 << 20  # bytes of a request
_QUEUE_LIMIT = 32  # requests that wait
_GRACE_SECONDS = 5  # for answers under way when the engine leaves
_ADAPTER_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}")
_NEWEST_EPOCH = 1 << 62  # an engine has no epochs: no lease is newer

# Statuses of the runner's codes; any other is the server's own fault.
_STATUS = {
    "conflict": 409,
    "invalid": 400,
    "invalid_config": 400,
    "bad_data": 422,
    "parity_failed": 422,
    "model_unavailable": 422,
    "unsupported": 422,
    "out_of_memory": 507,
}


def main(argv: list[str]) -> int:
    """Serves until told to leave. Raises RunnerError if it cannot start ("in_use", "model_unavailable", …)."""
    options = _parser().parse_args(argv)
    try:
        return _serve(options)
    except Exception as error:
        failure = classify(error)
        _write_ready(options.ready_file, {"error": failure.to_json()})
        raise failure from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vibeflow_peft serve", description="Serves a base model and its adapters.")
    parser.add_argument("--model", required=True, help='model source, such as "bundled:smollm2-135m-instruct"')
    parser.add_argument("--revision", default="", help="Hub commit")
    parser.add_argument("--model-path", default="", help="folder that holds the files of an upload")
    parser.add_argument("--models-dir", type=Path, required=True, help="where models are kept")
    parser.add_argument("--adapters-dir", type=Path, help="refuse adapters outside of this folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, told in the ready file")
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True, help="mode 0600; holds the bearer token")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--lease-file", type=Path)
    parser.add_argument("--lease-seconds", type=float, default=600)
    return parser


def _serve(options: argparse.Namespace) -> int:
    environment.prepare()
    # Read by OpenMP when torch is loaded. Spinning threads that wait for one without a core make decoding beside a
    # training run 25 times slower (measured: 0.3 instead of 8 tokens/s at three times more work than cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    token = options.token_file.read_text(encoding="utf-8").strip()
    if len(token) < 16:
        raise RunnerError(
            "invalid_config",
            "the token file holds fewer than 16 characters",
            field="token-file",
            remedy="write a long random token into it",
        )
    listener = _listen(options.host, options.port)  # first: a taken port should not cost the load of a model
    import torch

    from . import device as devices
    from .engine import Engine
    from .models import resolve
    from .spec import ModelRef

    torch.set_num_threads(options.threads or devices.cores())
    resolved = resolve(ModelRef(options.model, options.revision, path=options.model_path), options.models_dir)
    engine = Engine.load(resolved, devices.choose_device(options.device), options.dtype)
    service = Service(engine, token, options.adapters_dir)
    _run(service, listener, options, token)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise RunnerError(
            "in_use",
            f"cannot listen on {host}:{port}: {error.strerror}",
            field="port",
            remedy="choose another port, or 0 for any free one",
        ) from error


def _run(service: Service, listener: socket.socket, options: argparse.Namespace, token: str) -> None:
    import uvicorn

    config = uvicorn.Config(
        service.app(),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    if options.lease_file:
        _leave_when_orphaned(server, options.lease_file, options.lease_seconds)
    facts = {
        "port": listener.getsockname()[1],
        "pid": os.getpid(),
        "pid_start": process.started(os.getpid()),
        "token_sha": hashlib.sha256(token.encode()).hexdigest(),
        "device": service.engine.device.kind,
        "dtype": str(service.engine.dtype).removeprefix("torch."),
    }

    # uvicorn raises the signal again once it has shut down; leaving when told to is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)

    async def serve() -> None:
        answering = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not answering.done():
            await asyncio.sleep(0.01)
        if server.started:
            _write_ready(options.ready_file, facts)
        await answering

    asyncio.run(serve())


def _write_ready(path: Path, facts: dict[str, Any]) -> None:
    from .checkpoint import write_atomically

    write_atomically(path, json.dumps(facts).encode())


def _leave_when_orphaned(server: Any, lease_file: Path, seconds: float) -> None:
    from .lease import Lease
    from .stop import StopRequest

    stop = StopRequest()
    lease = Lease(lease_file, _NEWEST_EPOCH, seconds, stop)

    def watch() -> None:
        while stop.reason is None:
            lease.check()
            time.sleep(max(0.05, min(5.0, seconds / 10)))
        server.should_exit = True

    threading.Thread(target=watch, name="lease", daemon=True).start()


@dataclass
class Service:
    """The engine behind HTTP. Handlers run on the event loop and give the model's work to the lane."""

    engine: Any
    token: str
    adapters_dir: Path | None = None

    def __post_init__(self) -> None:
        from .lane import Lane

        self._lane = Lane(_QUEUE_LIMIT)
        self._started = int(time.time())

    def app(self) -> Any:
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        guarded = partial(_guarded, self.token)
        return Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/v1/models", guarded(self._models)),
                Route("/v1/chat/completions", guarded(self._chat), methods=["POST"]),
                Route("/adapters", guarded(self._adapters)),
                Route("/adapters", guarded(self._add), methods=["POST"]),
                Route("/adapters/{id}", guarded(self._remove), methods=["DELETE"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
        )

    async def _health(self, _: Any) -> Any:
        return _json({"status": "ok"})

    async def _models(self, _: Any) -> Any:
        return _json(
            {
                "object": "list",
                "data": [
                    {"id": model, "object": "model", "created": self._started, "owned_by": "vibeflow"}
                    for model in self.engine.models
                ],
            }
        )

    async def _adapters(self, _: Any) -> Any:
        engine = self.engine
        return _json(
            {
                "model": engine.resolved.source,
                "revision": engine.resolved.revision,
                "device": engine.device.kind,
                "dtype": str(engine.dtype).removeprefix("torch."),
                "adapters": engine.models[1:],
                "waiting": self._lane.waiting,
            }
        )

    async def _add(self, request: Any) -> Any:
        body = await _body(request)
        values = [body.get(name) if isinstance(body, dict) else None for name in ("id", "path", "method")]
        if not all(isinstance(value, str) for value in values):
            raise RunnerError(
                "invalid", 'the body must have the texts "id", "path" and "method"', remedy="send all three"
            )
        model, path, method = values
        if not _ADAPTER_ID.fullmatch(model) or model == "base":
            raise RunnerError(
                "invalid",
                "the id is not one that a model can have",
                field="id",
                remedy='use up to 128 letters, digits and "._:-", and not "base"',
            )
        if method not in ("lora", "full"):
            raise RunnerError("invalid", 'the method must be "lora" or "full"', field="method", remedy="send either")
        added = await self._on_lane(model, partial(self.engine.add, model, self._folder(path), method))
        return _json({"id": model, "added": added}, 201 if added else 200)

    def _folder(self, given: str) -> Path:
        path = Path(given)
        real = path.resolve()
        if not path.is_absolute() or not real.is_dir():
            raise RunnerError(
                "invalid",
                f"{given!r} is not the absolute path of a folder",
                field="path",
                remedy="fetch the model's files there first",
            )
        if self.adapters_dir is not None and not real.is_relative_to(self.adapters_dir.resolve()):
            raise RunnerError(
                "invalid",
                f"{given!r} lies outside of {self.adapters_dir}",
                field="path",
                remedy="put the files into that folder",
            )
        return real

    async def _remove(self, request: Any) -> Any:
        model = request.path_params["id"]
        if model not in self.engine.models[1:]:
            raise _no_model(model)
        await self._on_lane(model, partial(self.engine.remove, model))
        return _json({"id": model, "deleted": True})

    def _on_lane(self, key: str, call: Callable[[], Any]) -> Awaitable[Any]:
        return asyncio.wrap_future(self._lane.submit(key, call, unlimited=True))

    async def _chat(self, request: Any) -> Any:
        from . import chat_request

        asked = chat_request.parse(await _body(request))
        if asked.model not in self.engine.models:
            raise _no_model(asked.model)
        # Rendering and counting take a millisecond; on the loop, so that a bad request is refused without a wait.
        prompt = _prompt(self.engine.tokenizer_of(asked.model), asked)
        sampling = asked.sampling(len(prompt), self.engine.resolved.max_positions)
        generation = _Generation(self, asked, prompt, sampling)
        return await (generation.stream() if asked.stream else generation.whole(request))


@dataclass
class _Generation:
    """One answer on its way from the lane to a client."""

    service: Service
    asked: Any  # ChatRequest
    prompt: list[int]
    sampling: Any  # Sampling

    def __post_init__(self) -> None:
        self._unwanted = threading.Event()
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def _submit(self, emit: Callable[[str], None]) -> Future:
        """Queues the work; RequestError 429 if too many wait."""
        from .chat_request import RequestError
        from .lane import LaneFull

        call = partial(
            self.service.engine.generate, self.asked.model, self.prompt, self.sampling, emit, self._unwanted.is_set
        )
        try:
            return self.service._lane.submit(self.asked.model, call)
        except LaneFull:
            raise RequestError(
                429, "Too many requests are waiting for this model.", code="queue_full", kind="rate_limit_error"
            ) from None

    def _abandon(self, work: Future) -> None:
        """Nobody listens any more: takes the work out of the queue, or ends it at its next token."""
        self._unwanted.set()
        work.cancel()

    async def whole(self, request: Any) -> Any:
        """The answer as one object; given up when the client goes away."""
        work = self._submit(lambda _: None)
        done = asyncio.ensure_future(asyncio.wrap_future(work))
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                done.add_done_callback(lambda f: f.cancelled() or f.exception())  # its end is of no interest now
                return _json({}, 499)
            answer = done.result()
        except KeyError:
            raise _no_model(self.asked.model) from None  # removed while this waited
        finally:
            gone.cancel()
            self._abandon(work)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
        return _json({**self._head("chat.completion"), "choices": [choice], "usage": self._usage(answer.tokens)})

    async def stream(self) -> Any:
        """The answer as server-sent events, one piece of text at a time."""
        from starlette.responses import StreamingResponse

        loop, pieces = asyncio.get_running_loop(), asyncio.Queue()

        def tell(piece: str | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the engine is leaving
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        work = self._submit(lambda piece: tell(piece) if piece else None)  # before the status line: it may be 429
        work.add_done_callback(lambda _: tell(None))
        return StreamingResponse(
            self._events(work, pieces),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _events(self, work: Future, pieces: asyncio.Queue) -> AsyncIterator[str]:
        try:
            sent = 0
            yield self._chunk({"role": "assistant", "content": "", "refusal": None}, sent)
            while (piece := await pieces.get()) is not None:
                sent += 1
                yield self._chunk({"content": piece}, sent)
            try:
                answer = work.result()
            except Exception as error:  # noqa: BLE001  (the status line is long gone: the stream must tell)
                yield _event(_envelope(classify(error)))
                return
            yield self._chunk({}, answer.tokens, finish=answer.finish)
            if self.asked.include_usage:
                usage = self._usage(answer.tokens)
                yield _event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})
            yield "data: [DONE]\n\n"
        finally:
            self._abandon(work)

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.asked.model,
            "system_fingerprint": f"vf-{self.service.engine.resolved.sha256[:12]}",
        }

    def _chunk(self, delta: dict[str, Any], tokens: int, *, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        so_far = self._usage(tokens) if self.asked.continuous_usage else None
        usage = {"usage": so_far} if self.asked.include_usage else {}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice], **usage})

    def _usage(self, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": tokens,
            "total_tokens": len(self.prompt) + tokens,
        }


def _prompt(tokenizer: Any, asked: Any) -> list[int]:
    from .chat_request import RequestError
    from .tokenizer import TemplateError

    try:
        text = tokenizer.render(asked.messages, add_generation_prompt=True)
    except TemplateError as error:
        raise RequestError(
            400, f"The model's chat template refuses these messages: {error}", param="messages", code="invalid_value"
        ) from error
    return tokenizer.encode(text, add_special_tokens=False)


async def _disconnected(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Any) -> Any:
    from .chat_request import RequestError

    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _BODY_LIMIT:
            raise RequestError(413, f"The body is larger than {_BODY_LIMIT >> 20} MiB.", code="too_large")
    try:
        return json.loads(content)
    except ValueError:
        raise RequestError(400, "The body is not valid JSON.", code="invalid_json") from None


def _guarded(token: str, handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """handler for callers that know the token; its refusals and failures as OpenAI's envelope."""
    from .chat_request import RequestError

    expected = f"Bearer {token}".encode()

    async def guarded(request: Any) -> Any:
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, expected):
            body = {
                "message": "The bearer token is missing or wrong.",
                "type": "authentication_error",
                "param": None,
                "code": "invalid_api_key",
            }
            return _json({"error": body}, 401, {"www-authenticate": "Bearer"})
        try:
            return await handler(request)
        except RequestError as refusal:
            return _json(refusal.body, refusal.status, {"retry-after": "1"} if refusal.status == 429 else None)
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets the envelope)
            failure = classify(error)
            if failure.code not in _STATUS:
                print(failure.detail or failure.message, flush=True)
            return _json(_envelope(failure), _STATUS.get(failure.code, 500))

    return guarded


def _no_model(model: str) -> Exception:
    from .chat_request import RequestError

    return RequestError(404, f"There is no model {model[:200]!r} here.", param="model", code="model_not_found")


async def _not_found(request: Any, error: Any) -> Any:
    status = HTTPStatus(error.status_code)
    return _json(
        {
            "error": {
                "message": f"{request.method} {request.url.path}: {status.phrase}",
                "type": "invalid_request_error",
                "param": None,
                "code": "not_found",
            }
        },
        status.value,
    )


def _envelope(failure: RunnerError) -> dict[str, Any]:
    known = failure.code in _STATUS
    return {
        "error": {
            "message": failure.message if known else "The engine failed; its log says why.",
            "type": "invalid_request_error" if known else "server_error",
            "param": failure.field or None,
            "code": failure.code,
            "remedy": failure.remedy if known else "",
            "detail": failure.detail if known else "",
        }
    }


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers)

"""Serving, over real HTTP with a real engine process: OpenAI's contract, adapters behind a parity gate, limits."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness import ENVIRONMENT
from safetensors.torch import load_file, save_file
from tuned import rows, train_adapter, write_rows

from vibeflow_peft import chat_request, serve
from vibeflow_peft.chat_request import RequestError
from vibeflow_peft.engine import Sampling, _Text
from vibeflow_peft.lane import Lane, LaneFull
from vibeflow_peft.models import load_chat_tokenizer, resolve

TOKEN = "a-token-of-the-test-0123456789"
HELLO = [{"role": "user", "content": "What is 3 plus 3?"}]


@dataclass
class Served:
    """A running engine and how to talk to it."""

    process: subprocess.Popen
    port: int
    facts: dict[str, Any]
    folder: Path

    def open(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, {"Authorization": f"Bearer {token}"} if token is not None else {})
        return connection.getresponse()

    def call(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
        with self.open(method, path, body, token) as response:
            return response.status, json.loads(response.read())

    def chat(self, **body: Any) -> tuple[int, Any]:
        return self.call("POST", "/v1/chat/completions", {"model": "base", "messages": HELLO, "max_tokens": 8, **body})

    def events(self, **body: Any) -> list[str]:
        """The data of a stream's events."""
        asked = {"model": "base", "messages": HELLO, "max_tokens": 8, "stream": True, **body}
        with self.open("POST", "/v1/chat/completions", asked) as response:
            assert response.status == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            return [event.removeprefix("data: ") for event in response.read().decode().split("\n\n") if event]


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)
    return found


def launch(folder: Path, models: Path, *more: str) -> tuple[subprocess.Popen, Path]:
    (folder / "token").write_text(TOKEN + "\n")
    ready = folder / "ready.json"
    command = [
        sys.executable,
        "-m",
        "vibeflow_peft",
        "serve",
        "--model",
        "tiny:llama",
        "--models-dir",
        str(models),
        "--ready-file",
        str(ready),
        "--token-file",
        str(folder / "token"),
        "--dtype",
        "float32",
        "--threads",
        "1",
        *more,
    ]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True), ready


@pytest.fixture(scope="module")
def engine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("engine")
    resolve("tiny:llama", models)
    process, ready = launch(folder, models, "--adapters-dir", str(folder))
    until(lambda: ready.exists() or process.poll() is not None)
    assert ready.exists(), (folder / "log").read_text()
    facts = json.loads(ready.read_text())
    yield Served(process, facts["port"], facts, folder)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.fixture(scope="module")
def adapter(engine: Served, models: Path) -> Path:
    data = write_rows(engine.folder / "train.jsonl", rows(64))
    return train_adapter(resolve("tiny:llama", models), engine.folder / "adapter", data)


def test_the_ready_file_says_who_answers_where(engine: Served) -> None:
    assert engine.facts["pid"] == engine.process.pid
    assert engine.facts["pid_start"]
    assert engine.facts["token_sha"] == hashlib.sha256(TOKEN.encode()).hexdigest()
    assert engine.call("GET", "/healthz", token=None) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/adapters"),
        ("POST", "/adapters"),
        ("DELETE", "/adapters/x"),
    ],
)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x"])
def test_nothing_is_said_to_strangers(engine: Served, method: str, path: str, token: str | None) -> None:
    status, body = engine.call(method, path, {}, token)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


def test_a_chat_is_answered_in_openais_shape(engine: Served) -> None:
    status, body = engine.chat(temperature=0)
    assert status == 200, body
    assert (body["object"], body["model"]) == ("chat.completion", "base")
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert set(choice) == {"index", "message", "logprobs", "finish_reason"}
    assert choice["finish_reason"] in ("stop", "length")
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 1 <= usage["completion_tokens"] <= 8


def test_a_stream_says_the_same_in_pieces(engine: Served) -> None:
    whole = engine.chat(temperature=0, max_tokens=24)[1]
    *events, end = engine.events(temperature=0, max_tokens=24, stream_options={"include_usage": True})
    chunks = [json.loads(event) for event in events]
    assert end == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    first, *middle, finish, usage = chunks
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(c["choices"][0]["delta"]["content"] for c in middle) == whole["choices"][0]["message"]["content"]
    assert finish["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": whole["choices"][0]["finish_reason"],
    }
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_a_stream_counts_as_it_goes(engine: Served) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *events, _ = engine.events(temperature=0, max_tokens=24, stream_options=options)
    told = [json.loads(event)["usage"] for event in events]
    assert told[0]["prompt_tokens"] == told[-1]["prompt_tokens"] > 0
    so_far = [usage["completion_tokens"] for usage in told]
    assert so_far[0] == 0
    assert so_far == sorted(so_far)


def test_a_seed_repeats_an_answer(engine: Served) -> None:
    def answer(**options: Any) -> str:
        return engine.chat(max_tokens=24, **options)[1]["choices"][0]["message"]["content"]

    assert answer(seed=5, top_p=0.9) == answer(seed=5, top_p=0.9)
    assert len({answer(seed=seed) for seed in range(4)}) > 1
    assert answer(seed=1, top_p=1e-9) == answer(temperature=0), "the likeliest token is always within top_p"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nobody"}, 404, "model_not_found"),
        ({"messages": []}, 400, "invalid_value"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "invalid_value"),
        ({"n": 2}, 400, "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
        ({"logprobs": True}, 400, "unsupported_parameter"),
        ({"temprature": 1}, 400, "unknown_parameter"),
        ({"temperature": 3}, 400, "invalid_value"),
        ({"max_tokens": 0}, 400, "invalid_value"),
        ({"max_tokens": 4000}, 400, "context_length_exceeded"),
        ({"stop": ["a"] * 5}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": "x " * 4000}]}, 400, "context_length_exceeded"),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value"),
    ],
)
def test_requests_that_cannot_be_are_refused_by_name(engine: Served, body: dict, status: int, code: str) -> None:
    found, answer = engine.chat(**body)
    assert (found, answer["error"]["code"]) == (status, code), answer
    assert set(answer["error"]) >= {"message", "type", "param", "code"}


def test_broken_and_oversized_bodies_are_refused(engine: Served) -> None:
    assert engine.call("POST", "/v1/chat/completions", b"{")[0] == 400
    assert engine.call("POST", "/adapters", {"id": "x"})[0] == 400
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up before all is sent
        assert engine.call("POST", "/v1/chat/completions", b" " * (9 << 20))[0] == 413
    assert engine.call("GET", "/nowhere")[1]["error"]["code"] == "not_found"


def test_an_adapter_comes_answers_and_goes(engine: Served, adapter: Path) -> None:
    base = engine.chat(temperature=0, max_tokens=16)[1]["choices"][0]["message"]["content"]
    assert engine.call("POST", "/adapters", {"id": "ft:v1.0", "path": str(adapter), "method": "lora"})[0] == 201
    assert engine.call("POST", "/adapters", {"id": "ft:v1.0", "path": str(adapter), "method": "lora"})[0] == 200
    assert [m["id"] for m in engine.call("GET", "/v1/models")[1]["data"]] == ["base", "ft:v1.0"]
    tuned = engine.chat(model="ft:v1.0", temperature=0, max_tokens=16)[1]["choices"][0]["message"]["content"]
    assert tuned.startswith("It is"), "the adapter is not what answers"
    assert engine.chat(temperature=0, max_tokens=16)[1]["choices"][0]["message"]["content"] == base
    assert engine.call("DELETE", "/adapters/ft:v1.0")[0] == 200
    assert engine.call("DELETE", "/adapters/ft:v1.0")[1]["error"]["code"] == "model_not_found"
    assert engine.chat(model="ft:v1.0")[0] == 404
    assert engine.chat(temperature=0, max_tokens=16)[1]["choices"][0]["message"]["content"] == base


def test_stop_texts_end_an_answer_and_are_not_in_it(engine: Served, adapter: Path) -> None:
    engine.call("POST", "/adapters", {"id": "stops", "path": str(adapter), "method": "lora"})
    body = {"model": "stops", "temperature": 0, "max_tokens": 40}
    whole = engine.chat(**body)[1]["choices"][0]["message"]["content"]
    assert " of" in whole
    stopped = engine.chat(**body, stop=[" of", "never"])[1]["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == (whole.partition(" of")[0], "stop")
    streamed = [json.loads(e)["choices"][0]["delta"].get("content", "") for e in engine.events(**body, stop=" of")[:-1]]
    assert "".join(streamed) == whole.partition(" of")[0]
    engine.call("DELETE", "/adapters/stops")


def test_two_adapters_and_a_whole_model_share_an_engine(engine: Served, adapter: Path, models: Path) -> None:
    from vibeflow_peft.adapters import load_adapter
    from vibeflow_peft.models import load_model, load_tokenizer

    base = resolve("tiny:llama", models)
    whole = engine.folder / "whole"
    load_adapter(load_model(base), adapter).merge_and_unload().save_pretrained(whole)
    load_tokenizer(base).save_pretrained(whole)
    shutil.copy(adapter / "parity.json", whole)
    second = shutil.copytree(adapter, engine.folder / "second")
    for name, path, method in (("one", adapter, "lora"), ("two", second, "lora"), ("full", whole, "full")):
        status, body = engine.call("POST", "/adapters", {"id": name, "path": str(path), "method": method})
        assert status == 201, body
    answers = {
        engine.chat(model=m, temperature=0, max_tokens=16)[1]["choices"][0]["message"]["content"]
        for m in ("one", "two", "full")
    }
    assert len(answers) == 1
    for name in ("one", "two", "full"):
        assert engine.call("DELETE", f"/adapters/{name}")[0] == 200
    assert engine.call("GET", "/adapters")[1]["adapters"] == []


@pytest.mark.parametrize(
    ("harm", "code"), [("weights", "parity_failed"), ("record", "bad_data"), ("pickle", "bad_data")]
)
def test_a_tampered_adapter_is_not_served(engine: Served, adapter: Path, harm: str, code: str) -> None:
    folder = shutil.copytree(adapter, engine.folder / f"tampered-{harm}")
    weights = folder / "adapter_model.safetensors"
    if harm == "weights":
        save_file({name: tensor * 0.5 for name, tensor in load_file(weights).items()}, weights)
    elif harm == "record":
        (folder / "parity.json").write_text("{}")
    else:
        weights.rename(folder / "adapter_model.bin")
    before = engine.chat(temperature=0)[1]["choices"]
    status, body = engine.call("POST", "/adapters", {"id": "bad", "path": str(folder), "method": "lora"})
    assert (status, body["error"]["code"]) == (422, code), body
    assert engine.call("GET", "/adapters")[1]["adapters"] == []
    assert engine.chat(temperature=0)[1]["choices"] == before


@pytest.mark.parametrize(
    "body",
    [
        {"id": "base", "method": "lora"},
        {"id": "../x", "method": "lora"},
        {"id": "x", "method": "qlora"},
        {"id": "x", "method": "lora", "path": "relative"},
        {"id": "x", "method": "lora", "path": "/"},
        {"id": "x", "method": "lora", "path": "/nowhere"},
    ],
)
def test_adapters_come_only_from_their_folder(engine: Served, adapter: Path, body: dict) -> None:
    status, answer = engine.call("POST", "/adapters", {"path": str(adapter), **body})
    assert (status, answer["error"]["code"]) == (400, "invalid"), answer


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(engine: Served, stream: bool) -> None:
    # An answer that would take the rest of the context; "stop" never comes true, as the tiny model writes noise.
    body = {
        "model": "base",
        "messages": HELLO,
        "max_tokens": 1900,
        "temperature": 2,
        "seed": 3,
        "stream": stream,
        "stop": "never to be written",
    }
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {TOKEN}"})
    if stream:
        connection.getresponse().read(400)
    else:
        time.sleep(0.2)  # nothing can be seen of an answer that is not told yet
    connection.sock.close()
    connection.close()
    started = time.monotonic()
    assert engine.chat(max_tokens=1, temperature=0)[0] == 200
    assert time.monotonic() - started < 5


def test_an_engine_that_cannot_start_says_why(tmp_path: Path, models: Path, engine: Served) -> None:
    process, ready = launch(tmp_path, models, "--port", str(engine.port))
    assert process.wait(90) != 0
    assert json.loads(ready.read_text())["error"]["code"] == "in_use"


def test_an_engine_without_an_owner_leaves(tmp_path: Path) -> None:
    lease, server = tmp_path / "lease.json", SimpleNamespace(should_exit=False)
    lease.write_text("{}")
    serve._leave_when_orphaned(server, lease, 1.0)
    renewed_until = time.monotonic() + 1.5
    while time.monotonic() < renewed_until:
        os.utime(lease)
        assert not server.should_exit, "it left although its lease was renewed"
        time.sleep(0.05)
    until(lambda: server.should_exit, 10)


def test_the_lane_takes_turns_and_has_an_end() -> None:
    lane, order, gate, entered = Lane(3), [], threading.Event(), threading.Event()
    lane.submit("busy", lambda: (entered.set(), gate.wait(10)))
    assert entered.wait(10)
    futures = [lane.submit(key, lambda key=key: order.append(key)) for key in ("a", "a", "b")]
    with pytest.raises(LaneFull):
        lane.submit("a", lambda: None)
    last = lane.submit("b", lambda: order.append("cancelled"), unlimited=True)
    assert last.cancel()
    gate.set()
    for future in futures:
        future.result(10)
    assert order == ["a", "b", "a"]
    assert lane.submit("a", lambda: 1 / 1).result(10) == 1
    with pytest.raises(ZeroDivisionError):
        lane.submit("a", lambda: 1 / 0).result(10)


@pytest.mark.parametrize("stops", [(), ("🤖",), ("et",), ("x", "caf")])
def test_text_comes_in_whole_characters_and_ends_before_a_stop(models: Path, stops: tuple[str, ...]) -> None:
    tokenizer = load_chat_tokenizer(resolve("tiny:llama", models))
    for text in ("un café et 東京 🤖👩‍🚀 end", "ééé", "plain"):
        writer, pieces = _Text(tokenizer, stops), []
        for token in tokenizer.encode(text, add_special_tokens=False):
            pieces.append(writer.push(token))
            if writer.stopped:
                break
        pieces.append(writer.rest())
        ends = [text.find(stop) for stop in stops if stop in text]
        assert "".join(pieces) == writer.whole == text[: min(ends, default=len(text))]
        assert all("\ufffd" not in piece for piece in pieces)


def test_defaults_are_openais() -> None:
    request = chat_request.parse({"model": "base", "messages": HELLO, "n": 1, "user": "me", "tools": None})
    assert request.sampling(10, 2048) == Sampling(chat_request.DEFAULT_MAX_TOKENS, 1.0, 1.0, None, ())
    assert request.sampling(2000, 2048).max_tokens == 48
    with pytest.raises(RequestError):
        request.sampling(2048, 2048)

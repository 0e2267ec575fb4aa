"""What a run does about trouble by itself: it rehearses, waits for the Hub, and says which row it cannot read."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from harness import Factory, Hub, Launched, rows

from vibeflow_peft import preflight
from vibeflow_peft.encoding import EncodeStats, encode_rows
from vibeflow_peft.errors import RunnerError, classify
from vibeflow_peft.models import load_chat_tokenizer, resolve
from vibeflow_peft.preflight import Rehearsal


def test_the_preflight_saves_and_resumes(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 1, "lora": {"dropout": 0.1}}, held_out=rows(6, 200))
    assert run.result()["outcome"] == "completed"
    (found,) = run.of("preflight")
    saved = next(e for e in run.of("checkpoint"))["bytes"]
    assert 0.7 * saved < found["checkpoint_bytes"] < 1.3 * saved, "it measures what a checkpoint takes"
    assert found["ended_share"] == 1, "every answer's end of turn is learned"
    assert found["memory_peak_bytes"] < found["memory_total_bytes"]
    assert found["seconds"] < 60
    assert any("is the step it would have been" in line for line in run.log("info"))
    assert not list(Path(run.folder / "checkpoints").glob(".partial-*"))


def test_what_does_not_come_back_from_a_save_is_refused_before_the_first_step(runs: Factory) -> None:
    run = runs.launch(faults=[{"do": "lossy_save"}])
    error = run.result()["error"]
    assert error["code"] == "environment_broken" and "does not come back as it was" in error["message"]
    assert run.of("metrics") == []


def test_a_launch_without_a_checkpoint_rehearses_once(runs: Factory) -> None:
    first = runs.launch(training={"epochs": 30.0, "checkpoint": {"every_steps": 0}}).reaches(2)
    first.kill()
    again = runs.launch(training={"epochs": 30.0, "checkpoint": {"every_steps": 0}}, epoch=2, **_where(first)).reaches(
        2
    )
    again.kill()
    assert len(first.of("preflight")) == 1 and again.of("preflight") == []
    assert any("an earlier launch of this run has passed it" in line for line in again.log("info"))
    other = runs.launch(
        training={"batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 1}, epoch=3, **_where(first)
    )
    other.result()
    assert len(other.of("preflight")) == 1, "another micro-batch is another question"


def _where(run: Launched) -> dict[str, str]:
    return {"checkpoints_dir": str(run.folder / "checkpoints")}


def test_doubts_are_told_and_stop_nothing() -> None:
    calm = Rehearsal(1.0, 10, 100, None, 1.0)
    usual = EncodeStats(rows=9, kept=9, tokens=100, labelled_tokens=50, longest=9, whole=8, ended=8)
    assert preflight.doubts(usual, calm) == []
    few = EncodeStats(rows=9, kept=9, tokens=10_000, labelled_tokens=50, whole=8, ended=8)
    endless = EncodeStats(rows=9, kept=9, tokens=100, labelled_tokens=50, whole=8)
    tight = Rehearsal(1.0, 95, 100, None, 1.0)
    told = [
        line.message
        for stats, found in ((few, calm), (endless, calm), (usual, tight))
        for line in preflight.doubts(stats, found)
    ]
    assert ["Only 0.50%" in told[0], "does not learn to stop" in told[1], "Memory is tight" in told[2]] == [True] * 3


def test_a_damaged_manifest_among_older_checkpoints_stops_no_save(runs: Factory) -> None:
    run = runs.launch(training={"epochs": 30.0}).reaches(12)
    manifest = run.folder / "checkpoints" / "step-00000010" / "manifest.json"
    manifest.write_text(manifest.read_text()[:40])
    run.reaches(27).signal(signal.SIGTERM)
    assert run.result()["outcome"] == "paused"
    assert "step-00000010" not in run.checkpoints


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: out of memory"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_short_memory_has_many_names(error: Exception) -> None:
    assert classify(error).code == "out_of_memory"


def test_a_row_that_no_tokenizer_reads_is_cited(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "half a pair: \\ud800"}\n{"text": "fine"}\n')
    with pytest.raises(RunnerError) as caught:
        encode_rows(path, "text", load_chat_tokenizer(resolve("tiny:llama", models)), 64)
    assert caught.value.code == "bad_data"
    assert caught.value.message.startswith("line 2: the tokenizer cannot read it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_run_waits_for_the_hub(runs: Factory, models: Path, tmp_path: Path) -> None:
    hub = Hub(resolve("tiny:llama", models).path, _free_port())
    at = {"model": {"source": "hub:acme/tiny"}, "models_dir": str(tmp_path / "models"), "env": {"HF_ENDPOINT": hub.url}}
    run = runs.launch(training={"max_steps": 1}, **at)
    run._await(lambda: any("trying again in 5.0 s" in line for line in run.log("warn")), "the Hub's outage")
    hub.start()
    try:
        assert run.result()["outcome"] == "completed"
    finally:
        hub.stop()
    offline = runs.launch(training={"max_steps": 1}, **at)
    assert offline.result()["outcome"] == "completed", "what was fetched is used while the Hub is away"


def test_a_run_that_waits_for_the_hub_can_be_paused(runs: Factory, tmp_path: Path) -> None:
    run = runs.launch(
        model={"source": "hub:acme/tiny"},
        models_dir=str(tmp_path / "models"),
        env={"HF_ENDPOINT": f"http://127.0.0.1:{_free_port()}"},
    )
    run._await(lambda: run.log("warn") != [], "the Hub's outage")
    assert run.signal(signal.SIGTERM).result()["outcome"] == "paused"


def test_a_token_that_has_expired_ends_the_run_and_says_which_setting(
    runs: Factory, models: Path, tmp_path: Path
) -> None:
    hub = Hub(resolve("tiny:llama", models).path).start()
    try:
        run = runs.launch(
            model={"source": "hub:acme/tiny", "token": "hf_old"},
            models_dir=str(tmp_path / "models"),
            env={"HF_ENDPOINT": hub.url},
        )
        error = run.result()["error"]
    finally:
        hub.stop()
    assert error["code"] == "model_unavailable" and "has expired" in error["message"]
    assert "vibeflow settings set huggingface_token" in error["remedy"]
    assert "hf_old" not in (run.folder / "events.ndjson").read_text()

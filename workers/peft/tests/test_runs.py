"""What a run does besides exactness: its events, its refusals, its lease, its folders."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Factory, Launched, rows

from vibeflow_peft import checkpoint


def failure(launched: Launched) -> dict[str, str]:
    result = launched.result()
    assert result["outcome"] == "failed", result
    assert launched.of("finished")[-1]["outcome"] == "failed"
    return result["error"]


def test_events_tell_the_whole_story(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 6, "eval_every_steps": 3}, held_out=rows(6, 200))
    result = run.result()
    events = run.events
    assert [e["n"] for e in events] == list(range(1, len(events) + 1))
    assert [e["type"] for e in events if e["type"] != "log"][:2] == ["started", "preflight"]
    assert events[-1]["type"] == "finished" and events[-1]["outcome"] == "completed"
    assert [e["step"] for e in run.of("metrics")] == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in run.of("eval_metrics")] == [3, 6]
    started, preflight, metrics = run.of("started")[0], run.of("preflight")[0], run.of("metrics")[0]
    assert {
        "device",
        "device_name",
        "precision",
        "dtype",
        "versions",
        "threads",
        "loss_path",
        "loss_path_reason",
        "fingerprint",
        "total_steps",
        "steps_per_epoch",
        "train_rows",
        "eval_rows",
        "trainable_parameters",
        "total_parameters",
        "timings",
    } <= started.keys()
    assert {
        "longest_tokens",
        "truncated_rows",
        "truncated_share",
        "masked_share",
        "disk_needed_bytes",
        "disk_free_bytes",
        "memory_peak_bytes",
        "seconds_per_step",
    } <= preflight.keys()
    assert {
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "tokens",
        "tokens_per_second",
        "seconds",
        "eta_seconds",
        "eta_low_seconds",
        "eta_high_seconds",
        "memory_bytes",
        "samples",
    } <= metrics.keys()
    assert result["metrics"]["eval_loss"] == run.of("eval_metrics")[-1]["eval_loss"]
    assert result["metrics"]["final_loss"] == run.of("metrics")[-1]["loss"]
    best = min(run.of("eval_metrics"), key=lambda e: e["eval_loss"])["step"]
    spec = json.loads((run.folder / "spec.json").read_text())
    marked = checkpoint.read_manifest(Path(spec["checkpoints_dir"]) / checkpoint.name_of(best))
    assert marked["best"] is True


def openings(launched: Launched, level: str = "info") -> list[str]:
    """The first word of every line of the log."""
    return [message.split()[0].rstrip(":") for message in launched.log(level)]


def test_the_log_tells_people_the_whole_story(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 6, "eval_every_steps": 3}, held_out=rows(6, 200))
    run.result()
    assert openings(run) == [
        *("Device", "Model", "Rows", "Rows", "Loaded", "Loss", "Preflight", "Training"),
        *("Held-out", "Checkpoint", "Checkpoint", "Held-out", "Checkpoint", "Done"),
    ]
    assert run.log("warn") == run.log("error") == []
    told = "\n".join(run.log("info"))
    started = run.of("started")[0]
    assert f"{started['total_parameters']:,} parameters, {started['trainable_parameters']:,} of them trained" in told
    assert "Device: CPU" in told and "Threads: 1, as asked for. Precision: fp32; as asked for." in told
    assert "Rows to train on: 48 read, 48 kept, 0 dropped, 0 cut at 128 tokens." in told
    assert "Rows held out: 6 read, 6 kept" in told
    assert f"{run.of('eval_metrics')[-1]['eval_loss']:.4f} on 6 rows" in told


def test_what_is_given_up_is_a_warning(runs: Factory) -> None:
    unlearnable = {"messages": [{"role": "user", "content": "word " * 100}, {"role": "assistant", "content": "Yes."}]}
    run = runs.launch(train=[*rows(8), unlearnable], held_out=[unlearnable], training={"max_steps": 1})
    assert run.result()["outcome"] == "completed"
    dropped, cut, _, _, nothing = run.log("warn")
    assert "1 of 9 (11.1%) rows to train on are dropped" in dropped
    assert "1 of 9 (11.1%) rows to train on are cut at 128 tokens" in cut
    assert "there is no held-out loss" in nothing


def test_evaluations_on_the_way_need_a_row_to_score(runs: Factory) -> None:
    held_out = [{"messages": [{"role": "user", "content": "word " * 200}, {"role": "assistant", "content": "Yes."}]}]
    run = runs.launch(training={"max_steps": 2, "max_length": 64, "eval_every_steps": 1}, held_out=held_out)
    result = run.result()
    assert result["outcome"] == "completed" and result["metrics"]["eval_loss"] is None


def test_the_held_out_loss_shows_how_far_it_is(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 2}, held_out=rows(30, 200))
    run.result()
    told = run.of("progress")
    assert {(e["phase"], e["total"]) for e in told} == {("held_out_loss", 30)}
    assert told[0]["done"] == 0 and told[-1]["done"] == 30
    assert [e["done"] for e in told] == sorted(e["done"] for e in told)
    types = [e["type"] for e in run.events]
    assert types.index("checkpoint") < types.index("progress") < types.index("eval_metrics") < types.index("finished")


def test_what_is_left_is_told_once_there_is_a_basis(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 7}, held_out=rows(60, 200))
    run.result()
    left = [(e["eta_low_seconds"], e["eta_seconds"], e["eta_high_seconds"]) for e in run.of("metrics")]
    assert left[:4] == [(None, None, None)] * 4, "two steps of warm-up, and three to judge by"
    assert all(0 < low < likely < high for low, likely, high in left[4:]), "the held-out loss comes after the last step"
    measuring = run.of("progress")
    assert measuring[0]["eta_seconds"] == left[-1][1]
    assert measuring[-1]["eta_seconds"] == measuring[-1]["eta_high_seconds"] == 0


def test_a_pause_need_not_wait_for_the_last_held_out_loss(runs: Factory) -> None:
    options = {"training": {"max_steps": 2}, "held_out": rows(4000, 200)}
    run = runs.launch(**options)
    run._await(lambda: run.of("progress") != [], "the held-out loss")
    result = run.signal(signal.SIGTERM).result()
    assert (result["outcome"], result["step"], result["checkpoint"]) == ("paused", 2, "step-00000002")
    assert run.of("eval_metrics") == [] and "artifacts" not in result
    resumed = runs.resume(run, **options)
    resumed._await(lambda: resumed.of("progress") != [], "the held-out loss")
    assert resumed.of("metrics") == [], "no step more is trained"
    resumed.signal(signal.SIGTERM).result()


def test_a_later_launch_does_not_introduce_itself_again(runs: Factory, paused: Launched) -> None:
    assert paused.log("info")[-1].startswith("Paused at step")
    resumed = runs.resume(paused, training={"epochs": 30.0}).reaches(paused.result()["step"] + 1)
    resumed.signal(signal.SIGTERM).result()
    step = paused.result()["step"]
    assert resumed.log("info")[0].startswith(f"Resumed from step {step} of 360 (step-{step:08d}): CPU")
    assert {*openings(resumed)[1:]} == {"Checkpoint", "Paused"}


def test_a_later_launch_without_a_checkpoint_says_so(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 1}, epoch=3)
    run.result()
    assert openings(run)[:2] == ["Launch", "Device"]


def test_a_failure_is_in_the_log(runs: Factory) -> None:
    run = runs.launch(model={"source": "path:/nowhere/at/all"})
    error = failure(run)
    (line,) = run.log("error")
    assert error["message"] in line and error["remedy"] in line


def test_the_artifact_is_whole_and_tells_how_to_check_it(runs: Factory) -> None:
    run = runs.launch(training={"max_steps": 2})
    manifest = run.result()["artifacts"][0]
    assert manifest["kind"] == manifest["name"] == "adapter"
    assert checkpoint.verify(run.artifact()) == manifest
    names = {f["path"] for f in manifest["files"]}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "parity.json"} <= names
    parity = json.loads((run.artifact() / "parity.json").read_text())
    assert len(parity["input_ids"]) == len(parity["argmax_ids"]) == len(parity["margins"])
    assert parity["last_ids"][0] == parity["argmax_ids"][-1]
    config = json.loads((run.artifact() / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny:llama", "no path of this machine"


def test_all_labels_masked(runs: Factory) -> None:
    long = [{"messages": [{"role": "user", "content": "word " * 100}, {"role": "assistant", "content": "Yes."}]}] * 4
    error = failure(runs.launch(train=long, training={"max_length": 32}))
    assert error["code"] == "all_labels_masked"
    assert error["remedy"]


def test_bad_row_is_cited(runs: Factory) -> None:
    spec = runs.write()
    path = spec.parent / "train.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = '{"messages": ['
    path.write_text("\n".join(lines))
    error = failure(runs.fork(spec))
    assert error["code"] == "bad_data"
    assert "line 7" in error["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"training": {"learning_rate": -1.0}}, "training.learning_rate"),
        ({"training": {"lora": {"r": "8"}}}, "training.lora.r"),
        ({"training": {"optimizer": "sgd"}}, "training.optimizer"),
        ({"training": {"lora": {"target_modules": "no_such_layer"}}}, "training.lora.target_modules"),
        ({"training": {"max_length": 99999}}, "training.max_length"),
        ({"training": {"precision": "fp16"}}, "precision"),
        ({"model": {"source": "ftp:somewhere"}}, "model.source"),
        ({"version": 7}, "version"),
    ],
)
def test_an_impossible_configuration_is_refused_by_name(runs: Factory, change: dict, field: str) -> None:
    error = failure(runs.launch(**change))
    assert error["code"] == "invalid_config"
    assert error["field"] == field
    assert error["remedy"]


def test_a_missing_model(runs: Factory) -> None:
    assert failure(runs.launch(model={"source": "path:/nowhere/at/all"}))["code"] == "model_unavailable"


def test_a_gpu_that_is_not_there(runs: Factory) -> None:
    assert failure(runs.launch(device="cuda"))["code"] == "prerequisite"


def test_a_loss_that_is_no_number_stops_at_once(runs: Factory, models: Path) -> None:
    """One token's embedding is infinite; the row that holds it is not one that is rehearsed: of medium length."""
    runs.launch(training={"max_steps": 1}).result()  # builds the tiny model
    folder = _poisoned_model(next(models.glob("tiny-llama-*")), runs.root / "poisoned", "¤")
    data = rows(48)
    data[30]["messages"][0]["content"] += " Please.¤"
    run = runs.launch(train=data, model={"source": f"path:{folder}"}, training={"checkpoint": {"every_steps": 1}})
    result = run.result()
    assert result["error"]["code"] == "non_finite_loss"
    last = max(run.steps, default=0)
    assert 0 < last == result["step"] < 12, "in the first epoch"
    assert run.checkpoints[-1] == checkpoint.name_of(last), "nothing was saved after the poison"


def _poisoned_model(source: Path, target: Path, token: str) -> Path:
    import shutil

    from safetensors.numpy import load_file, save_file
    from tokenizers import Tokenizer

    shutil.copytree(source, target)
    ids = Tokenizer.from_file(str(target / "tokenizer.json")).encode(token, add_special_tokens=False).ids
    weights = load_file(target / "model.safetensors")
    weights["model.embed_tokens.weight"][ids[-1]] = float("inf")
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


# -- resuming ----------


@pytest.fixture
def paused(runs: Factory) -> Launched:
    run = runs.launch(training={"epochs": 30.0}).reaches(6).signal(signal.SIGTERM)
    assert run.result()["outcome"] == "paused"
    return run


def test_a_damaged_checkpoint_is_refused(runs: Factory, paused: Launched) -> None:
    weights = paused.folder / "checkpoints" / paused.checkpoints[-1] / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    error = failure(runs.resume(paused, training={"epochs": 30.0}))
    assert error["code"] == "bad_data"
    assert "adapter_model.safetensors" in error["message"]


def test_a_checkpoint_without_manifest_is_refused(runs: Factory, paused: Launched) -> None:
    name = paused.checkpoints[-1]
    (paused.folder / "checkpoints" / name / "manifest.json").unlink()
    assert failure(runs.resume(paused, name, training={"epochs": 30.0}))["code"] == "bad_data"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"training": {"epochs": 30.0, "learning_rate": 1e-3}}, "recipe.learning_rate"),
        ({"training": {"epochs": 30.0, "stock_loss": True}}, "loss_path"),
        ({"training": {"epochs": 30.0}, "train": rows(47)}, "data.train"),
    ],
)
def test_another_recipe_is_refused(runs: Factory, paused: Launched, change: dict, named: str) -> None:
    error = failure(runs.resume(paused, **change))
    assert error["code"] == "fingerprint_mismatch"
    assert named in error["message"]


def test_a_soft_difference_is_told(runs: Factory, paused: Launched) -> None:
    resumed = (
        runs.resume(paused, training={"epochs": 30.0, "batch_size": 2, "gradient_accumulation_steps": 2}, threads=2)
        .reaches(12)
        .signal(signal.SIGTERM)
    )
    assert resumed.result()["outcome"] == "paused"
    (warning,) = resumed.log("warn")
    step = resumed.of("resumed")[0]["step"]
    assert warning.startswith(f"exact until step {step}: ")
    assert "micro_batch: 4 → 2" in warning and "threads: 1 → 2" in warning


def test_a_lower_rate_after_a_rollback(runs: Factory, paused: Launched) -> None:
    resumed = runs.resume(paused, training={"epochs": 30.0, "learning_rate_scale": 0.5})
    resumed.reaches(40).signal(signal.SIGTERM).result()
    clean = runs.launch(training={"epochs": 30.0}).reaches(40).signal(signal.SIGTERM)
    clean.result()
    rates = {e["step"]: e["learning_rate"] for e in clean.of("metrics")}
    for event in resumed.of("metrics"):
        if event["step"] in rates:
            assert event["learning_rate"] == pytest.approx(rates[event["step"]] / 2, rel=1e-9)


def test_an_unfinished_folder_is_swept(runs: Factory, paused: Launched) -> None:
    leftover = paused.folder / "checkpoints" / ".partial-step-00000099"
    leftover.mkdir()
    (leftover / "optimizer.pt").write_bytes(b"half")
    resumed = runs.resume(paused, training={"epochs": 30.0}).reaches(8).signal(signal.SIGTERM)
    resumed.result()
    assert not leftover.exists()


# -- lease, signals, time ----------


@contextlib.contextmanager
def renewing(lease: Path) -> Iterator[None]:
    """Renews a lease as a worker does, until the block is left."""
    lease.write_text(json.dumps({"run_id": "job_test", "epoch": 1}))
    left = threading.Event()

    def renew() -> None:
        while not left.wait(0.1):
            os.utime(lease)

    worker = threading.Thread(target=renew)
    worker.start()
    yield
    left.set()
    worker.join()


def test_an_orphan_saves_and_leaves(runs: Factory, tmp_path: Path) -> None:
    lease = tmp_path / "lease.json"
    with renewing(lease):
        run = runs.launch(training={"epochs": 3000.0}, lease_file=str(lease), lease_seconds=2).reaches(1)
        until = time.monotonic() + 2.5
        run._await(lambda: time.monotonic() > until, "life beyond the lease's length")
    result = run.result()
    assert result["outcome"] == "orphaned"
    assert result["checkpoint"] == run.checkpoints[-1] == checkpoint.name_of(result["step"])
    assert run.of("finished")[0]["outcome"] == "orphaned"


def test_a_superseded_run_saves_nothing(runs: Factory, tmp_path: Path) -> None:
    lease = tmp_path / "lease.json"
    lease.write_text(json.dumps({"run_id": "job_test", "epoch": 1}))
    run = runs.launch(training={"epochs": 3000.0, "checkpoint": {"every_steps": 0}}, lease_file=str(lease))
    run.reaches(3)
    lease.write_text(json.dumps({"run_id": "job_test", "epoch": 2}))
    result = run.result()
    assert result["outcome"] == "superseded"
    assert run.checkpoints == [] and "artifacts" not in result


def test_checkpoints_by_time(runs: Factory) -> None:
    run = runs.launch(training={"epochs": 3000.0, "checkpoint": {"every_steps": 0, "every_seconds": 1}})
    run._await(lambda: len(run.of("checkpoint")) >= 2, "second checkpoint")
    run.signal(signal.SIGTERM)
    assert run.result()["outcome"] == "paused"


def test_usr1_shows_where_a_run_is(runs: Factory) -> None:
    run = runs.launch(training={"epochs": 3000.0}).reaches(2).signal(signal.SIGUSR1)
    run._await(lambda: "most recent call first" in run.stderr, "stack dump")
    run.signal(signal.SIGTERM)
    assert run.result()["outcome"] == "paused"


# -- quantized ----------


def test_qlora_has_right_gradients_after_an_evaluation(runs: Factory) -> None:
    """On AVX512-BF16 machines bitsandbytes' evaluation repacks weights and breaks the gradients that follow."""
    quantized = {"method": "qlora", "max_steps": 8}
    plain = runs.launch(training=quantized)
    if plain.result().get("error", {}).get("code") == "unsupported":
        pytest.skip("bitsandbytes cannot quantize on this machine")
    evaluated = runs.launch(training={**quantized, "eval_every_steps": 2}, held_out=rows(6, 200))
    assert evaluated.result()["outcome"] == "completed"
    assert evaluated.steps == plain.steps
    losses = [e["loss"] for e in plain.of("metrics")]
    assert losses[-1] < losses[0]


def test_qlora_resumes_exactly(runs: Factory) -> None:
    quantized = {"method": "qlora", "epochs": 2.0, "precision": "bf16"}
    clean = runs.launch(training=quantized)
    if clean.result().get("error", {}).get("code") == "unsupported":
        pytest.skip("bitsandbytes cannot quantize on this machine")
    killed = runs.launch(training=quantized).reaches(14)
    killed.kill()
    resumed = runs.resume(killed, training=quantized)
    assert resumed.result()["outcome"] == "completed"
    assert {**killed.steps, **resumed.steps} == clean.steps
    assert resumed.weights() == clean.weights()

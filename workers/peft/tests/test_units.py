"""The parts that need no torch: events, checkpoints, lease, fingerprint, device, errors, spec, command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import ENVIRONMENT, TRAINING, merged

from vibeflow_peft import checkpoint, device, errors, fingerprint, spec, wording
from vibeflow_peft.device import Device
from vibeflow_peft.encoding import EncodeStats
from vibeflow_peft.errors import RunnerError
from vibeflow_peft.events import EventWriter, Line
from vibeflow_peft.lease import Lease
from vibeflow_peft.stop import ORPHANED, PAUSED, SUPERSEDED, Stopped, StopRequest

# -- events ----------


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_numbered_and_exact(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.ndjson")
    writer.emit("metrics", loss=0.1 + 0.2, grad_norm=float("inf"))
    writer.log(Line("ünïcode\nstays one line"))
    writer.close()
    first, second = lines(tmp_path / "events.ndjson")
    assert (first["n"], second["n"]) == (1, 2)
    assert first["loss"] == 0.1 + 0.2, "bit for bit"
    assert first["grad_norm"] is None
    assert first["at"].endswith("Z")
    assert (tmp_path / "events.ndjson").stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"n": 1, "type": "a"}\n{"n": 2, "ty')
    writer = EventWriter(path)
    writer.emit("b")
    assert [(e["n"], e["type"]) for e in lines(path)] == [(1, "a"), (2, "b")]


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.ndjson"
    writer = EventWriter(path)
    writer.emit("a")
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:5], at))
    with pytest.raises(OSError) as caught:
        writer.emit("b")
    assert errors.classify(caught.value).code == "disk_full"
    monkeypatch.undo()
    writer.emit("c")
    assert [(e["n"], e["type"]) for e in lines(path)] == [(1, "a"), (2, "c")]


# -- checkpoints ----------


def sealed(parent: Path, step: int, **mark: bool) -> Path:
    folder = checkpoint.begin(parent, checkpoint.name_of(step))
    (folder / "weights").write_bytes(bytes([step]) * 10)
    checkpoint.seal(folder, checkpoint.Mark("checkpoint", step, **mark))
    return parent / checkpoint.name_of(step)


def test_a_sealed_folder_verifies(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 3)
    manifest = checkpoint.verify(folder)
    assert manifest["name"] == "step-00000003" and manifest["step"] == 3
    assert [f["path"] for f in manifest["files"]] == ["weights"]
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize(
    "harm",
    [
        lambda f: (f / "weights").write_bytes(b"\x03" * 9 + b"\x04"),
        lambda f: (f / "weights").unlink(),
        lambda f: (f / "manifest.json").write_text("{"),
        lambda f: (f / "manifest.json").unlink(),
        lambda f: (f / "manifest.json").write_text('{"step": 3, "files": [{"path": "../x", "sha256": "", "size": 0}]}'),
    ],
)
def test_a_harmed_folder_does_not(tmp_path: Path, harm) -> None:
    folder = sealed(tmp_path, 3)
    harm(folder)
    with pytest.raises(RunnerError, match="step-00000003 is damaged"):
        checkpoint.verify(folder)


def test_pruning_keeps_what_may_be_needed(tmp_path: Path) -> None:
    for step in range(1, 8):
        sealed(tmp_path, step, best=step in (2, 4), final=step == 3)
    (tmp_path / "step-00000001" / "manifest.json").unlink()  # not complete: not pruning's business
    removed = checkpoint.prune(tmp_path, keep=["step-00000005"])
    assert removed == ["step-00000002"]
    assert sorted(p.name for p in tmp_path.iterdir() if checkpoint.step_of(p) > 1) == [
        checkpoint.name_of(n) for n in (3, 4, 5, 6, 7)
    ]


def test_sealing_again_replaces(tmp_path: Path) -> None:
    sealed(tmp_path, 3)
    assert checkpoint.verify(sealed(tmp_path, 3))["step"] == 3


# -- lease and stopping ----------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("vibeflow_peft.lease.time.monotonic", lambda: now[0])
    return now


def test_a_lease_lapses_by_the_time_it_was_watched(tmp_path: Path, clock: list[float]) -> None:
    path, stop = tmp_path / "lease.json", StopRequest()
    path.write_text('{"epoch": 1}')
    os.utime(path, (1, 1))  # decades old by the wall clock, as after a clock was set
    lease = Lease(path, 1, 600, stop)
    lease.check()
    clock[0] += 599
    lease.check()
    assert stop.reason is None
    os.utime(path)
    lease.check()
    clock[0] += 599
    lease.check()
    assert stop.reason is None, "renewed"
    clock[0] += 2
    lease.check()
    assert stop.reason == ORPHANED


def test_a_missing_lease_lapses_too(tmp_path: Path, clock: list[float]) -> None:
    stop = StopRequest()
    lease = Lease(tmp_path / "lease.json", 1, 600, stop)
    lease.check()
    clock[0] += 601
    lease.check()
    assert stop.reason == ORPHANED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"epoch": 2}', SUPERSEDED),
        ('{"epoch": 1}', None),
        ('{"epoch": 0}', None),
        ('{"epo', None),
        ("[]", None),
    ],
)
def test_only_a_newer_epoch_supersedes(tmp_path: Path, content: str, reason: str | None) -> None:
    stop = StopRequest()
    (tmp_path / "lease.json").write_text(content)
    Lease(tmp_path / "lease.json", 1, 600, stop).check()
    assert stop.reason == reason


def test_a_stronger_reason_to_stop_wins() -> None:
    stop = StopRequest()
    stop.check()
    for asked, expected in ((ORPHANED, ORPHANED), (PAUSED, ORPHANED), (SUPERSEDED, SUPERSEDED), (PAUSED, SUPERSEDED)):
        stop.ask(asked)
        assert stop.reason == expected
    with pytest.raises(Stopped):
        stop.check()


# -- fingerprint ----------


def a_spec(**changes) -> spec.RunSpec:
    raw = {
        "version": 1,
        "verb": "train",
        "run_id": "job_1",
        "epoch": 1,
        "model": {"source": "tiny:llama"},
        "dataset": {
            "format": "chat",
            "train": {"path": "/d/t", "sha256": "aa"},
            "eval": {"path": "/d/e", "sha256": "bb"},
        },
        "training": TRAINING,
        "checkpoints_dir": "/c",
        "output_dir": "/o",
    }
    return spec.parse(merged(raw, changes))


def prints_of(threads: int = 1, **changes) -> fingerprint.Fingerprint:
    run = a_spec(**changes)
    cpu = Device("cpu", "x")
    return fingerprint.of(
        run,
        model_identity="m",
        loss_path="labelled",
        device=cpu,
        threads=threads,
        precision=device.choose_precision(cpu, "fp32", frozenset(), train_all=False),
    )


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"training": {"learning_rate": 1e-4}}, "hard"),
        ({"training": {"seed": 1}}, "hard"),
        ({"training": {"max_length": 64}}, "hard"),
        ({"training": {"lora": {"dropout": 0.1}}}, "hard"),
        ({"training": {"batch_size": 8}}, "hard"),
        ({"training": {"eval_every_steps": 3}}, "hard"),
        ({"dataset": {"train": {"sha256": "cc"}}}, "hard"),
        ({"training": {"batch_size": 2, "gradient_accumulation_steps": 2}}, "soft"),
        ({"training": {"learning_rate_scale": 0.5}}, "soft"),
        ({"threads": 2}, "soft"),
        ({"dataset": {"eval": {"sha256": "cc"}}}, "none"),
        ({"training": {"gradient_checkpointing": True}}, "none"),
        ({"training": {"checkpoint": {"every_steps": 7}}}, "none"),
        ({"run_id": "job_2"}, "none"),
    ],
)
def test_what_a_resume_may_change(change: dict, differs: str) -> None:
    saved, current = json.loads(json.dumps(prints_of())), prints_of(**change)
    if differs == "hard":
        with pytest.raises(RunnerError) as caught:
            fingerprint.compare(saved, current)
        assert caught.value.code == "fingerprint_mismatch"
    else:
        assert bool(fingerprint.compare(saved, current)) == (differs == "soft")


def test_a_full_fine_tune_has_no_adapter_to_differ() -> None:
    full = {"training": {"method": "full"}}
    assert prints_of(**full) == prints_of(**merged(full, {"training": {"lora": {"r": 4}}}))


# -- device ----------

CPU, T4, A100 = Device("cpu", "c"), Device("cuda", "T4", (7, 5)), Device("cuda", "A100", (8, 0))


@pytest.mark.parametrize(
    ("where", "asked", "flags", "expected"),
    [
        (CPU, "auto", {"avx2"}, ("fp32", "float32", None)),
        (CPU, "auto", {"avx512_bf16"}, ("bf16", "float32", "bfloat16")),
        (CPU, "auto", {"amx_bf16"}, ("bf16", "float32", "bfloat16")),
        (CPU, "fp32", {"amx_bf16"}, ("fp32", "float32", None)),
        (T4, "auto", set(), ("fp16", "float16", "float16")),
        (A100, "auto", set(), ("bf16", "bfloat16", "bfloat16")),
        (A100, "fp16", set(), ("fp16", "float16", "float16")),
        (A100, "fp32", set(), ("fp32", "float32", None)),
    ],
)
def test_precision_follows_the_hardware(where: Device, asked: str, flags: set[str], expected: tuple) -> None:
    chosen = device.choose_precision(where, asked, frozenset(flags), train_all=False)
    assert (chosen.name, chosen.weights, chosen.autocast) == expected
    assert (chosen.reason == "as asked for") == (asked != "auto") and chosen.caveat == ""


def test_emulated_bf16_is_warned_of() -> None:
    assert device.choose_precision(CPU, "bf16", frozenset({"avx2"}), train_all=False).caveat


def test_a_gpu_that_pytorch_cannot_use_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(device, "cuda_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose_device("auto").kind == "cpu"
    assert "PyTorch cannot use it" in device.choose_device("auto").caveat
    assert device.choose_device("cpu").caveat == "", "nobody asked for it"


def test_trained_weights_stay_fp32() -> None:
    assert device.choose_precision(A100, "auto", frozenset(), train_all=True).weights == "float32"
    assert device.choose_precision(T4, "auto", frozenset(), train_all=True).scaled


@pytest.mark.parametrize(("where", "asked"), [(CPU, "fp16"), (T4, "bf16")])
def test_precision_that_is_not_there_is_refused(where: Device, asked: str) -> None:
    with pytest.raises(RunnerError) as caught:
        device.choose_precision(where, asked, frozenset({"avx512_bf16"}), train_all=False)
    assert caught.value.code == "invalid_config"


def test_probe_imports_no_torch() -> None:
    script = "import sys; from vibeflow_peft.__main__ import main; main(['probe']); assert 'torch' not in sys.modules"
    out = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(out.stdout)
    assert found["cpu"]["cores"] >= 1 and found["memory"]["total_bytes"] > 0
    assert found["versions"]["torch"]


# -- wording ----------


def test_rows_that_are_lost_are_warned_of() -> None:
    few = EncodeStats(rows=1000, kept=1000, truncated=5, tokens=9000, labelled_tokens=4000, longest=300)
    assert [line.level for line in wording.rows("to train on", few, 256)] == ["info"], "a few long rows are no news"
    many = EncodeStats(rows=1000, kept=990, truncated=50, dropped_all_masked=10, tokens=9000, longest=300)
    told, dropped, cut = wording.rows("to train on", many, 256)
    assert told.message.startswith("Rows to train on: 1,000 read, 990 kept, 10 dropped, 50 cut at 256 tokens.")
    assert dropped.level == cut.level == "warn"
    assert dropped.message.startswith("10 of 1,000 (1.0%) rows") and cut.message.startswith("50 of 1,000 (5.0%) rows")


@pytest.mark.parametrize(
    ("steps", "seen"), [(12, "14% of the rows are seen, once"), (84, "every row is seen once"), (210, "seen 2.5 times")]
)
def test_how_often_a_row_is_seen(steps: int, seen: str) -> None:
    assert seen in wording.plan(steps=steps, rows_a_step=4, steps_an_epoch=84).message


@pytest.mark.parametrize(
    ("reason", "level", "says"),
    [
        (PAUSED, "info", "Paused at step 7; step-00000007 holds all of it."),
        (ORPHANED, "warn", "no worker has renewed this run's lease"),
        (SUPERSEDED, "warn", "saves nothing"),
    ],
)
def test_why_a_run_stopped(reason: str, level: str, says: str) -> None:
    line = wording.stopped(reason, step=7, checkpoint="step-00000007")
    assert line.level == level and says in line.message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.9, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


# -- errors ----------


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError('Error while serializing: IoError(Os { message: "No space left on device" })'), "disk_full"),
        (ModuleNotFoundError("No module named 'torch'"), "environment_broken"),
        (RunnerError("bad_data", "x"), "bad_data"),
        (ZeroDivisionError("by zero"), "internal"),
    ],
)
def test_exceptions_become_codes(error: Exception, code: str) -> None:
    assert errors.classify(error).code == code
    wrapped = RuntimeError("a library's wrapper")
    wrapped.__cause__ = error
    assert errors.classify(wrapped).code == code


def test_no_room_for_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from vibeflow_peft import preflight

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(RunnerError) as caught:
        preflight.require_disk(tmp_path, 200_000_000)
    assert caught.value.code == "disk_full"
    assert "190 MiB" in caught.value.remedy


# -- command line ----------


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vibeflow_peft", *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"run_id": "job_9", "epoch": 4, "verb": "dance"}'])
def test_a_bad_spec_leaves_a_result(tmp_path: Path, content: str) -> None:
    (tmp_path / "spec.json").write_text(content)
    done = run_cli("run", str(tmp_path / "spec.json"))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["outcome"] == "failed" and result["error"]["code"] == "invalid_config"
    assert done.returncode == errors.EXIT_CODES["invalid_config"]
    if "job_9" in content:
        assert (result["run_id"], result["epoch"]) == ("job_9", 4)
    assert not (tmp_path / ".reserve").exists()


def test_an_unusable_folder_and_an_unknown_verb() -> None:
    assert run_cli("run", "/nowhere/spec.json").returncode == errors.EXIT_USAGE
    assert run_cli("dance").returncode == errors.EXIT_USAGE

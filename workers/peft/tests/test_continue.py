"""Training that goes on from tuned weights: it begins where they left off, and is as exact as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import Factory, Launched, rows

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"max_steps": 12},
    "full": {"max_steps": 12, "method": "full", "learning_rate": 5e-4},
}


def kind_of(method: str) -> str:
    return "model" if method == "full" else "adapter"


def start_of(tuned: Launched, method: str) -> dict[str, Any]:
    """A spec's `adapter`, as the worker fills it."""
    folder = tuned.artifact(kind_of(method))
    files = tuned.result()["artifacts"][0]["files"]
    return {"path": str(folder), "method": method, "files": files}


def tuned_by(runs: Factory, method: str) -> Launched:
    tuned = runs.launch(training=METHODS[method])
    assert tuned.result()["outcome"] == "completed"
    return tuned


def losses(run: Launched) -> list[float]:
    return [e["loss"] for e in run.of("metrics")]


@pytest.mark.parametrize("method", METHODS)
def test_begins_with_the_tuned_weights_and_survives_a_kill(runs: Factory, method: str) -> None:
    tuned = tuned_by(runs, method)
    options = {"training": METHODS[method], "adapter": start_of(tuned, method)}
    clean = runs.launch(**options)
    assert clean.result()["outcome"] == "completed"
    assert losses(clean)[0] < losses(tuned)[0] - 0.2, "it has forgotten the tuning"
    assert clean.weights(kind_of(method)) != tuned.weights(kind_of(method))

    killed = runs.launch(**options).reaches(8)
    killed.kill()
    resumed = runs.resume(killed, **options)
    assert resumed.result()["outcome"] == "completed"
    assert {**killed.steps, **resumed.steps} == clean.steps
    assert resumed.weights(kind_of(method)) == clean.weights(kind_of(method))


def test_the_first_loss_is_the_tuned_models_own(runs: Factory) -> None:
    data = rows(16)
    tuned = runs.launch(training={"max_steps": 20}, train=data, held_out=data)
    own = tuned.result()["metrics"]["eval_loss"]
    # One batch of all rows: its loss before the first update is the tuned model's on the same rows.
    on = runs.launch(training={"max_steps": 1, "batch_size": 16}, train=data, adapter=start_of(tuned, "lora"))
    on.result()
    assert losses(on)[0] == pytest.approx(own, abs=1e-4)


def test_a_checkpoint_of_another_start_is_refused(runs: Factory) -> None:
    tuned = tuned_by(runs, "lora")
    from_base = runs.launch(training={"max_steps": 6})
    from_base.result()
    resumed = runs.resume(from_base, training={"max_steps": 6}, adapter=start_of(tuned, "lora"))
    error = resumed.result()["error"]
    assert error["code"] == "fingerprint_mismatch" and "start" in error["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lora": {"r": 4}}, "training.lora.r"),
        ({"lora": {"alpha": 8}}, "training.lora.alpha"),
        ({"method": "full"}, "training.method"),
    ],
)
def test_what_the_tuned_weights_are_not_is_refused(runs: Factory, change: dict[str, Any], field: str) -> None:
    start = {"path": str(_adapter_of_shape(runs)), "method": "lora", "files": []}
    result = runs.launch(training=change, adapter=start).result()
    assert result["outcome"] == "failed"
    assert (result["error"]["code"], result["error"]["field"]) == ("invalid_config", field)


def test_a_folder_that_is_no_adapter_is_refused(runs: Factory, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    start = {"path": str(tmp_path / "empty"), "method": "lora", "files": []}
    assert runs.launch(adapter=start).result()["error"]["code"] == "bad_data"


def _adapter_of_shape(runs: Factory) -> Path:
    tuned = runs.launch(training={"max_steps": 1})
    assert tuned.result()["outcome"] == "completed"
    return tuned.artifact()

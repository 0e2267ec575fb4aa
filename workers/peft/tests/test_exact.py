"""Exactness: a disturbed run has the undisturbed one's loss at every step, its samples, and its final weights, bit for
bit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from harness import Factory, Launched, rows

# Each way to train that a resume must repeat: 36 steps in 3 epochs of 12 (9 where micro-batches are accumulated).
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"training": {"precision": "bf16"}},
    "dropout with evaluations": {
        "training": {"precision": "bf16", "lora": {"dropout": 0.1}, "eval_every_steps": 4},
        "held_out": rows(8, 100),
    },
    "accumulation, full": {
        "training": {"method": "full", "learning_rate": 5e-4, "gradient_accumulation_steps": 2, "epochs": 4.0}
    },
    "stock loss": {"training": {"stock_loss": True}},
    "fractional epochs, rslora": {"training": {"epochs": 2.3, "lora": {"rslora": True}, "scheduler": "linear"}},
}


@pytest.fixture(scope="module")
def undisturbed(shared_runs: Factory) -> Callable[[str], Launched]:
    """The finished run of a variant, made once."""
    made: dict[str, Launched] = {}

    def get(name: str) -> Launched:
        if name not in made:
            made[name] = shared_runs.launch(**VARIANTS[name])
            assert made[name].result()["outcome"] == "completed"
        return made[name]

    return get


def kind_of(variant: str) -> str:
    return "model" if "full" in variant else "adapter"


def assert_same(disturbed: list[Launched], clean: Launched, variant: str) -> None:
    """All pieces together are the clean run: no step missing, none different, the same weights at the end."""
    seen: dict[int, tuple[str, ...]] = {}
    for piece in disturbed:
        for step, values in piece.steps.items():
            assert values == clean.steps[step], f"step {step}"
            seen[step] = values
    assert seen == clean.steps
    assert disturbed[-1].weights(kind_of(variant)) == clean.weights(kind_of(variant))


def test_twice_the_same(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    again = runs.launch(**VARIANTS["fp32"])
    result = again.result()
    assert_same([again], undisturbed("fp32"), "fp32")
    assert result["step"] == result["total_steps"] == 36
    first, last = again.of("metrics")[0]["loss"], again.of("metrics")[-1]["loss"]
    assert last < first - 0.5, "it learns"


@pytest.mark.parametrize("variant", VARIANTS)
def test_pause_in_a_later_epoch(runs: Factory, undisturbed: Callable[[str], Launched], variant: str) -> None:
    clean = undisturbed(variant)
    per_epoch = clean.of("started")[0]["steps_per_epoch"]
    paused = runs.launch(**VARIANTS[variant]).reaches(per_epoch + 2).signal(signal.SIGTERM)
    result = paused.result()
    assert result["outcome"] == "paused"
    assert per_epoch < result["step"] < result["total_steps"]
    assert result["checkpoint"] == paused.checkpoints[-1] == f"step-{result['step']:08d}"

    resumed = runs.resume(paused, **VARIANTS[variant])
    assert resumed.result()["outcome"] == "completed"
    assert_same([paused, resumed], clean, variant)
    assert [e["step"] for e in resumed.of("resumed")] == [result["step"]]
    assert resumed.log("warn") == []
    # Sums over the run are of the whole of it, not of the last launch.
    assert resumed.result()["metrics"]["mean_loss"] == clean.result()["metrics"]["mean_loss"]
    assert resumed.result()["metrics"]["tokens"] == clean.result()["metrics"]["tokens"]


@pytest.mark.parametrize("variant", ["fp32", "dropout with evaluations"])
def test_killed_in_epoch_two(runs: Factory, undisturbed: Callable[[str], Launched], variant: str) -> None:
    killed = runs.launch(**VARIANTS[variant]).reaches(18)
    killed.kill()
    assert not (killed.folder / "result.json").exists()
    resumed = runs.resume(killed, **VARIANTS[variant])
    assert resumed.result()["outcome"] == "completed"
    assert_same([killed, resumed], undisturbed(variant), variant)


def test_killed_twice_and_paused_once(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    pieces = [runs.launch(**VARIANTS["bf16"]).reaches(7)]
    pieces[-1].kill()
    pieces.append(runs.resume(pieces[-1], **VARIANTS["bf16"]).reaches(13))
    pieces[-1].kill()
    pieces.append(runs.resume(pieces[-1], **VARIANTS["bf16"]).reaches(21).signal(signal.SIGTERM))
    assert pieces[-1].result()["outcome"] == "paused"
    pieces.append(runs.resume(pieces[-1], **VARIANTS["bf16"]))
    assert pieces[-1].result()["outcome"] == "completed"
    assert_same(pieces, undisturbed("bf16"), "bf16")


def test_killed_after_the_last_step(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    """What is left is the artifact; not a step more is trained, even in the middle of an epoch."""
    clean = undisturbed("fractional epochs, rslora")
    resumed = runs.resume(clean, **VARIANTS["fractional epochs, rslora"])
    result = resumed.result()
    assert result["outcome"] == "completed"
    assert resumed.steps == {}
    assert result["metrics"]["mean_loss"] == clean.result()["metrics"]["mean_loss"]
    assert resumed.weights() == clean.weights()


def test_evaluation_leaves_no_trace(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    """With dropout, a schedule of evaluations must not move the random state."""
    variant = VARIANTS["dropout with evaluations"]
    without = runs.launch(training={**variant["training"], "eval_every_steps": 0})
    assert without.result()["outcome"] == "completed"
    assert without.steps == undisturbed("dropout with evaluations").steps


def test_saving_more_often_changes_nothing(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    often = runs.launch(training={"checkpoint": {"every_steps": 1}})
    assert often.result()["outcome"] == "completed"
    assert_same([often], undisturbed("fp32"), "fp32")
    assert often.checkpoints == ["step-00000035", "step-00000036"], "pruned to the last two"


def test_accumulation_divides_by_all_labelled_tokens(runs: Factory, undisturbed: Callable[[str], Launched]) -> None:
    """Two micro-batches of 2 are one batch of 4: the loss of the first step is the same but for rounding."""
    halved = runs.launch(training={"batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 3})
    assert halved.result()["outcome"] == "completed"
    whole = undisturbed("fp32").of("metrics")
    for ours, theirs in zip(halved.of("metrics")[:2], whole[:2], strict=True):
        assert ours["samples"] == theirs["samples"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)


def test_labelled_loss_is_the_stock_one(undisturbed: Callable[[str], Launched]) -> None:
    ours, stock = undisturbed("fp32"), undisturbed("stock loss")
    assert ours.of("started")[0]["loss_path"] == "labelled"
    assert stock.of("started")[0]["loss_path"] == "stock"
    for a, b in zip(ours.of("metrics"), stock.of("metrics"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-4)

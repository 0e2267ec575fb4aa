"""What a checkpoint was made with: a hard part that a resume must match, a soft part that may differ.

Hard: model, tuned weights that it starts from, data, recipe, the loss path and the evaluation schedule (with dropout,
an evaluation moves the random state). Soft: device, builds, threads, micro-batch, the rate's scale after a rollback:
with another of these the run goes on, but no longer bit for bit.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .device import Device, Precision, versions
from .errors import RunnerError
from .spec import RunSpec

Fingerprint = dict[str, dict[str, Any]]

# Goes up with every change of this package after which a step brings other digits. 2: fused LoRA layers, a frozen head.
_NUMERICS = 2


def of(
    spec: RunSpec, *, model_identity: str, loss_path: str, device: Device, precision: Precision, threads: int
) -> Fingerprint:
    """The fingerprint of a run, {"hard": {…}, "soft": {…}}, of plain JSON values."""
    assert spec.training is not None and spec.dataset is not None
    recipe = asdict(spec.training)
    micro_batch, accumulation = recipe.pop("batch_size"), recipe.pop("gradient_accumulation_steps")
    scale = recipe.pop("learning_rate_scale")
    # Saving, recomputing activations and forcing a loss path change no result; the path taken stands by itself.
    for name in ("checkpoint", "gradient_checkpointing", "stock_loss"):
        recipe.pop(name)
    if spec.training.method == "full":
        recipe.pop("lora")
    evaluates = spec.training.eval_every_steps > 0
    hard = {
        "model": {"source": spec.model.source, "revision": spec.model.revision, "identity": model_identity},
        "data": {
            "format": spec.dataset.format,
            "train": spec.dataset.train.sha256,
            "eval": spec.dataset.eval.sha256 if evaluates else "",
        },
        "recipe": {**recipe, "effective_batch": micro_batch * accumulation},
        "loss_path": loss_path,
    }
    if spec.adapter is not None:
        hard["start"] = {file.path: file.sha256 for file in spec.adapter.files}
    soft = {
        "device": device.kind,
        "device_name": device.name,
        "precision": precision.name,
        "threads": threads,
        "micro_batch": micro_batch,
        "learning_rate_scale": scale or 1.0,
        "versions": {**versions(), "numerics": _NUMERICS},
    }
    return {"hard": hard, "soft": soft}


def compare(saved: Fingerprint, current: Fingerprint) -> list[str]:
    """The soft differences, each "name: was → is". Raises RunnerError fingerprint_mismatch for a hard one."""
    hard = _differences(saved.get("hard", {}), current["hard"])
    if hard:
        raise RunnerError(
            "fingerprint_mismatch",
            "the checkpoint belongs to another run: " + "; ".join(hard),
            remedy="resume with the configuration, model and data it was made with, or start afresh",
        )
    return _differences(saved.get("soft", {}), current["soft"])


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if old == new else [f"{name}: {old} → {new}"]

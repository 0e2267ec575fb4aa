"""A rehearsal of all that a training does, before it begins: what would stop it later should stop it now.

Two real optimizer steps on the longest rows, the longest held-out rows, a save, the reload of what was saved, and a
step from it that must equal the same step without the save: will it fit, how long is a step, is there room to save,
does a resume find what was left. It must leave no trace: weights, gradients, random state and mode are as before,
which the exactness tests prove.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from . import checkpoint, wording
from .encoding import EncodeStats
from .errors import RunnerError
from .events import Line
from .trainer import RunTrainer, non_finite, peak_memory_bytes, save_weights

# One step this slow tells enough.
_SLOW_SECONDS = 20.0
# fp32 weights and AdamW's two moments.
_BYTES_PER_PARAMETER = 12
_KEPT_AT_ONCE = 5  # the last two, best, final, and the one being written
_SMALL_FILES = 8 << 20  # tokenizer and configuration, a folder
# Saving and loading more than this takes a while: it is rehearsed where the training takes a good while longer.
_MUCH_TO_SAVE = 256 << 20
_LONG_SECONDS = 600.0
# What warns: hardly anything to learn, memory nearly used up.
_FEW_LABELLED, _TIGHT = 0.01, 0.9
_ACCEPTED = "preflight.json"


@dataclass(frozen=True)
class Rehearsal:
    """What was found. checkpoint_bytes is None where saving was not rehearsed; seconds are those of all of it."""

    seconds_per_step: float
    memory_peak_bytes: int
    memory_total_bytes: int
    checkpoint_bytes: int | None
    seconds: float


def rehearse(trainer: RunTrainer, total_steps: int) -> Rehearsal:
    """Rehearses with an optimizer to throw away, and undoes it. Raises RunnerError for what would stop the training."""
    began = time.perf_counter()
    model, accumulation = trainer.model, trainer.args.gradient_accumulation_steps
    batch = _batch(trainer, trainer.train_dataset, trainer.args.per_device_train_batch_size, longest=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    with _undone(model, trained), _untrained():
        optimizer = torch.optim.AdamW(trained, lr=1e-6)
        seconds = _step(trainer, batch, optimizer)
        if seconds * accumulation <= _SLOW_SECONDS:
            seconds = _step(trainer, batch, optimizer)  # the first pays for kernels and allocations
        _evaluate(trainer)
        size = None
        if _bytes_to_save(trained) <= _MUCH_TO_SAVE or seconds * accumulation * total_steps >= _LONG_SECONDS:
            size = _save_and_resume(trainer, trained, optimizer)
    return Rehearsal(
        seconds * accumulation, peak_memory_bytes(), _memory_total(), size, round(time.perf_counter() - began, 3)
    )


def disk_needed(trainer: RunTrainer, total_steps: int, checkpoint_bytes: int | None = None) -> int:
    """Bytes that the checkpoints kept at once and the final artifact take; by a checkpoint's size where it is known."""
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    policy = trainer.control_of_run.policy
    often = policy.every_seconds > 0 or (policy.every_steps and total_steps > policy.every_steps)
    one = checkpoint_bytes or _BYTES_PER_PARAMETER * trained + _SMALL_FILES
    return (_KEPT_AT_ONCE if often else 2) * one + 4 * trained + _SMALL_FILES


def require_disk(folder: Path, needed: int) -> int:
    """The free bytes where the checkpoints go. Raises RunnerError disk_full if they are fewer than needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunnerError(
            "disk_full",
            f"checkpoints need {wording.size(needed)} and {folder} has {wording.size(free)} free",
            remedy=f"free {wording.size(needed - free)}, or move the data folder",
        )
    return free


def doubts(stats: EncodeStats, found: Rehearsal, predicted_memory: int = 0) -> list[Line]:
    """What need not stop a training, and that a user would want to know before it.

    predicted_memory: the most bytes that the recommender expected, 0 if it does not know.
    """
    lines = []
    if stats.labelled_tokens < _FEW_LABELLED * stats.tokens:
        share = stats.labelled_tokens / stats.tokens
        lines.append(f"Only {share:.2%} of the tokens are learned: the answers are tiny beside what they answer.")
    if stats.whole and not stats.ended:
        lines.append(
            "No row ends with a token that says so, so the model does not learn to stop: its answers may go on to the "
            "limit. Use a model whose chat template marks the end of a turn."
        )
    if found.memory_peak_bytes > predicted_memory > 0:
        lines.append(
            f"Memory peaks at {wording.size(found.memory_peak_bytes)}, more than the {wording.size(predicted_memory)} "
            "that were predicted at most: other things on this machine may have less room than planned."
        )
    if found.memory_peak_bytes > _TIGHT * found.memory_total_bytes:
        lines.append(
            f"Memory is tight: {wording.size(found.memory_peak_bytes)} of {wording.size(found.memory_total_bytes)}. "
            "Where it falls short, the training goes on with a smaller micro-batch; a smaller max_length would "
            "spare it that."
        )
    return [Line(text, "warn") for text in lines]


def accepted(folder: Path, fingerprint: dict[str, Any]) -> bool:
    """Whether an earlier launch of the same run has rehearsed here, and was content."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / _ACCEPTED).read_text(encoding="utf-8")) == fingerprint
    return False


def accept(folder: Path, fingerprint: dict[str, Any]) -> None:
    """Remembers that the rehearsal passed, for a launch that finds no checkpoint yet."""
    checkpoint.write_atomically(folder / _ACCEPTED, json.dumps(fingerprint).encode())


def _batch(trainer: RunTrainer, dataset: Any, rows: int, *, longest: bool) -> dict[str, Any]:
    order = sorted(range(len(dataset)), key=lambda i: len(dataset[i]["input_ids"]), reverse=longest)
    batch = trainer.data_collator([dataset[i] for i in order[:rows]])
    batch.pop("rows")
    return batch


def _evaluate(trainer: RunTrainer) -> None:
    """The longest held-out rows, as the held-out loss measures them."""
    if trainer.eval_dataset is None:
        return
    batch = _batch(trainer, trainer.eval_dataset, trainer.args.per_device_eval_batch_size, longest=True)
    one = torch.tensor(1, device=trainer.args.device)
    trainer.model.eval()
    with torch.no_grad(), trainer.autocast():
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch), num_items_in_batch=one).item()
    trainer._metrics["eval"].clear()
    if not math.isfinite(loss):
        raise non_finite(f"the loss on held-out rows is {loss}")


def _save_and_resume(trainer: RunTrainer, trained: list[torch.nn.Parameter], optimizer: torch.optim.AdamW) -> int:
    """Saves, takes a cheap step, goes back to what was saved, and takes it again: both must come to the same.

    Returns the bytes of the save.
    """
    folder = checkpoint.begin(trainer.control_of_run.checkpoints, "preflight")
    try:
        save_weights(trainer.model, trainer.processing_class, folder)
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        batch, drawn = _batch(trainer, trainer.train_dataset, 1, longest=False), _drawn()
        _step(trainer, batch, optimizer)
        once = [p.detach().to("cpu", copy=True) for p in trained]
        trainer.load_weights(folder)
        again = torch.optim.AdamW(trained, lr=1e-6)
        again.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        _draw_again(drawn)
        _step(trainer, batch, again)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # A GPU's kernels may add in another order; what is lost in a save is more than that.
    alike = torch.equal if trainer.args.device.type == "cpu" else functools.partial(torch.allclose, equal_nan=True)
    if not all(alike(a, p.detach().cpu()) for a, p in zip(once, trained, strict=True)):
        raise RunnerError(
            "environment_broken",
            "a step after a resume is not the step that it should be: what is saved does not come back as it was",
            remedy="delete the environment's folder, which is built again at the next start, and report it",
        )
    return size


def _bytes_to_save(trained: list[torch.nn.Parameter]) -> int:
    return _BYTES_PER_PARAMETER * sum(p.numel() for p in trained)


def _memory_total() -> int:
    if torch.cuda.is_initialized():
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return psutil.virtual_memory().total


def _drawn() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _draw_again(drawn: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(drawn[0])
    if drawn[1]:
        torch.cuda.set_rng_state_all(drawn[1])


@contextlib.contextmanager
def _untrained() -> Iterator[None]:
    """A loss that is not finite on the weights as they come no lower rate will mend."""
    try:
        yield
    except RunnerError as error:
        if error.code != "non_finite_loss":
            raise
        raise RunnerError(
            "non_finite_loss",
            "the loss is not finite before anything has been trained",
            field="model",
            remedy="use precision fp32 (or bf16), or another base model: its weights may be damaged",
            detail=error.message,
        ) from error


def _step(trainer: RunTrainer, batch: dict[str, Any], optimizer: torch.optim.Optimizer) -> float:
    began = time.perf_counter()
    trainer.model.train()
    with trainer.autocast():
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(dict(batch)))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - began


@contextlib.contextmanager
def _undone(model: torch.nn.Module, trained: list[torch.nn.Parameter]) -> Iterator[None]:
    training, before = model.training, [p.detach().to("cpu", copy=True) for p in trained]
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        with torch.no_grad():
            for parameter, saved in zip(trained, before, strict=True):
                parameter.copy_(saved)
                parameter.grad = None
        model.train(training)

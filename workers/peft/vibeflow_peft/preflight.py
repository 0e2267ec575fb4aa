"""Two real optimizer steps on the longest rows before training: will it fit, how long is a step, is there room to save.

It must leave no trace: weights, gradients, random state and mode are as before, which the exactness tests prove.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import RunnerError
from .trainer import RunTrainer, peak_memory_bytes

# One step this slow tells enough.
_SLOW_SECONDS = 20.0
# fp32 weights and AdamW's two moments.
_BYTES_PER_PARAMETER = 12
_KEPT_AT_ONCE = 5  # the last two, best, final, and the one being written
_SMALL_FILES = 8 << 20  # tokenizer and configuration, a folder


@dataclass(frozen=True)
class Rehearsal:
    """What the two steps found."""

    seconds_per_step: float
    memory_peak_bytes: int


def rehearse(trainer: RunTrainer) -> Rehearsal:
    """Trains twice on the longest micro-batch with an optimizer to throw away, and undoes it."""
    model, accumulation = trainer.model, trainer.args.gradient_accumulation_steps
    dataset = trainer.train_dataset
    longest = sorted(range(len(dataset)), key=lambda i: -len(dataset[i]["input_ids"]))
    batch = trainer.data_collator([dataset[i] for i in longest[: trainer.args.per_device_train_batch_size]])
    batch.pop("rows")
    trained = [p for p in model.parameters() if p.requires_grad]
    with _undone(model, trained):
        optimizer = torch.optim.AdamW(trained, lr=1e-6)
        seconds = _first_step(trainer, batch, optimizer)
        if seconds * accumulation <= _SLOW_SECONDS:
            seconds = _step(trainer, batch, optimizer)  # the first pays for kernels and allocations
    return Rehearsal(seconds * accumulation, peak_memory_bytes())


def disk_needed(trainer: RunTrainer, total_steps: int) -> int:
    """Bytes that the checkpoints kept at once and the final artifact take."""
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    policy = trainer.control_of_run.policy
    often = policy.every_seconds > 0 or (policy.every_steps and total_steps > policy.every_steps)
    folders = _KEPT_AT_ONCE if often else 2
    return folders * (_BYTES_PER_PARAMETER * trained + _SMALL_FILES) + 4 * trained + _SMALL_FILES


def require_disk(folder: Path, needed: int) -> int:
    """The free bytes where the checkpoints go. Raises RunnerError disk_full if they are fewer than needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunnerError(
            "disk_full",
            f"checkpoints need {_size(needed)} and {folder} has {_size(free)} free",
            remedy=f"free {_size(needed - free)}, or move the data folder",
        )
    return free


def _first_step(trainer: RunTrainer, batch: dict[str, Any], optimizer: torch.optim.Optimizer) -> float:
    """A step on the weights as they come: a loss that is not finite here no lower rate will mend."""
    try:
        return _step(trainer, batch, optimizer)
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


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"

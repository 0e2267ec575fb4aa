"""TRL's SFTTrainer, taught to report every step, to stop between two, and to save folders that are whole.

Exactness rests on what is not touched here: the order of samples comes from accelerate's seeded sampler (seed + epoch),
and a resume restores weights, optimizer, schedule and random state before the first forward. Evaluation here draws no
random number, so that it cannot move the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from . import checkpoint, pace, wording
from .device import Precision
from .errors import RunnerError
from .events import EventWriter, Progress
from .lease import Lease
from .loss import IGNORED, LabelledLoss
from .pace import Batches, Course, Outlook
from .pulse import HELD_OUT_BATCH, STEP, Pulse
from .spec import CheckpointPolicy
from .stop import SUPERSEDED, StopRequest

HELD_OUT = "held_out_loss"
"""The phase that progress events name while the held-out loss is measured."""

_TOTALS = "totals.json"
# fp16's scaler starts too high and skips a few steps by design; this many in a row is divergence.
_SKIPPED_LIMIT = 25


@dataclass
class Totals:
    """Sums over the whole run, carried through checkpoints."""

    loss: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    last_loss: float | None = None
    last_eval_loss: float | None = None


@dataclass
class Control:
    """What a trainer needs of the run around it."""

    events: EventWriter
    stop: StopRequest
    lease: Lease | None
    checkpoints: Path
    policy: CheckpointPolicy
    precision: Precision
    fingerprint: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.0
    pulse: Pulse = field(default_factory=lambda: Pulse(None))


class Collator:
    """Pads encoded rows on the right, to a multiple of 8 so that the CPU's kernels see few shapes."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """input_ids, labels and attention_mask as int64 [rows, positions], and the rows' numbers as a list."""
        width = -(-max(len(row["input_ids"]) for row in rows) // 8) * 8
        ids = np.full((len(rows), width), self._pad_id, dtype=np.int64)
        labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids[i, :n], labels[i, :n], mask[i, :n] = row["input_ids"], row["labels"], 1
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "attention_mask": torch.from_numpy(mask),
            "rows": [int(row["row"]) for row in rows],
        }


class RunTrainer(SFTTrainer):
    """The trainer of one run. `control` is set by the caller right after construction, `labelled` by the proof."""

    control_of_run: Control
    labelled: LabelledLoss | None = None
    totals: Totals
    best: tuple[float, int] | None = None  # evaluation loss and step
    saved: str = ""  # name of the checkpoint saved last

    def attach(self, control: Control) -> None:
        """Connects the trainer with the run around it."""
        self.control_of_run, self.totals = control, Totals()
        self._skipped, self._step_rows, self._step_tokens = 0, [], 0
        held_out = _tokens(self.eval_dataset) if self.eval_dataset is not None else 0
        self.outlook = Outlook(Course(self.args.max_steps, int(self.args.eval_steps or 0), held_out))
        # Both losses divide by the labelled tokens of the whole accumulated batch.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)
        self.add_callback(_Between(self))

    # -- a step --------------------------------------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of one optimizer step, and how many labelled tokens they have together."""
        self._step_began = time.perf_counter()
        self.control_of_run.pulse.begins(STEP)
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._step_rows = [row for batch in batches for row in batch.pop("rows")]
        self._step_tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        items = sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches)
        return batches, torch.tensor(max(items, 1), device=device)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The labelled-positions loss where it is proven, TRL's otherwise. Refuses to go on from a non-finite one."""
        if self.labelled is None:
            loss = super().compute_loss(model, inputs, return_outputs=False, num_items_in_batch=num_items_in_batch)
        else:
            with self.autocast():  # accelerate's wraps model.forward, which is not called here
                loss = self.labelled(inputs, num_items_in_batch)
        if self.model.training and not bool(torch.isfinite(loss)):
            raise non_finite(f"the loss became {loss.item()} after step {self.state.global_step}")
        return (loss, None) if return_outputs else loss

    @property
    def step_seconds(self) -> float:
        """How long the step under way has taken."""
        return time.perf_counter() - self._step_began

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The run's mixed precision."""
        name = self.control_of_run.precision.autocast
        return torch.autocast(self.args.device.type, dtype=getattr(torch, name or "bfloat16"), enabled=name is not None)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        finite = math.isfinite(float(norm))
        self._skipped = 0 if finite else self._skipped + 1
        # Called before the optimizer's step: a poisoned gradient never reaches weights or a checkpoint.
        if not finite and (not self.control_of_run.precision.scaled or self._skipped >= _SKIPPED_LIMIT):
            raise non_finite(f"the gradient's norm became {float(norm)} after step {self.state.global_step}")
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One metrics event a step. Keeps no history of its own: the event file is it."""
        self._metrics["train"].clear()
        if "loss" not in logs:  # the summary that transformers logs at the end
            return
        seconds = self.step_seconds
        self.totals.loss += logs["loss"]
        self.totals.last_loss = logs["loss"]
        self.totals.tokens += self._step_tokens
        self.totals.seconds += seconds
        self.outlook.stepped(seconds, self._step_tokens)
        rows = ",".join(map(str, self._step_rows)).encode()
        self.control_of_run.events.emit(
            "metrics",
            step=self.state.global_step,
            epoch=self.state.epoch,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=float(logs["grad_norm"]),
            tokens=self._step_tokens,
            tokens_per_second=round(self._step_tokens / max(seconds, 1e-9), 2),
            seconds=round(seconds, 6),
            **pace.fields(self.outlook.after(self.state.global_step)),
            memory_bytes=memory_bytes(),
            samples=hashlib.sha256(rows).hexdigest()[:16],
        )
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    # -- evaluation ----------------------------------------------------------------------------------------------------

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict:
        """The mean negative log-likelihood of a labelled token over the held-out rows, as eval_loss.

        Raises Stopped if the run is asked to stop and this step is saved: the next launch does the rest.
        """
        began, step, events = time.perf_counter(), self.state.global_step, self.control_of_run.events
        loss = self.totals.last_eval_loss = self._held_out_loss()
        seconds = time.perf_counter() - began
        self.outlook.evaluated(seconds)
        events.emit("eval_metrics", step=step, eval_loss=loss)
        events.log(wording.held_out(step=step, loss=loss, rows_=len(self.eval_dataset), seconds=seconds))
        if self.best is None or loss < self.best[0]:
            self.best = (loss, step)
        metrics = {"eval_loss": loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _held_out_loss(self) -> float:
        total, items = 0.0, 0
        self.model.eval()
        with torch.no_grad(), self.autocast():
            for rows in self._held_out_batches():
                with self.control_of_run.pulse.watching(HELD_OUT_BATCH):
                    loss, labelled = self._held_out_batch(rows)
                total, items = total + loss, items + labelled
        self.model.train()
        self._metrics["eval"].clear()
        return total / max(items, 1)

    def _held_out_batch(self, rows: list[dict[str, Any]]) -> tuple[float, int]:
        """A batch's summed negative log-likelihood, and how many labelled tokens it is over."""
        batch = self.data_collator(rows)
        batch.pop("rows")
        labelled = int((batch["labels"][:, 1:] != IGNORED).sum())
        one = torch.tensor(1, device=self.args.device)
        loss = self.compute_loss(self.model, self._prepare_inputs(batch), num_items_in_batch=one)
        return loss.item(), labelled

    def _held_out_batches(self) -> Iterator[list[dict[str, Any]]]:
        """The held-out rows by length, a batch at a time; between two it tells how far it is, and may stop."""
        run, dataset, step = self.control_of_run, self.eval_dataset, self.state.global_step
        order = sorted(range(len(dataset)), key=lambda i: len(dataset[i]["input_ids"]))
        size, saved = self.args.per_device_eval_batch_size, self.saved == checkpoint.name_of(step)
        progress = Progress(run.events, HELD_OUT, len(order))
        batches = Batches(math.ceil(len(order) / size), _tokens(dataset))
        for start in range(0, len(order), size):
            if saved:
                run.stop.check()
            progress.at(start, **pace.fields(self.outlook.while_evaluating(step, batches)))
            began, rows = time.perf_counter(), [dataset[i] for i in order[start : start + size]]
            yield rows
            batches.took(time.perf_counter() - began, _tokens(rows))
        progress.at(len(order), **pace.fields(self.outlook.while_evaluating(step, batches)))

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        began = time.perf_counter()
        step, run = self.state.global_step, self.control_of_run
        folder = checkpoint.begin(run.checkpoints, checkpoint.name_of(step))
        try:
            save_weights(self.model, self.processing_class, folder)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(str(folder / "trainer_state.json"))
            (folder / _TOTALS).write_text(json.dumps({"totals": asdict(self.totals), "best": self.best}))
            mark = checkpoint.Mark(
                "checkpoint",
                step,
                run.fingerprint,
                final=step >= self.state.max_steps,
                best=self.best is not None and self.best[1] == step,
            )
            manifest = checkpoint.seal(folder, mark)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.saved = manifest["name"]
        size, seconds = sum(f["size"] for f in manifest["files"]), time.perf_counter() - began
        self.outlook.saved(seconds)
        run.events.emit("checkpoint", step=step, name=self.saved, bytes=size, seconds=round(seconds, 3))
        run.events.log(
            wording.checkpoint(
                step=step, name=self.saved, bytes_=size, seconds=seconds, best=manifest.get("best", False)
            )
        )
        checkpoint.prune(run.checkpoints, keep=[self.saved])

    def restore_totals(self, folder: Path) -> None:
        """Takes the run's sums from a checkpoint."""
        saved = json.loads((folder / _TOTALS).read_text(encoding="utf-8"))
        self.totals = Totals(**saved["totals"])
        self.best = tuple(saved["best"]) if saved["best"] else None
        self.saved = folder.name

    def load_weights(self, folder: Path) -> None:
        """Takes the weights alone from a checkpoint: what is left to do of a run whose last step was saved."""
        self._load_from_checkpoint(str(folder))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.lr_scheduler is None:
            return
        # The saved schedule carries the rate it was made with; after a rollback the spec asks for a lower one.
        wanted, scheduler = self.control_of_run.learning_rate, self.lr_scheduler
        scheduler.base_lrs = [wanted] * len(scheduler.base_lrs)
        scheduler._last_lr = [wanted * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
        for group, rate in zip(self.optimizer.param_groups, scheduler._last_lr, strict=True):
            group["initial_lr"], group["lr"] = wanted, rate


class _Between(TrainerCallback):
    """What happens between two steps: look at lease and signals, and decide on saving."""

    def __init__(self, trainer: RunTrainer) -> None:
        self._trainer, self._saved_at = trainer, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        run = self._trainer.control_of_run
        run.pulse.ends()
        if run.lease is not None:
            run.lease.check()
        if run.stop.reason == SUPERSEDED:  # somebody else's run now: leave no trace
            control.should_training_stop, control.should_save, control.should_evaluate = True, False, False
            return control
        every = run.policy.every_steps
        overdue = 0 < run.policy.every_seconds <= time.monotonic() - self._saved_at
        if overdue or (every and state.global_step % every == 0) or state.global_step >= state.max_steps:
            control.should_save = True
        if run.stop.reason is not None:
            control.should_save = control.should_training_stop = True
        return control

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        best = self._trainer.best
        if best is not None and best[1] == state.global_step and state.global_step < state.max_steps:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._saved_at = time.monotonic()
        return control


def save_weights(model: Any, tokenizer: Any, folder: Path) -> None:
    """The trained weights with what is needed to use them: configuration, tokenizer and chat template."""
    if isinstance(model, PeftModel):
        # "auto" would ask the Hub whether the vocabulary changed; it never does here.
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's template of a model card
        config = folder / "adapter_config.json"
        config.write_text(json.dumps(_settled(json.loads(config.read_text())), indent=2, sort_keys=True))
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def memory_bytes() -> int:
    """Memory in use: the GPU's reserved by this process, else the resident set."""
    return torch.cuda.memory_reserved() if torch.cuda.is_initialized() else psutil.Process().memory_info().rss


def peak_memory_bytes() -> int:
    """The most memory that was in use at once."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved()
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _tokens(rows: Iterable[dict[str, Any]]) -> int:
    return sum(len(row["input_ids"]) for row in rows)


def _settled(config: dict[str, Any]) -> dict[str, Any]:
    """PEFT keeps sets, whose order differs from process to process; the same run must write the same file."""
    return {
        key: sorted(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value
        for key, value in config.items()
    }


def non_finite(message: str) -> RunnerError:
    """The failure after which a run goes back to its last checkpoint, with a lower rate."""
    return RunnerError(
        "non_finite_loss", message, remedy="use a lower learning_rate or a longer warm-up, and look for odd rows"
    )

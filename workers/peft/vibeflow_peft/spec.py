"""The runner's input: dataclasses that mirror contract/run.go, read strictly.

Every refusal names the field at fault ("training.lora.r"). A field that the contract does not have is refused too:
silence would turn a misspelt setting into a default. tests/test_contract.py compares the two languages field by field.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import RunnerError

SPEC_VERSION = 1
_SPEC_LIMIT = 16 << 20


@dataclass(frozen=True)
class FileInfo:
    """One file of a folder, by its path relative to it."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Input:
    """Content that the worker fetched before the launch."""

    path: str = ""
    sha256: str = ""
    size: int = 0
    files: list[FileInfo] = field(default_factory=list)
    method: str = ""


@dataclass(frozen=True)
class ModelRef:
    """The base model: "bundled:…", "tiny:…", "hub:<owner>/<name>", "path:<folder>" or "upload:<model id>".

    path is the folder that holds an upload's files.
    """

    source: str
    revision: str = ""
    token: str = field(default="", repr=False)
    files: list[FileInfo] = field(default_factory=list)
    path: str = ""


@dataclass(frozen=True)
class DatasetRef:
    """Canonical JSONL, one split a file; format is "chat", "prompt_completion" or "text"."""

    format: str
    train: Input
    id: str = ""
    eval: Input = field(default_factory=Input)


@dataclass(frozen=True)
class LoRA:
    """The adapter: rank, alpha, dropout, and "all-linear" or a comma-separated list of modules."""

    r: int = 16
    alpha: int = 16
    dropout: float = 0.0
    target_modules: str = "all-linear"
    rslora: bool = False


@dataclass(frozen=True)
class CheckpointPolicy:
    """When to save; whichever comes first, 0 for never."""

    every_steps: int = 0
    every_seconds: int = 0


@dataclass(frozen=True)
class Training:
    """The resolved configuration of a fine-tune."""

    method: str
    epochs: float = 1.0
    max_steps: int = 0
    learning_rate: float = 2e-4
    scheduler: str = "cosine"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    batch_size: int = 1
    gradient_accumulation_steps: int = 1
    max_length: int = 512
    completion_only: bool = True
    gradient_checkpointing: bool = False
    precision: str = "auto"
    seed: int = 42
    lora: LoRA = field(default_factory=LoRA)
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    eval_every_steps: int = 0
    stock_loss: bool = False
    learning_rate_scale: float = 0.0


@dataclass(frozen=True)
class Evaluation:
    """How an evaluation is run."""

    max_rows: int = 0
    max_generations: int = 0
    max_new_tokens: int = 128
    max_length: int = 512
    batch_size: int = 8
    seed: int = 42
    precision: str = "auto"


@dataclass(frozen=True)
class ExportSpec:
    """What an export makes: "adapter" or "merged", and the model card to put beside the weights."""

    format: str
    card: str = ""


@dataclass(frozen=True)
class RunSpec:
    """spec.json; see contract.RunSpec for what each path means."""

    version: int
    verb: str
    run_id: str
    epoch: int
    model: ModelRef
    output_dir: str
    models_dir: str = ""
    adapter: Input | None = None
    dataset: DatasetRef | None = None
    training: Training | None = None
    evaluate: Evaluation | None = None
    export: ExportSpec | None = None
    checkpoints_dir: str = ""
    resume_from: str = ""
    lease_file: str = ""
    lease_seconds: int = 600
    threads: int = 0
    predicted_memory: int = 0
    device: str = "auto"


def load(path: Path) -> RunSpec:
    """Reads and validates spec.json. Raises RunnerError invalid_config that names the field."""
    try:
        if path.stat().st_size > _SPEC_LIMIT:
            raise _invalid("", f"{path.name} is larger than {_SPEC_LIMIT >> 20} MiB")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid("", f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _invalid("", f"{path} is not valid JSON: {error}") from error
    return parse(raw)


def parse(raw: Any) -> RunSpec:
    """The validated RunSpec of decoded JSON."""
    spec = _decode(RunSpec, raw, "")
    if spec.version != SPEC_VERSION:
        raise _invalid("version", f"is {spec.version}; this runner reads version {SPEC_VERSION}")
    _one_of("verb", spec.verb, ("train", "evaluate", "export"))
    _one_of("device", spec.device, ("auto", "cpu", "cuda"))
    _require("run_id", spec.run_id)
    _require("model.source", spec.model.source)
    _absolute("output_dir", spec.output_dir)
    _at_least("epoch", spec.epoch, 0)
    _at_least("threads", spec.threads, 0)
    if spec.lease_file:
        _absolute("lease_file", spec.lease_file)
        _at_least("lease_seconds", spec.lease_seconds, 1)
    {"train": _check_train, "evaluate": _check_evaluate, "export": _check_export}[spec.verb](spec)
    return spec


def _check_train(spec: RunSpec) -> None:
    if spec.training is None:
        raise _invalid("training", "is missing")
    if spec.dataset is None:
        raise _invalid("dataset", "is missing")
    _absolute("checkpoints_dir", spec.checkpoints_dir)
    if spec.resume_from:
        _absolute("resume_from", spec.resume_from)
    _check_dataset(spec.dataset)
    _absolute("dataset.train.path", spec.dataset.train.path)
    _check_recipe(spec.training)
    _check_start(spec, spec.training)


def _check_start(spec: RunSpec, training: Training) -> None:
    """Training goes on from tuned weights by the way they were made: no adapter on a whole model, or the other way."""
    _check_adapter(spec, required=False)
    if spec.adapter is not None and (spec.adapter.method == "full") != (training.method == "full"):
        made = "full fine-tuning" if spec.adapter.method == "full" else "LoRA"
        raise _invalid("training.method", f"is {training.method!r}, and the model to go on from was made by {made}")


def _check_recipe(t: Training) -> None:
    _one_of("training.method", t.method, ("lora", "qlora", "full"))
    _one_of("training.scheduler", t.scheduler, ("cosine", "linear", "constant"))
    _one_of("training.precision", t.precision, ("auto", "fp32", "bf16", "fp16"))
    _in_range("training.learning_rate", t.learning_rate, 0, 1, open_low=True)
    _in_range("training.learning_rate_scale", t.learning_rate_scale, 0, 1)
    _in_range("training.warmup_ratio", t.warmup_ratio, 0, 1)
    _in_range("training.weight_decay", t.weight_decay, 0, 10)
    _in_range("training.max_grad_norm", t.max_grad_norm, 0, 1e6)
    _at_least("training.max_steps", t.max_steps, 0)
    _in_range("training.epochs", t.epochs, 0, 10_000, open_low=t.max_steps == 0)
    _at_least("training.batch_size", t.batch_size, 1)
    _at_least("training.gradient_accumulation_steps", t.gradient_accumulation_steps, 1)
    _at_least("training.max_length", t.max_length, 8)
    _at_least("training.eval_every_steps", t.eval_every_steps, 0)
    _at_least("training.checkpoint.every_steps", t.checkpoint.every_steps, 0)
    _at_least("training.checkpoint.every_seconds", t.checkpoint.every_seconds, 0)
    _in_range("training.seed", t.seed, 0, 2**32 - 1)
    if t.method != "full":
        _in_range("training.lora.r", t.lora.r, 1, 1024)
        _at_least("training.lora.alpha", t.lora.alpha, 1)
        _in_range("training.lora.dropout", t.lora.dropout, 0, 0.9)
        _require("training.lora.target_modules", t.lora.target_modules)


def _check_dataset(dataset: DatasetRef) -> None:
    _one_of("dataset.format", dataset.format, ("chat", "prompt_completion", "text"))


def _check_evaluate(spec: RunSpec) -> None:
    if spec.evaluate is None:
        raise _invalid("evaluate", "is missing")
    if spec.dataset is None:
        raise _invalid("dataset", "is missing")
    _check_dataset(spec.dataset)
    _absolute("dataset.eval.path", spec.dataset.eval.path)
    _one_of("evaluate.precision", spec.evaluate.precision, ("auto", "fp32", "bf16", "fp16"))
    _at_least("evaluate.max_rows", spec.evaluate.max_rows, 0)
    _at_least("evaluate.max_generations", spec.evaluate.max_generations, 0)
    _at_least("evaluate.batch_size", spec.evaluate.batch_size, 1)
    _at_least("evaluate.max_length", spec.evaluate.max_length, 8)
    _check_adapter(spec, required=False)


def _check_export(spec: RunSpec) -> None:
    if spec.export is None:
        raise _invalid("export", "is missing")
    _one_of("export.format", spec.export.format, ("adapter", "merged"))
    _check_adapter(spec, required=True)


def _check_adapter(spec: RunSpec, *, required: bool) -> None:
    if spec.adapter is None:
        if required:
            raise _invalid("adapter", "is missing")
        return
    _absolute("adapter.path", spec.adapter.path)
    _one_of("adapter.method", spec.adapter.method, ("lora", "full"))


def _decode(kind: type, raw: Any, path: str) -> Any:
    if not isinstance(raw, dict):
        raise _invalid(path, "must be an object")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    for name in raw:
        if name not in known:
            raise _invalid(_join(path, name), "is not a field that this runner knows")
    values = {}
    for name, declared in known.items():
        if raw.get(name) is not None:
            values[name] = _value(hints[name], raw[name], _join(path, name))
        elif declared.default is dataclasses.MISSING and declared.default_factory is dataclasses.MISSING:
            raise _invalid(_join(path, name), "is missing")
    return kind(**values)


def _value(hint: Any, raw: Any, path: str) -> Any:
    if isinstance(hint, types.UnionType):  # X | None
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    if dataclasses.is_dataclass(hint):
        return _decode(hint, raw, path)
    if typing.get_origin(hint) is list:
        if not isinstance(raw, list):
            raise _invalid(path, "must be a list")
        (item,) = typing.get_args(hint)
        return [_value(item, entry, f"{path}[{i}]") for i, entry in enumerate(raw)]
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    # bool is a subclass of int in Python; in a spec they are different things.
    if not isinstance(raw, hint) or (hint is int and isinstance(raw, bool)):
        raise _invalid(path, f"must be a {_NAMES[hint]}, not {json.dumps(raw)[:60]}")
    return raw


_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _invalid(field_name: str, why: str) -> RunnerError:
    message = f"{field_name} {why}" if field_name else why
    return RunnerError("invalid_config", message, field=field_name, remedy="correct the run's configuration")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _invalid(name, f"is {value!r}; it must be one of {', '.join(allowed)}")


def _require(name: str, value: str) -> None:
    if not value:
        raise _invalid(name, "is empty")


def _absolute(name: str, value: str) -> None:
    _require(name, value)
    if not Path(value).is_absolute():
        raise _invalid(name, "must be an absolute path")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise _invalid(name, f"is {value}; it must be at least {low}")


def _in_range(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    if not math.isfinite(value) or value < low or value > high or (open_low and value == low):
        raise _invalid(name, f"is {value}; it must be {'above' if open_low else 'at least'} {low} and at most {high}")

"""The verb train: a spec becomes a tuned model, through any number of interruptions.

The story: choose device and precision, load the model, encode the data, prove the loss, rehearse, train, save. A run
that resumes takes the same way up to the training itself, and continues there from the checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_began = time.perf_counter()

# ruff: noqa: E402  (the imports are timed: they are most of a cold start)
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import set_seed
from trl import SFTConfig

from . import adapters, attention, checkpoint, device, fingerprint, lora, loss, models, patience, preflight, wording
from .device import Device, Precision
from .encoding import EncodedDataset, EncodeStats, encode_rows
from .errors import RunnerError, classify
from .run import Ending, Failed, Run
from .spec import RunSpec, Training
from .stop import SUPERSEDED, Stopped
from .trainer import Collator, Control, RunTrainer, memory_bytes, peak_memory_bytes, save_weights

IMPORT_SECONDS = time.perf_counter() - _began

_PARITY_PROMPT = "What can you help me with?"
_PARITY_TOP = 8


@dataclass
class _Setup:
    """What is ready before the first step."""

    device: Device
    precision: Precision
    threads: int
    resolved: models.ResolvedModel
    trainer: RunTrainer
    stats: EncodeStats  # of the training rows
    total_steps: int
    steps_per_epoch: int
    timings: dict[str, float]


def train(run: Run) -> Ending:
    """Trains until finished or stopped. Raises Failed, RunnerError or what the libraries raise."""
    transformers.utils.logging.disable_progress_bar()
    resume = Path(run.spec.resume_from) if run.spec.resume_from else None
    try:
        setup = _prepare(run, resume)
        run.stop.check()
    except Stopped as stopped:  # nothing new to save: the next launch starts where this one would have
        return Ending(
            stopped.reason, step=checkpoint.step_of(resume) if resume else 0, checkpoint=resume.name if resume else ""
        )
    try:
        return _train(run, setup, resume)
    except Exception as error:  # how far it came belongs to the result
        raise Failed(_ending(setup, "failed")) from error


# -- before the first step --------------------------------------------------------------------------------------------


def _prepare(run: Run, resume: Path | None) -> _Setup:
    setup = _set_up(run)
    trainer = setup.trainer
    path = _choose_loss(run, trainer)
    prints = fingerprint.of(
        run.spec,
        model_identity=setup.resolved.sha256,
        loss_path=path.name,
        device=setup.device,
        precision=setup.precision,
        threads=setup.threads,
    )
    trainer.control_of_run.fingerprint = prints
    _announce(run, setup, path, prints)
    checkpoint.sweep(trainer.control_of_run.checkpoints)
    if resume is None:
        _preflight(run, setup)
        _tell_plan(run, setup)
    else:
        _adopt(run, setup, resume)
    return setup


def _set_up(run: Run) -> _Setup:
    spec, training = run.spec, run.spec.training
    assert training is not None and spec.dataset is not None
    where = device.choose_device(spec.device)
    precision = device.choose_precision(
        where, training.precision, device.cpu_flags(), train_all=training.method == "full"
    )
    threads = spec.threads or device.cores()
    torch.set_num_threads(threads)
    if spec.epoch > 1:
        run.introduce(wording.from_the_start(spec.epoch))
    run.introduce(*wording.machine(where, precision, threads, threads_set=bool(spec.threads)))
    run.introduce(wording.preparing(spec.model.source))
    began = time.perf_counter()
    resolved = patience.resolve(run)
    tokenizer = models.load_tokenizer(resolved)
    run.stop.check()
    # The data before the weights: what is wrong with it shows sooner.
    data = _encode(spec, tokenizer, resolved)
    _tell_rows(run, data)
    run.stop.check()
    encoded = time.perf_counter()
    model = _load_fitting(spec, resolved, where, precision)
    run.stop.check()
    trainer, total, per_epoch = _make_trainer(run, model, tokenizer, data, where, precision)
    timings = {
        "import_s": round(IMPORT_SECONDS, 3),
        "data_s": round(encoded - began, 3),
        "model_s": round(time.perf_counter() - encoded, 3),
    }
    total_parameters, trained = _parameters(trainer)
    run.introduce(
        wording.model(
            spec.model.source,
            total=total_parameters,
            trained=trained,
            method=training.method,
            seconds=timings["model_s"],
        )
    )
    return _Setup(where, precision, threads, resolved, trainer, data[0].stats, total, per_epoch, timings)


def _encode(
    spec: RunSpec, tokenizer: Any, resolved: models.ResolvedModel
) -> tuple[EncodedDataset, EncodedDataset | None]:
    training, dataset = spec.training, spec.dataset
    assert training is not None and dataset is not None
    if training.max_length > resolved.max_positions:
        raise RunnerError(
            "invalid_config",
            f"max_length is {training.max_length}, and the model was made for {resolved.max_positions} tokens",
            field="training.max_length",
            remedy=f"use at most {resolved.max_positions}",
        )
    try:
        rows = encode_rows(dataset.train.path, dataset.format, tokenizer, training.max_length, training.completion_only)
        held_out = (
            encode_rows(
                dataset.eval.path,
                dataset.format,
                tokenizer,
                training.max_length,
                training.completion_only,
                allow_empty=True,
            )
            if dataset.eval.path
            else None
        )
    except OSError as error:
        raise RunnerError(
            "bad_data", f"the dataset cannot be read: {error}", field="dataset", remedy="fetch the dataset again"
        ) from error
    return rows, held_out


def _tell_rows(run: Run, data: tuple[EncodedDataset, EncodedDataset | None]) -> None:
    assert run.spec.training is not None
    rows, held_out = data
    run.introduce(*wording.rows("to train on", rows.stats, run.spec.training.max_length))
    if held_out is not None:
        run.introduce(*wording.rows("held out", held_out.stats, run.spec.training.max_length))
        if not held_out.examples:
            run.introduce(wording.no_held_out())


def _load_fitting(spec: RunSpec, resolved: models.ResolvedModel, where: Device, precision: Precision) -> Any:
    """The model, or a refusal that no smaller batch mends."""
    try:
        return _load_model(spec, resolved, where, precision)
    except Exception as error:
        if classify(error).code != "out_of_memory":
            raise
        raise RunnerError(
            "out_of_memory",
            "the model does not fit into this machine's memory",
            field="model",
            remedy="use a smaller model, close what else uses memory, or use method qlora where there is a GPU",
            detail=str(error),
        ) from error


def _load_model(spec: RunSpec, resolved: models.ResolvedModel, where: Device, precision: Precision) -> Any:
    """The weights that training begins with, without an adapter: the base's, or a whole tuned model's."""
    assert spec.training is not None
    if spec.training.method == "qlora":
        return _load_quantized(resolved, where, precision)
    if spec.adapter is not None and spec.adapter.method == "full":
        resolved = dataclasses.replace(resolved, source="the tuned model", path=Path(spec.adapter.path))
    return models.load_model(resolved, dtype=precision.weights, device=where.kind)


def _load_quantized(resolved: models.ResolvedModel, where: Device, precision: Precision) -> Any:
    """The base in NF4 with double quantization."""
    from transformers import BitsAndBytesConfig

    try:
        from bitsandbytes.nn import Linear4bit
    except Exception as error:
        raise RunnerError(
            "unsupported",
            "QLoRA needs bitsandbytes, which cannot run on this machine",
            field="training.method",
            remedy="use method lora",
            detail=str(error),
        ) from error
    compute = getattr(torch, precision.autocast or "float32")
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )
    model = models.load_model(
        resolved,
        dtype=precision.weights,
        device=where.kind,
        quantization_config=config,
        device_map={"": 0 if where.kind == "cuda" else "cpu"},
    )
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        # On AVX512-BF16 CPUs an evaluation would repack these weights for good, and gradients after it are wrong.
        layer.support_avx512bf16_for_cpu = False
    if not layers:
        raise RunnerError(
            "unsupported",
            "bitsandbytes quantized nothing of this model",
            field="training.method",
            remedy="use method lora",
        )
    return model


def _make_trainer(
    run: Run,
    model: Any,
    tokenizer: Any,
    data: tuple[EncodedDataset, EncodedDataset | None],
    where: Device,
    precision: Precision,
) -> tuple[RunTrainer, int, int]:
    spec, training = run.spec, run.spec.training
    assert training is not None
    rows = len(data[0].examples)
    batches = math.ceil(rows / training.batch_size)
    per_epoch = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    total = training.max_steps or math.ceil(training.epochs * per_epoch)
    set_seed(training.seed)  # the adapter's start is drawn next
    model.config.use_cache = False
    if training.method != "full":
        model = _adapted(model, spec)
    rate = training.learning_rate * (training.learning_rate_scale or 1.0)
    held_out = data[1] if data[1] is not None and data[1].examples else None
    trainer = RunTrainer(
        model,
        _arguments(run, where, precision, total, rate, held_out=held_out is not None),
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
        train_dataset=_dataset(data[0]),
        eval_dataset=_dataset(held_out) if held_out is not None else None,
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:  # TRL casts a quantized model's adapters to bf16, which breaks exact resume
            parameter.data = parameter.data.float()
    checkpoints = Path(spec.checkpoints_dir)
    checkpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
    trainer.attach(
        Control(
            run.events,
            run.stop,
            run.lease,
            checkpoints,
            training.checkpoint,
            precision,
            learning_rate=rate,
            pulse=run.pulse,
        )
    )
    return trainer, total, per_epoch


def _adapted(model: Any, spec: RunSpec) -> Any:
    """The model with the adapter that is trained: a new one, or the one that training goes on from."""
    assert spec.training is not None
    if spec.adapter is None:
        adapted = _new_adapter(model, spec.training)
    else:
        adapted = adapters.continue_adapter(model, spec.adapter.path, spec.training.lora)
    # The source, not this machine's cache folder: the adapter travels.
    adapted.peft_config["default"].base_model_name_or_path = spec.model.source.removeprefix("hub:")
    adapted.peft_config["default"].revision = spec.model.revision or None
    return adapted


def _new_adapter(model: Any, training: Training) -> Any:
    wanted = training.lora.target_modules
    targets: Any = wanted if wanted == "all-linear" else [name.strip() for name in wanted.split(",") if name.strip()]
    config = LoraConfig(
        r=training.lora.r,
        lora_alpha=training.lora.alpha,
        lora_dropout=training.lora.dropout,
        target_modules=targets,
        use_rslora=training.lora.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise RunnerError(
            "invalid_config",
            f"no adapter can be put on {wanted!r}",
            field="training.lora.target_modules",
            remedy='use "all-linear", or names of this model\'s linear layers',
            detail=str(error),
        ) from error


def _arguments(run: Run, where: Device, precision: Precision, total: int, rate: float, *, held_out: bool) -> SFTConfig:
    spec, training = run.spec, run.spec.training
    assert training is not None
    evaluates = training.eval_every_steps > 0 and held_out
    return SFTConfig(
        output_dir=spec.checkpoints_dir,
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=training.epochs or 1.0,
        max_steps=total,
        learning_rate=rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=math.ceil(total * training.warmup_ratio),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        seed=training.seed,
        data_seed=training.seed,
        optim="adamw_torch_fused" if where.kind == "cuda" else "adamw_torch",
        bf16=precision.autocast == "bfloat16",
        fp16=precision.autocast == "float16",
        use_cpu=where.kind == "cpu",
        activation_checkpointing=training.gradient_checkpointing,
        dataloader_num_workers=0,
        dataloader_pin_memory=where.kind == "cuda",
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="steps" if evaluates else "no",
        eval_steps=training.eval_every_steps if evaluates else None,
        packing=False,
        shuffle_dataset=False,
        completion_only_loss=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _dataset(encoded: EncodedDataset) -> Dataset:
    return Dataset.from_dict(
        {
            "row": [e.row for e in encoded.examples],
            "input_ids": [e.input_ids for e in encoded.examples],
            "labels": [e.labels for e in encoded.examples],
        }
    )


def _choose_loss(run: Run, trainer: RunTrainer) -> loss.LossPath:
    training, base = run.spec.training, loss.base_of(trainer.model)
    assert training is not None
    short = attention.fits(base, trainer.args.device.type, trainer.control_of_run.precision.autocast)
    if training.stock_loss:
        path = loss.LossPath("stock", "the configuration asks for it")
    else:
        rows = trainer.train_dataset
        first = trainer.data_collator([rows[i] for i in range(min(2, len(rows)))])
        first.pop("rows")
        batch = trainer._prepare_inputs(first)
        path = loss.choose(
            trainer.model, batch, lambda inputs: trainer.compute_loss(trainer.model, inputs), short_rows=short
        )
        trainer._metrics["eval"].clear()
    if path.name == "labelled":
        trainer.labelled = loss.LabelledLoss(trainer.model)
        if short:
            attention.use_short_rows(base)
            lora.fuse(trainer.model)
    run.introduce(wording.loss_path(path.name, path.reason, asked=training.stock_loss))
    return path


def _announce(run: Run, setup: _Setup, path: loss.LossPath, prints: dict[str, Any]) -> None:
    trainer = setup.trainer
    total_parameters, trained = _parameters(trainer)
    run.events.emit(
        "started",
        device=setup.device.kind,
        device_name=setup.device.name,
        precision=setup.precision.name,
        dtype=setup.precision.weights,
        versions=device.versions(),
        threads=setup.threads,
        loss_path=path.name,
        loss_path_reason=path.reason,
        fingerprint=prints,
        total_steps=setup.total_steps,
        steps_per_epoch=setup.steps_per_epoch,
        train_rows=len(trainer.train_dataset),
        eval_rows=len(trainer.eval_dataset) if trainer.eval_dataset is not None else 0,
        trainable_parameters=trained,
        total_parameters=total_parameters,
        memory_bytes=memory_bytes(),
        timings=setup.timings,
    )


def _parameters(trainer: RunTrainer) -> tuple[int, int]:
    """How many parameters the model has, and how many of them are trained."""
    parameters = list(trainer.model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _preflight(run: Run, setup: _Setup) -> None:
    stats, trainer = setup.stats, setup.trainer
    control = trainer.control_of_run
    if preflight.accepted(control.checkpoints, control.fingerprint):
        run.events.log(wording.preflight_accepted())
        return
    preflight.require_disk(control.checkpoints, preflight.disk_needed(trainer, setup.total_steps))
    run.stop.check()
    found = preflight.rehearse(trainer, setup.total_steps)
    trainer._metrics["train"].clear()
    needed = preflight.disk_needed(trainer, setup.total_steps, found.checkpoint_bytes)
    free = preflight.require_disk(control.checkpoints, needed)
    run.events.emit(
        "preflight",
        longest_tokens=stats.longest,
        truncated_rows=stats.truncated,
        truncated_share=stats.truncated / max(stats.rows, 1),
        dropped_rows=stats.dropped_all_masked,
        masked_share=1 - stats.labelled_tokens / max(stats.tokens, 1),
        ended_share=stats.ended / max(stats.whole, 1),
        disk_needed_bytes=needed,
        disk_free_bytes=free,
        checkpoint_bytes=found.checkpoint_bytes,
        memory_peak_bytes=found.memory_peak_bytes,
        memory_total_bytes=found.memory_total_bytes,
        memory_predicted_bytes=run.spec.predicted_memory or None,
        seconds_per_step=round(found.seconds_per_step, 4),
        seconds=found.seconds,
    )
    run.events.log(
        wording.preflight(
            longest=max(len(row["input_ids"]) for row in trainer.train_dataset),
            step_seconds=found.seconds_per_step,
            memory=found.memory_peak_bytes,
            disk_needed=needed,
            disk_free=free,
            resumed=found.checkpoint_bytes is not None,
        ),
        *preflight.doubts(stats, found, run.spec.predicted_memory),
    )
    preflight.accept(control.checkpoints, control.fingerprint)


def _tell_plan(run: Run, setup: _Setup) -> None:
    training = run.spec.training
    assert training is not None
    rows_a_step = training.batch_size * training.gradient_accumulation_steps
    run.events.log(wording.plan(steps=setup.total_steps, rows_a_step=rows_a_step, steps_an_epoch=setup.steps_per_epoch))


def _adopt(run: Run, setup: _Setup, folder: Path) -> None:
    """Checks that a checkpoint is whole and this run's own."""
    manifest = checkpoint.verify(folder)
    if manifest["kind"] != "checkpoint":
        raise RunnerError(
            "bad_data", f"{folder.name} is no checkpoint", field="resume_from", remedy="resume from a checkpoint"
        )
    step, trainer = manifest["step"], setup.trainer
    differences = fingerprint.compare(manifest.get("fingerprint") or {}, trainer.control_of_run.fingerprint)
    trainer.restore_totals(folder)
    run.events.emit("resumed", step=step, **{"from": folder.name})
    run.events.log(
        wording.resumed(
            step=step,
            steps=setup.total_steps,
            checkpoint=folder.name,
            device=setup.device,
            precision=setup.precision,
            threads=setup.threads,
        )
    )
    if differences:
        run.events.log(wording.inexact(step, differences))


# -- training and what comes after ------------------------------------------------------------------------------------


def _train(run: Run, setup: _Setup, resume: Path | None) -> Ending:
    trainer = setup.trainer
    step = checkpoint.read_manifest(resume)["step"] if resume else 0
    if resume is not None and step >= setup.total_steps:
        # Died between the last step and the result. transformers would train one step more.
        trainer.load_weights(resume)
        trainer.state.global_step = trainer.state.max_steps = setup.total_steps
    else:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.state.global_step < setup.total_steps:
        if run.stop.reason is None:
            raise RunnerError("internal", f"training ended at step {trainer.state.global_step} of {setup.total_steps}")
        return _ending(setup, run.stop.reason)
    if run.stop.reason == SUPERSEDED:
        return _ending(setup, SUPERSEDED)
    return _complete(run, setup)


def _complete(run: Run, setup: _Setup) -> Ending:
    trainer, training = setup.trainer, run.spec.training
    assert training is not None
    if trainer.eval_dataset is not None and (trainer.best is None or not _evaluated_last(trainer, training)):
        try:
            trainer.evaluate()
        except Stopped as stopped:  # the last step is saved: the next launch measures, and trains nothing more
            return _ending(setup, stopped.reason)
    ending = _ending(setup, "completed")
    ending.artifacts = [_save_artifact(run, setup)]
    _tell_end(run, setup, ending.artifacts[0])
    return ending


def _tell_end(run: Run, setup: _Setup, artifact: dict[str, Any]) -> None:
    totals = setup.trainer.totals
    run.events.log(
        wording.completed(
            steps=setup.total_steps,
            seconds=totals.seconds,
            loss=totals.last_loss,
            held_out_loss=totals.last_eval_loss,
            artifact=wording.artifact(artifact["kind"], sum(file["size"] for file in artifact["files"])),
        )
    )


def _evaluated_last(trainer: RunTrainer, training: Training) -> bool:
    return training.eval_every_steps > 0 and trainer.state.global_step % training.eval_every_steps == 0


def _ending(setup: _Setup, outcome: str) -> Ending:
    trainer = setup.trainer
    totals, steps = trainer.totals, trainer.state.global_step
    metrics = {
        "final_loss": totals.last_loss,
        "mean_loss": totals.loss / max(steps, 1),
        "steps": steps,
        "tokens": totals.tokens,
        "seconds": round(totals.seconds, 3),
        "tokens_per_second": round(totals.tokens / max(totals.seconds, 1e-9), 2),
        "eval_loss": totals.last_eval_loss,
        "peak_memory_bytes": peak_memory_bytes(),
    }
    return Ending(outcome=outcome, step=steps, total_steps=setup.total_steps, checkpoint=trainer.saved, metrics=metrics)


def _save_artifact(run: Run, setup: _Setup) -> dict[str, Any]:
    trainer, training = setup.trainer, run.spec.training
    assert training is not None
    kind = "model" if training.method == "full" else "adapter"
    folder = checkpoint.begin(Path(run.spec.output_dir), kind)
    save_weights(trainer.model, trainer.processing_class, folder)
    (folder / "parity.json").write_text(json.dumps(_parity(setup)), encoding="utf-8")
    return checkpoint.seal(folder, checkpoint.Mark(kind, trainer.state.global_step, trainer.control_of_run.fingerprint))


def _parity(setup: _Setup) -> dict[str, Any]:
    """What the tuned model makes of one fixed prompt, so that a serving engine can tell whether it loaded the same one.

    margins are the distances of each best logit to the second best: a disagreement within rounding of one says nothing.
    """
    trainer, tokenizer = setup.trainer, setup.trainer.processing_class
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": _PARITY_PROMPT}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = tokenizer(_PARITY_PROMPT)["input_ids"]
    trainer.model.eval()
    with torch.no_grad(), trainer.autocast():
        logits = trainer.model(input_ids=torch.tensor([ids], device=trainer.args.device)).logits[0].float().cpu()
    top = logits.topk(2).values
    last = logits[-1].topk(_PARITY_TOP)
    return {
        "version": 1,
        "prompt": _PARITY_PROMPT,
        "input_ids": ids,
        "argmax_ids": logits.argmax(-1).tolist(),
        "margins": [round(v, 4) for v in (top[:, 0] - top[:, 1]).tolist()],
        "last_ids": last.indices.tolist(),
        "last_logits": [round(v, 4) for v in last.values.tolist()],
        "precision": setup.precision.name,
        "device": setup.device.kind,
    }

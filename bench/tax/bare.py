"""The training of a spec.json as a bare TRL script: python bare.py SPEC {labelled|stock}

Same model, rows, recipe, seed, precision, threads, loss and layers as VibeFlow's runner, and nothing around it: no
events, no lease, no rehearsal, no checkpoints, no proof of the loss. It evaluates the held-out rows at the end and saves the
adapter. Prints one JSON object: seconds by part, and the loss of every step, by which main.go sees that it was the same
training.
"""

# ruff: noqa: E402  (the imports are timed, and the environment comes before them)
import itertools
import json
import math
import sys
import time
from pathlib import Path

began = time.perf_counter()

from vibeflow_peft import environment

environment.prepare()

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import set_seed
from trl import SFTConfig, SFTTrainer

from vibeflow_peft import attention, device, lora, models
from vibeflow_peft.encoding import encode_rows
from vibeflow_peft.loss import LabelledLoss, base_of
from vibeflow_peft.spec import load
from vibeflow_peft.trainer import Collator

marks = [("import", began), ("data", time.perf_counter())]
transformers.utils.logging.disable_progress_bar()

spec, labelled = load(Path(sys.argv[1])), sys.argv[2] == "labelled"
training = spec.training
if training.method != "lora":
    sys.exit(f"bare.py trains LoRA, not {training.method}")
where = device.choose_device(spec.device)
precision = device.choose_precision(where, training.precision, device.cpu_flags(), train_all=False)
torch.set_num_threads(spec.threads or device.cores())


class BareTrainer(SFTTrainer):
    """SFTTrainer on the loss that VibeFlow's run used."""

    labelled_loss = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.labelled_loss is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        dtype = getattr(torch, precision.autocast or "bfloat16")
        with torch.autocast(where.kind, dtype=dtype, enabled=precision.autocast is not None):
            loss = self.labelled_loss(inputs, num_items_in_batch)
        return (loss, {}) if return_outputs else loss


def read(path):
    """Encoded rows of a file, shortest first: only the held-out ones keep that order."""
    encoded = encode_rows(path, spec.dataset.format, tokenizer, training.max_length, training.completion_only,
                          allow_empty=True)
    return Dataset.from_dict({"row": [e.row for e in encoded.examples],
                              "input_ids": [e.input_ids for e in encoded.examples],
                              "labels": [e.labels for e in encoded.examples]})


def collate(rows):
    batch = pad(rows)
    del batch["rows"]
    return batch


resolved = models.resolve(spec.model, Path(spec.models_dir))
tokenizer = models.load_tokenizer(resolved)
pad = Collator(tokenizer.pad_token_id)
train_rows = read(spec.dataset.train.path)
eval_rows = read(spec.dataset.eval.path) if spec.dataset.eval.path else None
marks.append(("model", time.perf_counter()))

batches = math.ceil(len(train_rows) / training.batch_size)
total = training.max_steps or math.ceil(
    training.epochs * max(1, math.ceil(batches / training.gradient_accumulation_steps)))
model = models.load_model(resolved, dtype=precision.weights, device=where.kind)
set_seed(training.seed)
model.config.use_cache = False
wanted = training.lora.target_modules
model = get_peft_model(model, LoraConfig(
    r=training.lora.r, lora_alpha=training.lora.alpha, lora_dropout=training.lora.dropout,
    target_modules=wanted if wanted == "all-linear" else [name.strip() for name in wanted.split(",")],
    use_rslora=training.lora.rslora, task_type="CAUSAL_LM"))
trainer = BareTrainer(model, SFTConfig(
    output_dir=spec.output_dir, report_to=[], disable_tqdm=True, log_level="error", save_strategy="no",
    per_device_train_batch_size=training.batch_size, per_device_eval_batch_size=training.batch_size,
    gradient_accumulation_steps=training.gradient_accumulation_steps, max_steps=total,
    learning_rate=training.learning_rate, lr_scheduler_type=training.scheduler,
    warmup_steps=math.ceil(total * training.warmup_ratio), weight_decay=training.weight_decay,
    max_grad_norm=training.max_grad_norm, seed=training.seed, data_seed=training.seed,
    optim="adamw_torch_fused" if where.kind == "cuda" else "adamw_torch", bf16=precision.autocast == "bfloat16",
    fp16=precision.autocast == "float16", use_cpu=where.kind == "cpu",
    activation_checkpointing=training.gradient_checkpointing, dataloader_pin_memory=where.kind == "cuda",
    remove_unused_columns=False, logging_steps=1, prediction_loss_only=True, packing=False, shuffle_dataset=False,
    completion_only_loss=False, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}),
    train_dataset=train_rows, eval_dataset=eval_rows, processing_class=tokenizer, data_collator=collate)
trainer.remove_callback(transformers.PrinterCallback)
trainer.model_accepts_loss_kwargs = trainer.loss_is_scaled_for_ga = True
for parameter in trainer.model.parameters():
    if parameter.requires_grad:
        parameter.data = parameter.data.float()
if labelled:
    trainer.labelled_loss = LabelledLoss(trainer.model)
    if attention.fits(base_of(trainer.model), where.kind, precision.autocast):
        attention.use_short_rows(base_of(trainer.model))
        lora.fuse(trainer.model)
marks.append(("steps", time.perf_counter()))
trainer.train()
marks.append(("evaluate", time.perf_counter()))
if eval_rows is not None and len(eval_rows):
    trainer.evaluate()
marks.append(("save", time.perf_counter()))
trainer.save_model(spec.output_dir)
marks.append(("", time.perf_counter()))

seconds = {name: round(after - at, 3) for (name, at), (_, after) in itertools.pairwise(marks)}
print(json.dumps({"seconds": seconds, "losses": [e["loss"] for e in trainer.state.log_history if "loss" in e]}))

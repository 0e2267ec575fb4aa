"""Training speed: tokens a second of VibeFlow's runner beside stock SFTTrainer on the same rows, and their ratio.

    PYTHON bench/train_speed.py [--data FILE] [--model SOURCE] [--length 128] [--batch 8] [--steps 20] [--rounds 2]

PYTHON is the runner's interpreter (`vibeflow doctor` names it). FILE is JSONL of chats ({"messages": […]}) or a JSON
array of alpaca rows; by default the sample set. Both train LoRA r=16 on all linear layers in their own default
precision, without gradient checkpointing; the stock one gets the tokenised rows too, so that only training is timed.
Rounds alternate, and medians are compared: on a shared machine one run says little. Padding is not counted as tokens.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "workers" / "peft"
SAMPLE = ROOT / "internal" / "sample" / "support.jsonl"
WARM_STEPS = 2  # the first steps pay for kernels and allocations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SAMPLE)
    parser.add_argument("--model", default="bundled:smollm2-135m-instruct")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "vibeflow-bench-models")
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)  # this process is the stock side
    options = parser.parse_args()
    if options.stock:
        return stock(options)
    speeds: dict[str, list[float]] = {"ours": [], "stock": []}
    with tempfile.TemporaryDirectory() as folder:
        rows = canonical(options.data, Path(folder))
        for round_number in range(options.rounds):
            for name, measure in (("ours", measure_ours), ("stock", measure_stock)):
                speed = measure(options, rows, Path(folder) / f"{name}-{round_number}")
                print(f"round {round_number + 1}: {name} {speed:.1f} tokens/s", file=sys.stderr)
                speeds[name].append(speed)
    ours, theirs = statistics.median(speeds["ours"]), statistics.median(speeds["stock"])
    print(json.dumps({"ours_tokens_per_second": round(ours, 1), "stock_tokens_per_second": round(theirs, 1),
                      "ratio": round(ours / theirs, 2), "load": os.getloadavg()[0], "cores": os.cpu_count()}))
    return None


def canonical(data: Path, folder: Path) -> Path:
    """The rows as canonical chat JSONL."""
    text = data.read_text(encoding="utf-8")
    rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    target = folder / "rows.jsonl"
    target.write_text("".join(json.dumps({"messages": messages(row)}) + "\n" for row in rows), encoding="utf-8")
    return target


def messages(row: dict[str, Any]) -> list[dict[str, str]]:
    """A row's conversation: chat or alpaca."""
    if "messages" in row:
        return row["messages"]
    question = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
    return [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]


def measure_ours(options: argparse.Namespace, rows: Path, folder: Path) -> float:
    """Tokens a second of the runner, from its own events."""
    run_child([sys.executable, "-m", "vibeflow_peft", "run", str(write_spec(options, rows, folder))])
    events = [json.loads(line) for line in (folder / "events.ndjson").read_text().splitlines()]
    steps = [e for e in events if e["type"] == "metrics"][WARM_STEPS:]
    return sum(e["tokens"] for e in steps) / sum(e["seconds"] for e in steps)


def measure_stock(options: argparse.Namespace, rows: Path, folder: Path) -> float:
    """Tokens a second of SFTTrainer in a process of its own."""
    spec = write_spec(options, rows, folder)
    out = run_child([sys.executable, __file__, "--stock", str(spec), "--threads", str(options.threads)])
    return json.loads(out.splitlines()[-1])["tokens_per_second"]


def run_child(command: list[str]) -> str:
    # The runner's own setting against spinning threads is given to both sides: the ratio is the loss's alone.
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                   "GOMP_SPINCOUNT": "500"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def write_spec(options: argparse.Namespace, rows: Path, folder: Path) -> Path:
    folder.mkdir()
    content = rows.read_bytes()
    spec = {
        "version": 1, "verb": "train", "run_id": folder.name, "epoch": 1, "models_dir": str(options.models),
        "model": {"source": options.model}, "checkpoints_dir": str(folder / "checkpoints"),
        "output_dir": str(folder / "output"), "threads": options.threads,
        "dataset": {"format": "chat", "train": {"path": str(rows), "size": len(content),
                                                "sha256": hashlib.sha256(content).hexdigest()}},
        "training": {"method": "lora", "max_steps": options.steps, "epochs": 1.0, "learning_rate": 1e-3,
                     "warmup_ratio": 0.1, "batch_size": options.batch, "max_length": options.length,
                     "lora": {"r": 16, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}},
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path


def stock(options: argparse.Namespace) -> None:
    """SFTTrainer as it comes, on the rows of a spec; prints its tokens a second."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from vibeflow_peft import models
    from vibeflow_peft.encoding import encode_rows
    from vibeflow_peft.spec import load

    spec = load(options.stock)
    training, dataset = spec.training, spec.dataset
    assert training is not None and dataset is not None
    if options.threads:
        torch.set_num_threads(options.threads)
    resolved = models.resolve(spec.model, spec.models_dir)
    tokenizer = models.load_tokenizer(resolved)
    encoded = encode_rows(dataset.train.path, dataset.format, tokenizer, training.max_length, training.completion_only)
    rows = Dataset.from_dict({"input_ids": [e.input_ids for e in encoded.examples],
                              "labels": [e.labels for e in encoded.examples]})
    seen: list[tuple[float, int]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            seen.append((time.perf_counter(), trainer._total_train_tokens))

    arguments = SFTConfig(output_dir=str(Path(spec.output_dir)), max_steps=training.max_steps,
                          per_device_train_batch_size=training.batch_size, learning_rate=training.learning_rate,
                          max_length=training.max_length, seed=training.seed, data_seed=training.seed, report_to=[],
                          gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, use_cpu=True,
                          dataloader_pin_memory=False)
    trainer = SFTTrainer(models.load_model(resolved), arguments, train_dataset=rows, processing_class=tokenizer,
                         peft_config=LoraConfig(r=16, lora_alpha=16, target_modules="all-linear",
                                                task_type="CAUSAL_LM"), callbacks=[Clock()])
    trainer.train()
    (first, before), (last, after) = seen[WARM_STEPS - 1], seen[-1]
    print(json.dumps({"tokens_per_second": (after - before) / (last - first), "bf16": arguments.bf16}))


if __name__ == "__main__":
    main()

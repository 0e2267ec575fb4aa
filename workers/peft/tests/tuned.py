"""A LoRA adapter on the tiny model, trained for a moment, and what training leaves beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vibeflow_peft.models import ResolvedModel, load_chat_tokenizer, load_model

PROMPT = "What is 3 plus 3?"


def rows(count: int, offset: int = 0) -> list[dict[str, Any]]:
    """Chats whose answers have a manner that is quickly learned."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is {i} plus {i % 7}?"},
                {"role": "assistant", "content": f"It is {i + i % 7}, of course."},
            ]
        }
        for i in range(offset, offset + count)
    ]


def write_rows(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def train_adapter(base: ResolvedModel, folder: Path, data: Path, steps: int = 60, seed: int = 0) -> Path:
    """Trains on data and saves the adapter with its parity.json."""
    import torch
    from peft import LoraConfig, get_peft_model

    from vibeflow_peft.encoding import encode_rows
    from vibeflow_peft.evaluate import _padded

    tokenizer = load_chat_tokenizer(base)
    examples = encode_rows(data, "chat", tokenizer, 128).examples
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(
            load_model(base), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        )
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        for step in range(steps):
            batch = _padded([examples[(step * 8 + i) % len(examples)] for i in range(8)], tokenizer.pad_id, "cpu")
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    write_parity(model, tokenizer, folder)
    return folder


def write_parity(model: Any, tokenizer: Any, folder: Path) -> None:
    """As train.py leaves it."""
    import torch

    ids = tokenizer.encode(
        tokenizer.render([{"role": "user", "content": PROMPT}], add_generation_prompt=True), add_special_tokens=False
    )
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    top, last = logits.topk(2).values, logits[-1].topk(5)
    (folder / "parity.json").write_text(
        json.dumps(
            {
                "version": 1,
                "prompt": PROMPT,
                "input_ids": ids,
                "argmax_ids": logits.argmax(-1).tolist(),
                "margins": (top[:, 0] - top[:, 1]).tolist(),
                "last_ids": last.indices.tolist(),
                "last_logits": last.values.tolist(),
                "precision": "fp32",
                "device": "cpu",
            }
        ),
        encoding="utf-8",
    )

"""Greedy answers in batches, and what every generation in VibeFlow agrees on: where an answer ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from .tokenizer import ChatTokenizer


def end_ids(model: Any, tokenizer: ChatTokenizer) -> list[int]:
    """The tokens that end an answer: the tokenizer's, and all that the model's own generation settings name."""
    declared = model.generation_config.eos_token_id
    found = declared if isinstance(declared, list) else [declared]
    return sorted({token for token in (*found, tokenizer.eos_id) if token is not None})


class Watch(StoppingCriteria):
    """Calls back before each token; what the callback raises ends the generation."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        self._callback()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def answer_greedily(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    watch: Callable[[], None],
) -> list[str]:
    """One answer a prompt, of one batch padded on the left. Deterministic; watch is called before every token."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), tokenizer.pad_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.as_tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    ends = end_ids(model, tokenizer)
    # A config of our own: the model's may sample, and greedy answers must not depend on its taste.
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_id,
        eos_token_id=ends or None,
        use_cache=True,
    )
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([Watch(watch)]),
        )
    return [tokenizer.decode(_until(row.tolist(), ends)).strip() for row in output[:, longest:]]


def _until(ids: list[int], ends: Sequence[int]) -> list[int]:
    """The ids before the first end token."""
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))]

"""Attention for short rows on a CPU: matrix products instead of the flash kernel.

PyTorch's flash kernel for CPUs spends most of its backward on overhead where rows are short. In bf16, forward and
backward of 8 rows × 9 heads × 64 took (ms, one thread, EPYC with avx512_bf16, torch 2.15):

    positions    104   192   256   512
    flash         28    43    67   114
    products     7.8    28    41    89

Products keep a row's probabilities, which flash does not; up to MAX_POSITIONS that is little beside the layer's other
activations. Anything that is not plain causal attention over such rows goes to the flash kernel as before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

SHORT_ROWS = "vibeflow_short_rows"
MAX_POSITIONS = 256
# Scores of so many elements at a time stay in a core's cache, in fp32.
_CACHED_SCORES = 400_000
# What a layer may pass on that plain causal attention does not have.
_SPECIAL = ("softcap", "position_bias", "s_aux", "cache")


def fits(model: Any, device: str, autocast: str | None) -> bool:
    """Whether a transformers model would train faster so: on a CPU, in bf16 autocast, with the flash kernel now."""
    return device == "cpu" and autocast == "bfloat16" and model.config._attn_implementation == "sdpa"


def use_short_rows(model: Any) -> None:
    """Switches a transformers model over, for good."""
    model.set_attn_implementation(SHORT_ROWS)


@contextlib.contextmanager
def short_rows(model: Any) -> Iterator[None]:
    """Switches a transformers model over for a while."""
    use_short_rows(model)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **special: Any,
) -> tuple[torch.Tensor, None]:
    """query: [rows, heads, positions, size]; key, value: [rows, key heads, positions, size]. Returns [rows, positions,
    heads, size]; transformers wants attention weights beside it, or None."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = causal and attention_mask is None and dropout == 0.0 and query.shape[2] == key.shape[2] <= MAX_POSITIONS
    if not plain or any(special.get(name) is not None for name in _SPECIAL):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal=is_causal, **special
        )
    rows, heads, positions, size = query.shape
    future = torch.full((positions, positions), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    # The query heads that share a key head are one longer row of queries: keys and values need no copies.
    future = future.repeat(heads // key.shape[1], 1)
    query = query.reshape(rows, key.shape[1], -1, size)
    scale = size**-0.5 if scaling is None else scaling
    at_a_time = max(1, _CACHED_SCORES // (heads * positions * positions))
    parts = zip(*(each.split(at_a_time) for each in (query, key, value)), strict=True)
    out = torch.cat([_products(*part, future, scale) for part in parts])
    return out.view(rows, heads, positions, -1).transpose(1, 2).contiguous(), None


def _products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, future: torch.Tensor, scale: float
) -> torch.Tensor:
    rows, heads = key.shape[:2]
    query, key, value = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
    scores = torch.baddbmm(future.expand(rows * heads, -1, -1), query, key.transpose(1, 2), alpha=scale)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    return torch.bmm(weights, value).unflatten(0, (rows, heads))


AttentionInterface.register(SHORT_ROWS, _attend)
AttentionMaskInterface.register(SHORT_ROWS, sdpa_mask)

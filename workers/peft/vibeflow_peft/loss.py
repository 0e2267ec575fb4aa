"""The loss on labelled positions only, and the proof that it is the model's own.

A stock causal-LM loss scores every position, padding and prompt included, and throws most of it away. Ours gathers the
hidden states whose next token is labelled and scores those alone. That is the same number only where logits are
`lm_head(hidden)` and nothing else, so `choose` looks at the model's structure, then compares both losses on the first
batch; any doubt falls back to the stock loss, with the reason.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from . import attention

IGNORED = -100

# What architectures call a factor or a cap between the head and the logits.
_LOGIT_TRANSFORMS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
    "lm_head_multiplier",
    "logit_softcapping",
    "output_logits_scale",
)
_PROOF_ROWS, _PROOF_POSITIONS = 2, 256
# Relative to the stock loss. The two gather, multiply and add in other orders, which in 16 bits costs three digits.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class LossPath:
    """Which loss a run trains on and why: name is "labelled" or "stock"."""

    name: str
    reason: str


class LabelledLoss:
    """Scores a causal LM on labelled positions: sum of negative log-likelihoods ÷ items."""

    def __init__(self, model: nn.Module) -> None:
        self._base = base_of(model)

    def __call__(self, inputs: dict[str, torch.Tensor], items: torch.Tensor | int | None = None) -> torch.Tensor:
        """inputs: input_ids and labels, each [rows, positions], padded on the right; items: labelled tokens of the
        whole accumulated batch, by default those of this one. Returns a scalar, in fp32."""
        # A causal model never looks to its right, so that padding there needs no mask, and attention has a faster way.
        hidden = self._base.base_model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state
        targets = inputs["labels"][:, 1:]
        # One flat index for gather and targets: a boolean mask would be searched once for each of them.
        chosen = (targets != IGNORED).reshape(-1).nonzero().squeeze(-1)
        hidden = hidden[:, :-1].reshape(-1, hidden.shape[-1]).index_select(0, chosen)
        logits = self._base.get_output_embeddings()(hidden)
        total = functional.cross_entropy(logits.float(), targets.reshape(-1).index_select(0, chosen), reduction="sum")
        return total / (max(chosen.numel(), 1) if items is None else items)


def base_of(model: nn.Module) -> Any:
    """The transformers model under a PEFT one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def choose(model: nn.Module, batch: dict[str, torch.Tensor], stock: Any, *, short_rows: bool = False) -> LossPath:
    """The loss to train on. stock(inputs) is the trainer's own loss of a batch, a scalar; short_rows: ours is to be
    computed with the attention of that name.

    Leaves no trace: random state, gradients, attention and training mode are as before.
    """
    obstacle = _obstacle(base_of(model))
    if obstacle:
        return LossPath("stock", obstacle)
    probe = {name: batch[name][:_PROOF_ROWS, :_PROOF_POSITIONS] for name in ("input_ids", "attention_mask", "labels")}
    if not bool((probe["labels"][:, 1:] != IGNORED).any()):  # a long prompt: let the proof score it all
        probe["labels"] = probe["input_ids"].masked_fill(probe["attention_mask"] == 0, IGNORED)
    with _untouched(model):
        theirs = stock(dict(probe)).item()
        native = _native_loss(base_of(model), probe).item()
        with attention.short_rows(base_of(model)) if short_rows else contextlib.nullcontext():
            ours = LabelledLoss(model)(probe).item()
    tolerance = _TOLERANCE.get(next(model.parameters()).dtype, 2e-2)
    for name, other in (("the trainer's", theirs), ("the model's", native)):
        if not abs(ours - other) <= tolerance * max(1.0, abs(other)):  # also true for NaN
            return LossPath("stock", f"on the first batch it gave {ours:.6f} where {name} own loss is {other:.6f}")
    return LossPath("labelled", f"equal to the stock loss on the first batch ({ours:.6f} and {theirs:.6f})")


def _obstacle(base: Any) -> str:
    """Why the model's logits might be more than lm_head(hidden), or "" for none."""
    config = base.config.get_text_config()
    for name in _LOGIT_TRANSFORMS:
        if getattr(config, name, None) not in (None, 1, 1.0):
            return f"the model transforms its logits ({name}={getattr(config, name)})"
    if getattr(config, "output_router_logits", False):
        return "the model adds a router loss"
    head = base.get_output_embeddings()
    if type(head) is not nn.Linear:
        return f"the output head is a {type(head).__name__}, not a plain linear layer"
    if getattr(base, "base_model", base) is base:
        return "the model has no separate backbone"
    return ""


def _native_loss(base: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss from the logits of the model's own forward: no code in common with ours or the trainer's."""
    logits = base(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    targets = batch["labels"][:, 1:].reshape(-1)
    return functional.cross_entropy(logits[:, :-1].reshape(targets.numel(), -1).float(), targets, ignore_index=IGNORED)


@contextlib.contextmanager
def _untouched(model: nn.Module):
    """Evaluation mode, no gradients, no autocast (in fp32 the comparison can be tight), random state given back."""
    training = model.training
    device = next(model.parameters()).device
    cuda = [device] if device.type == "cuda" else []
    model.eval()
    try:
        with torch.random.fork_rng(devices=cuda), torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        model.train(training)

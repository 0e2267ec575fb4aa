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
from torch.autograd.function import once_differentiable
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
# Scored at a time: on a CPU few enough to stay in its caches, on a GPU enough to keep it busy.
_HEAD_POSITIONS = {"cpu": 64, "cuda": 2048}
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
        total = self._score(hidden, targets.reshape(-1).index_select(0, chosen))
        return total / (max(chosen.numel(), 1) if items is None else items)

    def _score(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        head = self._base.get_output_embeddings()
        if head.weight.requires_grad or head.bias is not None:
            return functional.cross_entropy(head(hidden).float(), targets, reduction="sum")
        kind = hidden.device.type
        weight = head.weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else head.weight
        return _FrozenHead.apply(hidden, weight, targets)


class _FrozenHead(torch.autograd.Function):
    """The sum of negative log-likelihoods of targets [n]; hidden is [n, size], a head's frozen weight [words, size].

    Scores and their gradient are made a few positions at a time, in fp32, and never kept: all at once they take
    3 × n × words numbers, more than the rest of a small model's step.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        at_a_time = _HEAD_POSITIONS[hidden.device.type]
        for start in range(0, len(targets), at_a_time):
            part = slice(start, start + at_a_time)
            wanted = targets[part, None]
            scores = (hidden[part].to(weight.dtype) @ weight.t()).float()
            norm = scores.logsumexp(-1, keepdim=True)
            total += (norm - scores.gather(1, wanted)).sum()
            if gradient is not None:
                chances = scores.sub_(norm).exp_()
                chances.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=chances.dtype))
                gradient[part] = (chances.to(weight.dtype) @ weight).to(hidden.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * d_total, None, None


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

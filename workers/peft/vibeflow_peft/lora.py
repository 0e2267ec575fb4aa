"""LoRA layers for training in bf16 autocast on a CPU: one autograd function a layer, on base weights held in bf16.

PEFT computes `base(x) + B(A(x)) * scaling` by separate operations. On a CPU each of them reads and writes the whole
activation, the input is cast to bf16 twice, and autocast casts the frozen weight anew at every step. Here the input is
cast once, the low-rank product is added in place by the matrix product itself, and the weight is cast once for all
(autocast would make the same numbers of it): a step of SmolLM2-135M on two cores took 9 to 11 % less.

Only plain layers are taken, and only after each shape has given PEFT's own output and gradients on random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import nn
from torch.autograd.function import once_differentiable

_ADAPTER = "default"
# bf16 keeps 8 bits of each number; sums of products differ in their last.
_TOLERANCE = 2e-2


class _Product(torch.autograd.Function):
    """x·Wᵀ + bias + scaling·(x·Aᵀ)·Bᵀ, all in bf16. x: [n, in], W: [out, in], A: [r, in], B: [out, r]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: Any, bias: Any, a: Any, b: Any, scaling: float) -> torch.Tensor:
        a16, b16 = a.to(torch.bfloat16), (b * scaling).to(torch.bfloat16)
        low = x @ a16.t()
        out = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
        ctx.save_for_backward(x, weight, a16, b16, low)
        ctx.scaling = scaling
        return out.addmm_(low, b16.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: torch.Tensor) -> tuple[Any, ...]:
        x, weight, a16, b16, low = ctx.saved_tensors
        d_low = d_out @ b16
        d_x = (d_out @ weight).addmm_(d_low, a16) if ctx.needs_input_grad[0] else None
        return d_x, None, None, (d_low.t() @ x).float(), (d_out.t() @ low).float() * ctx.scaling, None


class FusedLinear(PeftLinear):
    """A PEFT layer that computes itself by _Product; an object of PEFT's class becomes one and keeps its parameters."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """x: [..., in] in any float type; returns [..., out] in bf16, as autocast would."""
        if self.disable_adapters or self.merged or args or kwargs or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x, *args, **kwargs)
        base = self.base_layer
        out = _Product.apply(
            x.to(torch.bfloat16).flatten(0, -2),
            base.weight,
            base.bias,
            self.lora_A[_ADAPTER].weight,
            self.lora_B[_ADAPTER].weight,
            self.scaling[_ADAPTER],
        )
        return out.unflatten(0, x.shape[:-1])


def fuse(model: nn.Module) -> int:
    """Turns the plain LoRA layers of a model that trains on a CPU in bf16 autocast into fused ones; how many.

    A shape whose fused layer does not give PEFT's output and gradients stays as it is. Frozen weights of what is fused
    are bf16 from then on: without autocast the model cannot be used any more.
    """
    proven: dict[tuple[int, int], bool] = {}
    fused = 0
    for layer in _plain(model):
        shape = tuple(layer.base_layer.weight.shape)
        if shape not in proven:
            proven[shape] = _equal(layer)
        if proven[shape]:
            _convert(layer)
            fused += 1
    return fused


def _plain(model: nn.Module) -> Iterator[PeftLinear]:
    for layer in model.modules():
        if type(layer) is not PeftLinear or layer.active_adapters != [_ADAPTER] or layer.fan_in_fan_out:
            continue
        base = layer.base_layer
        special = layer.merged or layer.lora_variant or layer.lora_bias.get(_ADAPTER) or layer.lora_magnitude_vector
        dropout = not isinstance(layer.lora_dropout[_ADAPTER], nn.Identity)
        frozen = type(base) is nn.Linear and not any(p.requires_grad for p in base.parameters())
        if frozen and not special and not dropout and base.weight.dtype == torch.float32:
            yield layer


def _convert(layer: PeftLinear) -> None:
    for parameter in layer.base_layer.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    layer.__class__ = FusedLinear


def _equal(layer: PeftLinear) -> bool:
    """Whether a layer's twin, fused, gives the layer's output and gradients where A and B are random numbers."""
    base = layer.base_layer
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, base.in_features, generator=generator)
    d_out = torch.randn(8, base.out_features, generator=generator)
    weights = [layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight]
    kept = [w.data for w in weights]
    try:
        for w in weights:
            w.data = torch.randn(w.shape, generator=generator) / w.shape[1] ** 0.5
        theirs = _outcome(layer.forward, x, weights, d_out)
        scaling = layer.scaling[_ADAPTER]
        fixed = [None if p is None else p.detach().to(torch.bfloat16) for p in (base.weight, base.bias)]
        ours = _outcome(lambda x: _Product.apply(x.to(torch.bfloat16), *fixed, *weights, scaling), x, weights, d_out)
    finally:
        for w, data in zip(weights, kept, strict=True):
            w.data = data
    return all(
        bool((a.float() - b.float()).norm() <= _TOLERANCE * b.float().norm()) for a, b in zip(ours, theirs, strict=True)
    )


def _outcome(forward: Any, x: torch.Tensor, weights: list[Any], d_out: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        out = forward(x)
    return [out.detach(), *torch.autograd.grad(out, [x, *weights], d_out.to(out.dtype))]

"""Fused LoRA layers: PEFT's numbers in bf16 autocast, and only where a layer is plain and proven."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear
from transformers import LlamaConfig, LlamaForCausalLM

from vibeflow_peft import lora
from vibeflow_peft.lora import FusedLinear, fuse


def tuned(**options: Any) -> PeftModel:
    """A tiny model with an adapter that is not zero; attention has biases."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            attention_bias=True,
        )
    )
    config = LoraConfig(
        **{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    )
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


IDS = torch.randint(0, 96, (3, 12), generator=torch.Generator().manual_seed(1))


def outcome(model: PeftModel, *, autocast: bool = True) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(input_ids=IDS, labels=IDS)
    output.loss.backward()
    return output.logits.detach().float(), {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def kinds(model: PeftModel) -> list[type]:
    return [type(module) for module in model.modules() if isinstance(module, Linear)]


@pytest.mark.parametrize("rslora", [False, True])
def test_values_and_gradients_are_as_near_to_fp32_as_pefts(rslora: bool) -> None:
    model = tuned(use_rslora=rslora)
    exact, exact_gradients = outcome(model, autocast=False)
    pefts, pefts_gradients = outcome(model)
    assert fuse(model) == 14 and set(kinds(model)) == {FusedLinear}
    ours, our_gradients = outcome(model)
    assert (ours - exact).norm() <= 1.5 * (pefts - exact).norm()
    assert our_gradients.keys() == exact_gradients.keys()
    assert all(gradient.dtype == torch.float32 for gradient in our_gradients.values())
    assert distance(our_gradients, exact_gradients) <= 1.2 * distance(pefts_gradients, exact_gradients)


def distance(these: dict[str, torch.Tensor], those: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([(these[name] - those[name]).flatten() for name in those]).norm()


def test_the_adapter_can_still_be_switched_off() -> None:
    model = tuned()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = model.get_base_model()
        with model.disable_adapter():
            base = expected(input_ids=IDS).logits
        fuse(model)
        with model.disable_adapter():
            assert torch.equal(expected(input_ids=IDS).logits, base)
        assert not torch.equal(expected(input_ids=IDS).logits, base)


def test_a_run_repeats_bit_for_bit() -> None:
    outcomes = []
    for _ in range(2):
        model = tuned()
        fuse(model)
        outcomes.append(outcome(model))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert all(torch.equal(gradient, outcomes[1][1][name]) for name, gradient in outcomes[0][1].items())


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_plain_stays(options: dict[str, Any]) -> None:
    model = tuned(**options)
    assert fuse(model) == 0 and FusedLinear not in kinds(model)


def test_a_base_that_is_trained_or_not_fp32_stays() -> None:
    model = tuned()
    for name, parameter in model.named_parameters():
        if "q_proj.base_layer" in name:
            parameter.requires_grad_(True)
    model.get_base_model().model.layers[0].self_attn.k_proj.base_layer.half()
    assert fuse(model) == 14 - 2 - 1


def test_a_shape_that_gives_other_numbers_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    real = lora._Product.backward

    def wrong(ctx: Any, d_out: torch.Tensor) -> tuple[Any, ...]:
        d_x, *rest = real(ctx, d_out)
        return (d_x * (1.1 if d_out.shape[1] == 48 else 1.0), *rest)

    monkeypatch.setattr(lora._Product, "backward", staticmethod(wrong))
    model = tuned()
    assert fuse(model) == 14 - 4, "gate and up of both layers stay"
    assert all(p.abs().sum() > 0 for n, p in model.named_parameters() if "lora_B" in n), "the proof put them back"

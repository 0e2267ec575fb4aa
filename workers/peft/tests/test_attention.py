"""Short rows attended to by matrix products: the flash kernel's numbers, and only where they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vibeflow_peft import attention
from vibeflow_peft.attention import MAX_POSITIONS, SHORT_ROWS, fits, short_rows, use_short_rows


def tiny(**config) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96,
            hidden_size=48,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            **config,
        )
    )


def ids(positions: int, rows: int = 3) -> torch.Tensor:
    return torch.randint(0, 96, (rows, positions), generator=torch.Generator().manual_seed(1))


def outcome(model: LlamaForCausalLM, **inputs: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(**inputs, use_cache=False).logits
    logits.square().mean().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every call that was computed by products."""
    seen: list[int] = []
    real = attention._products
    monkeypatch.setattr(attention, "_products", lambda q, *rest: (seen.append(len(q)), real(q, *rest))[1])
    return seen


@pytest.mark.parametrize("at_a_time", [1, 10**9])
def test_values_and_gradients_are_the_flash_kernels(
    at_a_time: int, products: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_CACHED_SCORES", at_a_time)
    model = tiny()
    logits, gradients = outcome(model, input_ids=ids(17))
    with short_rows(model):
        ours, our_gradients = outcome(model, input_ids=ids(17))
    assert products == ([1] * 6 if at_a_time == 1 else [3, 3])
    torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-3, atol=1e-6)
    assert model.config._attn_implementation == "sdpa", "it was for a while only"


def test_what_is_right_of_a_position_does_not_matter() -> None:
    model, whole = tiny(), ids(20)
    use_short_rows(model)
    padded = whole.clone()
    padded[:, 12:] = 0
    torch.testing.assert_close(model(input_ids=padded).logits[:, :12], model(input_ids=whole).logits[:, :12])


def test_what_is_not_plain_goes_to_the_flash_kernel(products: list[int]) -> None:
    model = tiny(max_position_embeddings=2 * MAX_POSITIONS)
    mask = torch.ones(3, 12, dtype=torch.long)
    mask[0, :4] = 0
    expected = model(input_ids=ids(12), attention_mask=mask).logits
    use_short_rows(model)
    torch.testing.assert_close(model(input_ids=ids(12), attention_mask=mask).logits, expected)
    model(input_ids=ids(MAX_POSITIONS + 1, rows=1))
    model.generate(ids(4, rows=1), max_new_tokens=3, do_sample=False)
    assert products == [1, 1], "the prompt of the generation alone, in two layers"


def test_dropout_goes_to_the_flash_kernel(products: list[int]) -> None:
    model = tiny(attention_dropout=0.5).train()
    use_short_rows(model)
    model(input_ids=ids(12))
    assert products == []


def test_it_fits_a_cpu_in_bf16_with_the_flash_kernel() -> None:
    model = tiny()
    assert fits(model, "cpu", "bfloat16")
    assert not fits(model, "cpu", None) and not fits(model, "cuda", "bfloat16")
    model.set_attn_implementation("eager")
    assert not fits(model, "cpu", "bfloat16"), "somebody chose another one"


def test_a_saved_model_does_not_ask_for_it(tmp_path: Path) -> None:
    model = tiny()
    use_short_rows(model)
    model.save_pretrained(tmp_path)
    assert SHORT_ROWS not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert LlamaForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"

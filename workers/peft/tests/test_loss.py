"""The labelled-positions loss: equal to the stock one where it may be used, and not used anywhere else."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from vibeflow_peft import loss
from vibeflow_peft.loss import IGNORED, LabelledLoss, choose


def tiny(**config) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, **config
        )
    )


def a_batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(0, 96, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    labels = ids.masked_fill(mask == 0, IGNORED)
    labels[:, :4] = IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def stock(model: LlamaForCausalLM):
    return lambda inputs: model(**inputs).loss


@pytest.mark.parametrize("tied", [False, True])
def test_value_and_gradients_are_the_models_own(tied: bool) -> None:
    model = tiny(tie_word_embeddings=tied)
    model.train()
    model(**a_batch()).loss.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    ours = LabelledLoss(model)(a_batch())
    ours.backward()
    assert ours.item() == pytest.approx(model(**a_batch()).loss.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_frozen_head_gives_the_same_gradients(autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss._HEAD_POSITIONS, "cpu", 5)  # more than one part, the last one smaller
    model = tiny()
    model.lm_head.requires_grad_(False)
    outcomes = []
    for score in (lambda: model(**a_batch()).loss, lambda: LabelledLoss(model)(a_batch())):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = score()
        (value * 3).backward()
        outcomes.append((value.item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}))
    (theirs, their_gradients), (ours, our_gradients) = outcomes
    tolerance = 2e-2 if autocast else 1e-5
    assert ours == pytest.approx(theirs, rel=tolerance)
    assert their_gradients.keys() == our_gradients.keys()
    for name, gradient in their_gradients.items():
        assert (our_gradients[name] - gradient).norm() <= tolerance * gradient.norm(), name


def test_nothing_is_kept_of_a_frozen_heads_scores() -> None:
    model = tiny()
    model.lm_head.requires_grad_(False)
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.shape), t)[1], lambda t: t):
        LabelledLoss(model)(a_batch())
    assert kept and not any(96 in shape and 32 not in shape for shape in kept)


def test_items_divide_the_sum() -> None:
    model, batch = tiny(), a_batch()
    labelled = int((batch["labels"][:, 1:] != IGNORED).sum())
    assert LabelledLoss(model)(batch, 2 * labelled).item() == pytest.approx(LabelledLoss(model)(batch).item() / 2)


def test_a_batch_without_labels_gives_zero() -> None:
    batch = a_batch()
    batch["labels"].fill_(IGNORED)
    model = tiny()
    for frozen in (False, True):
        model.lm_head.requires_grad_(not frozen)
        value = LabelledLoss(model)(batch)
        value.backward()
        assert value.item() == 0


def test_it_is_chosen_for_a_plain_model_and_leaves_no_trace() -> None:
    model, batch = tiny(attention_dropout=0.5), a_batch()
    model.train()
    state, labels = torch.random.get_rng_state(), batch["labels"].clone()
    path = choose(model, batch, stock(model))
    assert path.name == "labelled", path.reason
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert torch.equal(batch["labels"], labels)


@pytest.mark.parametrize(
    ("name", "value"),
    [("final_logit_softcapping", 30.0), ("logit_scale", 0.5), ("logits_scaling", 8.0), ("output_router_logits", True)],
)
def test_a_telling_configuration_falls_back(name: str, value: object) -> None:
    model = tiny()
    setattr(model.config, name, value)
    path = choose(model, a_batch(), stock(model))
    assert path.name == "stock" and path.reason


def test_an_unknown_head_falls_back() -> None:
    class Head(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden) * 2

    model = tiny()
    model.set_output_embeddings(Head(32, 96, bias=False))
    path = choose(model, a_batch(), stock(model))
    assert path.name == "stock" and "Head" in path.reason


def test_an_adapter_on_the_head_falls_back() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny(), LoraConfig(r=2, target_modules=["q_proj", "lm_head"]))
    assert choose(model, a_batch(), lambda inputs: model(**inputs).loss).name == "stock"


def test_what_only_the_comparison_can_see_falls_back() -> None:
    """A model that scales its logits in code, with nothing in its configuration that says so."""

    class Quiet(LlamaForCausalLM):
        def forward(self, *args, labels=None, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = 30 * torch.tanh(output.logits / 30) * 1.5
            if labels is not None:
                output.loss = functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return output

    torch.manual_seed(0)
    model = Quiet(tiny().config)
    path = choose(model, a_batch(), stock(model))
    assert path.name == "stock" and "first batch" in path.reason


def test_a_loss_that_is_no_number_falls_back() -> None:
    model = tiny()
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    assert choose(model, a_batch(), stock(model)).name == "stock"

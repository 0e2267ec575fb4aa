"""Evaluation: the numbers are the model's own, the interval is the known one, the verdict follows from them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tuned import rows, train_adapter, write_rows

from vibeflow_peft import evaluate as evaluation
from vibeflow_peft import metrics
from vibeflow_peft.encoding import encode_rows
from vibeflow_peft.errors import RunnerError
from vibeflow_peft.evaluate import evaluate
from vibeflow_peft.events import EventWriter
from vibeflow_peft.metrics import PairedLosses, exact_match, paired_interval, rouge_l, verdict
from vibeflow_peft.models import ResolvedModel, load_chat_tokenizer, load_model, resolve
from vibeflow_peft.run import Run
from vibeflow_peft.spec import DatasetRef, Evaluation, Input, ModelRef, RunSpec
from vibeflow_peft.stop import PAUSED, Stopped, StopRequest

FIELDS = {
    "rows",
    "tokens",
    "loss_base",
    "loss_tuned",
    "loss_delta",
    "loss_delta_ci",
    "perplexity_base",
    "perplexity_tuned",
    "rows_improved",
    "generations",
    "exact_match_base",
    "exact_match_tuned",
    "rouge_l_base",
    "rouge_l_tuned",
    "verdict",
    "verdict_text",
    "precision",
    "seconds",
    "samples",
}


@pytest.fixture(scope="module")
def base(models: Path) -> ResolvedModel:
    return resolve("tiny:llama", models)


@pytest.fixture(scope="module")
def adapter(base: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    return train_adapter(base, folder / "adapter", write_rows(folder / "train.jsonl", rows(64)))


@dataclasses.dataclass
class Bench:
    """Runs evaluations of the tiny model in this process."""

    folder: Path
    models: Path

    def run(
        self, adapter: Path | None, count: int, method: str = "lora", stop: StopRequest | None = None, **config
    ) -> tuple[dict, list[str]]:
        data = write_rows(self.folder / "eval.jsonl", rows(count, 1000))
        spec = RunSpec(
            1,
            "evaluate",
            "e",
            1,
            ModelRef("tiny:llama"),
            str(self.folder / "out"),
            str(self.models),
            adapter=Input(str(adapter), method=method) if adapter else None,
            dataset=DatasetRef("chat", Input(), eval=Input(str(data))),
            threads=1,
            evaluate=Evaluation(**{"max_length": 128, "precision": "fp32", "max_new_tokens": 16, **config}),
        )
        events = EventWriter(self.folder / "events.ndjson")
        result = evaluate(Run(spec, events, stop or StopRequest(), None)).metrics
        events.close()
        return result, (self.folder / "events.ndjson").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path, models: Path) -> Bench:
    return Bench(tmp_path, models)


def test_a_tuned_model_is_seen_to_be_better(bench: Bench, adapter: Path) -> None:
    result, events = bench.run(adapter, 120, max_generations=3)
    assert set(result) == FIELDS
    assert (result["rows"], result["generations"], result["verdict"]) == (120, 3, "better")
    low, high = result["loss_delta_ci"]
    assert low < result["loss_delta"] < high < 0
    assert result["loss_delta"] == pytest.approx(result["loss_tuned"] - result["loss_base"])
    assert result["perplexity_base"] == pytest.approx(math.exp(result["loss_base"]))
    assert result["rows_improved"] == 120
    assert "better" in result["verdict_text"]
    assert result["rouge_l_tuned"] > result["rouge_l_base"]
    assert {s["row"] for s in result["samples"]} == {0, 1, 2}
    assert all(s["loss_tuned"] < s["loss_base"] and s["reference"] for s in result["samples"])
    phases = {
        phase
        for phase in ("loss_base", "loss_tuned", "answers_base", "answers_tuned")
        if any(f'"{phase}"' in line for line in events)
    }
    assert len(phases) == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_are_the_models_own(bench: Bench, base: ResolvedModel, adapter: Path, precision: str) -> None:
    result, _ = bench.run(adapter, 7, precision=precision, batch_size=3)
    model, total, tokens = load_model(base), 0.0, 0
    for example in encode_rows(bench.folder / "eval.jsonl", "chat", load_chat_tokenizer(base), 128).examples:
        ids, labels = (torch.tensor(array[None].astype("int64")) for array in (example.input_ids, example.labels))
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * example.labelled
        tokens += example.labelled
    assert result["tokens"] == tokens
    assert result["precision"] == precision
    assert result["loss_base"] == pytest.approx(total / tokens, rel=1e-5 if precision == "fp32" else 2e-2)


def test_batching_changes_nothing(bench: Bench, adapter: Path) -> None:
    one, _ = bench.run(adapter, 20, batch_size=1)
    many, _ = bench.run(adapter, 20, batch_size=16)
    assert one["loss_tuned"] == pytest.approx(many["loss_tuned"], rel=1e-6)


def test_memory_that_is_short_makes_smaller_batches(
    bench: Bench, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = bench.run(adapter, 20, batch_size=8)
    row_losses, sizes = evaluation._row_losses, []

    def measured(model: object, batch: dict, labelled_only: bool) -> np.ndarray:
        sizes.append(len(batch["labels"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return row_losses(model, batch, labelled_only)

    monkeypatch.setattr(evaluation, "_row_losses", measured)
    halved, events = bench.run(adapter, 20, batch_size=8)
    assert sizes[:4] == [8, 4, 2, 2]
    assert halved["loss_tuned"] == pytest.approx(whole["loss_tuned"], rel=1e-6)
    assert any("Memory is short: it goes on with 2 rows at a time" in line for line in events)

    def full(*_: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(evaluation, "_row_losses", full)
    with pytest.raises(MemoryError):
        bench.run(adapter, 20, batch_size=8)


def test_a_full_fine_tune_is_measured_like_an_adapter(bench: Bench, base: ResolvedModel, adapter: Path) -> None:
    from vibeflow_peft.adapters import load_adapter
    from vibeflow_peft.models import load_tokenizer

    whole = bench.folder / "model"
    load_adapter(load_model(base), adapter).merge_and_unload().save_pretrained(whole)
    load_tokenizer(base).save_pretrained(whole)
    lora, _ = bench.run(adapter, 12, max_generations=2)
    full, _ = bench.run(whole, 12, method="full", max_generations=2)
    assert full["loss_base"] == pytest.approx(lora["loss_base"], rel=1e-6)
    assert full["loss_tuned"] == pytest.approx(lora["loss_tuned"], rel=1e-4)
    assert [s["answer_tuned"] for s in full["samples"]] == [s["answer_tuned"] for s in lora["samples"]]


def test_the_base_alone_stands_on_both_sides(bench: Bench) -> None:
    result, _ = bench.run(None, 100)
    assert (result["loss_delta"], result["loss_delta_ci"], result["verdict"]) == (0, [0, 0], "inconclusive")
    assert "Only the base" in result["verdict_text"]


def test_an_evaluation_stops_when_asked(bench: Bench, adapter: Path) -> None:
    stop = StopRequest()
    stop.ask(PAUSED)
    with pytest.raises(Stopped):
        bench.run(adapter, 8, stop=stop)


@pytest.mark.parametrize("harm", ["pickled", "other model", "missing"])
def test_adapters_that_cannot_be_are_refused(bench: Bench, adapter: Path, harm: str) -> None:
    import shutil

    broken = bench.folder / "broken"
    shutil.copytree(adapter, broken)
    if harm == "pickled":
        (broken / "adapter_model.safetensors").rename(broken / "adapter_model.bin")
    elif harm == "missing":
        shutil.rmtree(broken)
    else:
        config = broken / "adapter_config.json"
        config.write_text(config.read_text().replace('"r": 8', '"r": 4'))
    with pytest.raises(RunnerError) as caught:
        bench.run(broken, 4)
    assert caught.value.code == "bad_data"


def paired(differences: np.ndarray, tokens: np.ndarray | None = None) -> PairedLosses:
    tokens = np.ones(len(differences)) if tokens is None else tokens
    return PairedLosses(np.full(len(differences), 2.0) * tokens, (2.0 + differences) * tokens, tokens)


def test_the_interval_is_the_known_one() -> None:
    differences = np.random.default_rng(1).normal(-0.1, 0.5, 400)
    low, high = paired_interval(paired(differences), seed=42)
    center, half = differences.mean(), 1.96 * differences.std() / 20
    assert low == pytest.approx(center - half, abs=0.006)
    assert high == pytest.approx(center + half, abs=0.006)
    assert (low, high) == paired_interval(paired(differences), seed=42)
    assert (low, high) != paired_interval(paired(differences), seed=43)


def test_the_interval_weighs_rows_by_their_tokens() -> None:
    constant = paired_interval(paired(np.full(30, -0.25), np.arange(1.0, 31.0)), seed=1)
    assert constant == pytest.approx((-0.25, -0.25))
    # One long row that got worse among short ones that got better: the mean is the tokens'.
    losses = paired(np.array([-1.0] * 9 + [1.0]), np.array([1.0] * 9 + [91.0]))
    assert losses.mean_tuned - losses.mean_base == pytest.approx(0.82)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (np.full(100, -0.1), "better"),
        (np.full(100, 0.1), "worse"),
        (np.array([-0.1, 0.1] * 50), "inconclusive"),
        (np.full(99, -0.1), "too_few_rows"),
        (np.array([-0.1]), "too_few_rows"),
    ],
)
def test_the_verdict_follows_from_the_interval(differences: np.ndarray, expected: str) -> None:
    losses = paired(differences)
    name, text = verdict(losses, paired_interval(losses, seed=1, resamples=500))
    assert name == expected
    assert f"{len(differences)} held-out row" in text


def test_answers_are_compared_as_people_would() -> None:
    assert exact_match(" It is\n42. ", "it is 42.")
    assert not exact_match("It is 42", "It is 43")
    assert rouge_l(["the cat sat"], ["the cat sat"]) == 1
    assert rouge_l(["the cat"], ["the dog"]) == pytest.approx(0.5)
    assert rouge_l(["Привет, мир"], ["привет мир"]) == 1, "words of other scripts count"
    assert rouge_l(["東京は"], ["東京"]) == pytest.approx(0.8), "scripts without blanks count by character"
    assert rouge_l([], []) == 0
    assert metrics.perplexity(1e6) < math.inf

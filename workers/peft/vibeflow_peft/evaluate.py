"""The verb `evaluate`: is the tuned model better than its base on rows that it was not trained on?

Both see identical tokens in one precision, are scored on labelled positions only, row by row, and are compared by a
paired bootstrap (metrics.py); then both answer a few rows. docs/evaluation.md says what the numbers mean. An evaluation
keeps nothing: stopped, it starts over.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from . import device as devices
from . import loss, metrics, patience, wording
from .adapters import load_adapter
from .encoding import IGNORED, Example, Question, RowEncoder, encode_rows, read_rows
from .errors import RunnerError, classify
from .generation import answer_greedily
from .models import ResolvedModel, load_chat_tokenizer, load_model
from .pulse import BATCH, TOKEN
from .run import Ending, Run
from .spec import Evaluation, Input
from .tokenizer import ChatTokenizer

_SAMPLES = 50  # kept in the result
_SAMPLE_CHARACTERS = 4000
_POSITIONS = 1024  # labelled positions whose logits are held at a time
_GENERATION_BATCH = 8


def evaluate(run: Run) -> Ending:
    """Compares spec.adapter with spec.model on spec.dataset.eval; the metrics are a contract.EvaluationResult.

    Without an adapter only the base is measured, and stands on both sides. Raises Stopped between batches and tokens,
    and RunnerError ("bad_data", "all_labels_masked", "model_unavailable", "non_finite_loss", …).
    """
    spec, started = run.spec, time.monotonic()
    torch.set_num_threads(spec.threads or devices.cores())
    contest = _prepare(run)
    losses, base_answers, tuned_answers = contest.compare()
    return Ending(
        metrics={
            **_scores(losses, spec.evaluate.seed, compared=spec.adapter is not None),
            **_answers(contest.questions, base_answers, tuned_answers),
            "precision": contest.precision.name,
            "seconds": round(time.monotonic() - started, 3),
            "samples": contest.samples(losses, base_answers, tuned_answers),
        }
    )


@dataclass(frozen=True)
class _Contest:
    """Everything that both sides share: tokens, questions, device and precision, and the run around them."""

    model: ResolvedModel
    adapter: Input | None
    tokenizer: ChatTokenizer
    examples: list[Example]
    questions: list[Question]
    config: Evaluation
    device: devices.Device
    precision: devices.Precision
    run: Run

    def compare(self) -> tuple[metrics.PairedLosses, list[str], list[str]]:
        """Summed losses of base and tuned per example, and both sides' answers."""
        base, base_answers, tuned, tuned_answers = self._measured()
        for side, sums in (("base", base), ("tuned", tuned)):
            if not np.isfinite(sums).all():
                row = self.examples[int(np.flatnonzero(~np.isfinite(sums))[0])].row
                raise RunnerError(
                    "non_finite_loss",
                    f"the {side} model's loss on line {row + 1} is not a number",
                    remedy="evaluate in fp32; if it persists, the weights are broken",
                )
        tokens = np.array([example.labelled for example in self.examples], np.float64)
        return metrics.PairedLosses(base, tuned, tokens), base_answers, tuned_answers

    def _measured(self) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
        if self.adapter is not None and self.adapter.method == "full":
            base, base_answers = self._side("base", self._load(self.model))
            gc.collect()  # two whole models at once may not fit
            tuned = ResolvedModel("tuned", "", Path(self.adapter.path), "", self.model.config)
            return base, base_answers, *self._side("tuned", self._load(tuned))
        model = self._load(self.model)
        if self.adapter is None:
            base, answers = self._side("base", model)
            return base, answers, base, answers
        return self._toggled(load_adapter(model, self.adapter.path))

    def _toggled(self, model: Any) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
        """Both sides of one loaded model, its adapter off and on."""
        with model.disable_adapter():
            base = self._losses("base", model)
        tuned = self._losses("tuned", model)
        self._settle(model)
        with model.disable_adapter():
            base_answers = self._answers("base", model)
        return base, base_answers, tuned, self._answers("tuned", model)

    def _side(self, side: str, model: Any) -> tuple[np.ndarray, list[str]]:
        losses = self._losses(side, model)
        self._settle(model)
        return losses, self._answers(side, model)

    def _load(self, model: ResolvedModel) -> Any:
        self.run.stop.check()
        return load_model(model, dtype=self.precision.weights, device=self.device.kind)

    def _settle(self, model: Any) -> None:
        """16-bit weights for the answers, as they are served: autocast would convert them anew at every token."""
        if self.questions and self.precision.autocast:
            model.to(getattr(torch, self.precision.autocast))

    def _losses(self, side: str, model: Any) -> np.ndarray:
        """Summed negative log-likelihood of every example; the longest come first, so that batches waste no padding."""
        sums = np.zeros(len(self.examples))
        order = sorted(range(len(self.examples)), key=lambda i: -len(self.examples[i].input_ids))
        labelled_only = None

        def measure(chosen: list[int]) -> None:
            nonlocal labelled_only
            batch = _padded([self.examples[i] for i in chosen], self.tokenizer.pad_id, self.device.kind)
            if labelled_only is None:
                path = loss.choose(model, batch, lambda inputs: model(**inputs).loss)
                labelled_only = path.name == "labelled"
            with self.run.pulse.watching(BATCH), torch.inference_mode(), self._autocast():
                sums[chosen] = _row_losses(model, batch, labelled_only)

        self._in_batches(f"loss_{side}", order, self.config.batch_size, measure)
        return sums

    def _in_batches(self, phase: str, order: list[int], size: int, do: Callable[[list[int]], None]) -> None:
        """Does all places in order, so many at a time, and says how far it is; half as many while memory is short."""
        start = 0
        while start < len(order):
            self.run.stop.check()
            chosen = order[start : start + size]
            if _fits(do, chosen):
                start += len(chosen)
                self.run.events.emit("progress", phase=phase, done=start, total=len(order))
            else:
                size = len(chosen) // 2
                self.run.events.log(wording.smaller_batches(size))
                gc.collect()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = self.precision.autocast
        return torch.autocast(self.device.kind, getattr(torch, dtype)) if dtype else contextlib.nullcontext()

    def _answers(self, side: str, model: Any) -> list[str]:
        """One greedy answer a question, in the questions' order."""
        answers = [""] * len(self.questions)
        order = sorted(range(len(self.questions)), key=lambda i: -len(self.questions[i].prompt_ids))

        def go_on() -> None:
            self.run.stop.check()
            self.run.pulse.begins(TOKEN)

        def ask(chosen: list[int]) -> None:
            prompts = [self.questions[i].prompt_ids for i in chosen]
            with self.run.pulse.watching(TOKEN):
                written = answer_greedily(model, self.tokenizer, prompts, self.config.max_new_tokens, go_on)
            for i, answer in zip(chosen, written, strict=True):
                answers[i] = answer

        self._in_batches(f"answers_{side}", order, _GENERATION_BATCH, ask)
        return answers

    def samples(self, losses: metrics.PairedLosses, base: list[str], tuned: list[str]) -> list[dict[str, Any]]:
        """The answered rows as contract.EvaluationSample, long texts cut."""
        of_row = {example.row: i for i, example in enumerate(self.examples)}
        return [
            {
                "row": question.row,
                "prompt": question.prompt[:_SAMPLE_CHARACTERS],
                "reference": question.reference[:_SAMPLE_CHARACTERS],
                "answer_base": base[i][:_SAMPLE_CHARACTERS],
                "answer_tuned": tuned[i][:_SAMPLE_CHARACTERS],
                "loss_base": float(losses.base[at] / losses.tokens[at]),
                "loss_tuned": float(losses.tuned[at] / losses.tokens[at]),
            }
            for i, question in enumerate(self.questions[:_SAMPLES])
            for at in (of_row[question.row],)
        ]


def _prepare(run: Run) -> _Contest:
    spec, events, stop = run.spec, run.events, run.stop
    config = spec.evaluate
    model = patience.resolve(run)
    tokenizer = load_chat_tokenizer(model)
    path, fmt = spec.dataset.eval.path, spec.dataset.format
    length = min(config.max_length, model.max_positions)
    data = encode_rows(path, fmt, tokenizer, length, max_rows=config.max_rows)
    stop.check()
    device = devices.choose_device(spec.device)
    precision = devices.choose_precision(device, config.precision, devices.cpu_flags(), train_all=False)
    threads = spec.threads or devices.cores()
    events.log(
        *wording.machine(device, precision, threads, threads_set=bool(spec.threads)),
        *wording.rows("held out", data.stats, length),
    )

    questions = _questions(path, fmt, tokenizer, data.examples, config, model.max_positions)
    return _Contest(model, spec.adapter, tokenizer, data.examples, questions, config, device, precision, run)


def _questions(
    path: str, fmt: str, tokenizer: ChatTokenizer, examples: list[Example], config: Evaluation, positions: int
) -> list[Question]:
    """The first max_generations scored rows that can be asked whole within the model's positions."""
    if config.max_generations == 0 or config.max_new_tokens == 0 or fmt == "text":
        return []
    encoder, scored = RowEncoder(fmt, tokenizer), {example.row for example in examples}
    asked = (encoder.question(number, row) for number, row in read_rows(path, config.max_rows) if number in scored)
    fitting = (q for q in asked if q is not None and 0 < len(q.prompt_ids) <= positions - config.max_new_tokens)
    return list(islice(fitting, config.max_generations))


def _fits(do: Callable[[list[int]], None], chosen: list[int]) -> bool:
    """Does them; false if memory is short for so many, which for a single one is an error."""
    try:
        do(chosen)
    except Exception as error:
        if len(chosen) == 1 or classify(error).code != "out_of_memory":
            raise
        return False
    return True


def _padded(examples: list[Example], pad_id: int, device: str) -> dict[str, torch.Tensor]:
    """Examples as one batch, padded on the right."""
    longest = max(len(example.input_ids) for example in examples)
    ids = np.full((len(examples), longest), pad_id, np.int64)
    mask = np.zeros_like(ids)
    labels = np.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        size = len(example.input_ids)
        ids[row, :size], mask[row, :size], labels[row, :size] = example.input_ids, 1, example.labels
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


def _row_losses(model: Any, batch: dict[str, torch.Tensor], labelled_only: bool) -> np.ndarray:
    """Negative log-likelihood summed over each row's labelled positions, in float64."""
    base = loss.base_of(model)
    backbone = base.base_model if labelled_only else base
    output = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    states = (output.last_hidden_state if labelled_only else output.logits)[:, :-1]
    targets = batch["labels"][:, 1:].reshape(-1)
    chosen = (targets != IGNORED).nonzero().squeeze(-1)
    states, width = states.reshape(-1, states.shape[-1]), batch["labels"].shape[1] - 1
    sums = torch.zeros(len(batch["labels"]), dtype=torch.float64, device=targets.device)
    for positions in chosen.split(_POSITIONS):
        part = states.index_select(0, positions)
        logits = base.get_output_embeddings()(part) if labelled_only else part
        each = functional.cross_entropy(logits.float(), targets.index_select(0, positions), reduction="none")
        sums.index_add_(0, positions // width, each.double())
    return sums.cpu().numpy()


def _scores(losses: metrics.PairedLosses, seed: int, *, compared: bool) -> dict[str, Any]:
    interval = metrics.paired_interval(losses, seed)
    verdict, text = metrics.verdict(losses, interval)
    if not compared:
        text = "Only the base model was measured."
        verdict = verdict if verdict == "too_few_rows" else "inconclusive"
    return {
        "rows": len(losses.tokens),
        "tokens": int(losses.tokens.sum()),
        "loss_base": losses.mean_base,
        "loss_tuned": losses.mean_tuned,
        "loss_delta": losses.mean_tuned - losses.mean_base,
        "loss_delta_ci": list(interval),
        "perplexity_base": metrics.perplexity(losses.mean_base),
        "perplexity_tuned": metrics.perplexity(losses.mean_tuned),
        "rows_improved": losses.improved,
        "verdict": verdict,
        "verdict_text": text,
    }


def _answers(questions: list[Question], base: list[str], tuned: list[str]) -> dict[str, Any]:
    references = [question.reference for question in questions]
    scores: dict[str, Any] = {"generations": len(questions)}
    for side, answers in (("base", base), ("tuned", tuned)):
        matches = [metrics.exact_match(a, r) for a, r in zip(answers, references, strict=True)]
        scores[f"exact_match_{side}"] = float(np.mean(matches)) if matches else 0.0
        scores[f"rouge_l_{side}"] = metrics.rouge_l(answers, references)
    return scores

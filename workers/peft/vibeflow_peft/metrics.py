"""What an evaluation concludes from its numbers. Plain numpy: no model in here."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH_ROWS = 100
"""Fewer rows than this get no verdict."""

RESAMPLES = 10_000

_CELLS = 1 << 22  # rows × resamples held at a time


@dataclass(frozen=True)
class PairedLosses:
    """Summed negative log-likelihoods (nats) of base and tuned per row, and the row's scored tokens; equal lengths."""

    base: np.ndarray
    tuned: np.ndarray
    tokens: np.ndarray

    @property
    def mean_base(self) -> float:
        """Nats a token over all rows."""
        return float(self.base.sum() / self.tokens.sum())

    @property
    def mean_tuned(self) -> float:
        """Nats a token over all rows."""
        return float(self.tuned.sum() / self.tokens.sum())

    @property
    def improved(self) -> int:
        """Rows that the tuned model finds likelier."""
        return int(np.count_nonzero(self.tuned < self.base))


def paired_interval(losses: PairedLosses, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % percentile interval of mean_tuned − mean_base, rows drawn with replacement.

    Rows are drawn, not tokens, for a row's tokens are not independent; paired, for both models met the same rows; and
    each draw is weighted by its tokens, as the means are.
    """
    count = len(losses.tokens)
    difference = losses.tuned - losses.base
    random = np.random.Generator(np.random.PCG64(seed))
    deltas = np.empty(resamples)
    step = max(1, _CELLS // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        # Drawing how often each row comes up is the same as drawing rows, and turns the sums into two products.
        times = random.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        deltas[start : start + size] = (times @ difference) / (times @ losses.tokens)
    low, high = np.quantile(deltas, [0.025, 0.975])
    return float(low), float(high)


def perplexity(loss: float) -> float:
    """exp(loss), kept finite for JSON."""
    return math.exp(min(loss, 700.0))


def verdict(losses: PairedLosses, interval: tuple[float, float]) -> tuple[str, str]:
    """The contract's verdict and what it means in plain words."""
    rows, delta = len(losses.tokens), losses.mean_tuned - losses.mean_base
    low, high = interval
    change = (
        f"its loss on {rows} held-out row{'s' * (rows != 1)} is {abs(delta):.3f} nats a token "
        f"{'lower' if delta < 0 else 'higher'} than the base model's (95 % interval {low:+.3f} to {high:+.3f}), "
        f"perplexity {perplexity(losses.mean_base):.2f} → {perplexity(losses.mean_tuned):.2f}, and "
        f"{losses.improved} of {rows} rows improved."
    )
    if rows < ENOUGH_ROWS:
        return "too_few_rows", (
            f"Too few rows for a verdict: hold out at least {ENOUGH_ROWS}. "
            f"As far as these tell of the tuned model, {change}"
        )
    if high < 0:
        return "better", f"The tuned model is better: {change}"
    if low > 0:
        return "worse", f"The tuned model is worse: {change}"
    return "inconclusive", f"No clear difference: for the tuned model, {change} The interval includes zero."


def exact_match(answer: str, reference: str) -> bool:
    """Whether two texts are the same but for case and blanks."""
    return _plain(answer) == _plain(reference)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


class _Words:
    """rouge-score's own tokenizer knows only a–z and 0–9 and would score every other script 0."""

    # A character of a script written without blanks is a word of its own.
    _WORD = re.compile(
        r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|"
        r"[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+"
    )

    def tokenize(self, text: str) -> list[str]:
        return self._WORD.findall(text.casefold())


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """The mean ROUGE-L F-measure of answers against references, 0 to 1; 0 for none."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    scores = [
        scorer.score(reference, answer)["rougeL"].fmeasure
        for answer, reference in zip(answers, references, strict=True)
    ]
    return float(np.mean(scores)) if scores else 0.0

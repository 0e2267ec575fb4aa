"""How long the rest of a training takes, judged by what this launch has seen of it.

Nothing is said before there is a basis; from then on there is always a range beside the number. Imports nothing heavy.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import stdev

# A launch's first steps pay for kernels, allocations and cold caches.
_WARM_UP = 2
_BASIS = 3
# Enough to even out long and short rows, few enough to follow a machine that becomes busy.
_RECENT = 50
# Two standard deviations: the truth lies in the range nineteen times of twenty, were all steps independent.
_DEVIATIONS = 2.0
# They are not: a machine is busy for minutes. No range is narrower than this.
_DRIFT = 0.1
# A forward pass alone against a whole training step, a token; 3.2 to 3.6 measured on idle CPUs, 6 on a busy one.
_FORWARD, _FORWARD_AT_LEAST, _FORWARD_AT_MOST = 1 / 3, 1 / 6, 1 / 2


@dataclass(frozen=True)
class Estimate:
    """Seconds that something will take: the likeliest, and the range that they should lie in."""

    seconds: float
    low: float
    high: float

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.seconds + other.seconds, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Estimate:
        """The estimate of factor as much."""
        return Estimate(self.seconds * factor, self.low * factor, self.high * factor)


NOTHING = Estimate(0.0, 0.0, 0.0)


def fields(estimate: Estimate | None) -> dict[str, float | None]:
    """An estimate as an event tells it; null while there is none."""
    if estimate is None:
        return {"eta_seconds": None, "eta_low_seconds": None, "eta_high_seconds": None}
    return {
        "eta_seconds": round(estimate.seconds, 3),
        "eta_low_seconds": round(estimate.low, 3),
        "eta_high_seconds": round(estimate.high, 3),
    }


class Pace:
    """The pace of items of one kind, each of some units of work (a step is one unit, a batch its tokens)."""

    def __init__(self) -> None:
        self._seen = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)

    def took(self, seconds: float, units: float = 1.0) -> None:
        """Notes one item that is done."""
        self._seen += 1
        if self._seen > _WARM_UP:
            self._recent.append((seconds, units))

    def left(self, items: int, units: float) -> Estimate | None:
        """How long further items take that have units of work together; None while there is no basis."""
        if items == 0:
            return NOTHING
        if len(self._recent) < _BASIS:
            return None
        rate = sum(seconds for seconds, _ in self._recent) / sum(units for _, units in self._recent)
        spread = stdev(seconds / units for seconds, units in self._recent) / rate if rate else 0.0
        # The mean of the items to come is uncertain by their own number, and by how few have been seen; the factor
        # (1 + 2 / (n - 1)) is what Student's distribution adds, nearly.
        seen = len(self._recent)
        deviations = _DEVIATIONS * (1 + 2 / (seen - 1)) * math.sqrt(1 / items + 1 / seen)
        wide = 1 + max(_DRIFT, deviations * spread)
        return Estimate(rate * units, rate * units / wide, rate * units * wide)


class Batches:
    """The pace of rows that are measured in batches, the shortest first.

    Judged by their number alone, the longer ones to come are underestimated; judged by their tokens, what each costs
    besides is counted too often. The truth lies between.
    """

    def __init__(self, count: int, tokens: int) -> None:
        self._count, self._tokens, self._whole = count, tokens, tokens
        self._by_number, self._by_tokens = Pace(), Pace()

    def took(self, seconds: float, tokens: int) -> None:
        """Notes a batch that is done."""
        self._count, self._tokens = self._count - 1, self._tokens - tokens
        self._by_number.took(seconds)
        self._by_tokens.took(seconds, tokens)

    @property
    def share_left(self) -> float:
        """How much of the tokens is left, 1 at the start."""
        return self._tokens / self._whole

    def left(self) -> Estimate | None:
        """How long the rest takes; None while there is no basis."""
        low, high = self._by_number.left(self._count, self._count), self._by_tokens.left(self._count, self._tokens)
        if low is None or high is None:
            return None
        return Estimate((low.seconds + high.seconds) / 2, min(low.low, high.low), max(low.high, high.high))


@dataclass(frozen=True)
class Course:
    """What a training consists of: its steps, and the held-out losses on the way (0: none) and at its end."""

    steps: int
    evaluate_every: int
    held_out_tokens: int  # 0 without held-out rows


class Outlook:
    """Looks ahead from any point of a training, as far as this launch has seen its like."""

    def __init__(self, course: Course) -> None:
        self._course, self._steps, self._tokens = course, Pace(), Pace()
        self._stepped, self._saving = 0, 0.0
        self._evaluated: float | None = None

    def stepped(self, seconds: float, tokens: int) -> None:
        """Notes a step."""
        self._stepped += 1
        self._steps.took(seconds)
        self._tokens.took(seconds, max(tokens, 1))

    def saved(self, seconds: float) -> None:
        """Notes a checkpoint."""
        self._saving += seconds

    def evaluated(self, seconds: float) -> None:
        """Notes a held-out loss."""
        self._evaluated = seconds

    def after(self, step: int) -> Estimate | None:
        """What is left once a step is done, the held-out loss that may be due at it included."""
        return self._sum(step, self._due(step - 1))

    def while_evaluating(self, step: int, batches: Batches) -> Estimate | None:
        """What is left while the held-out loss after a step is measured: by its own batches or, before they give a
        basis, by what one takes."""
        rest, further = batches.left(), self._sum(step, self._due(step))
        if rest is None and (one := self._evaluation()) is not None:
            rest = one.times(batches.share_left)
        return further + rest if further is not None and rest is not None else None

    def _sum(self, step: int, evaluations: int) -> Estimate | None:
        count = self._course.steps - step
        steps = self._steps.left(count, count)
        evaluation = self._evaluation() if evaluations else NOTHING
        if steps is None or evaluation is None:
            return None
        saving = self._saving / max(self._stepped, 1) * count
        return steps + evaluation.times(evaluations) + Estimate(saving, saving, saving)

    def _due(self, step: int) -> int:
        """How many held-out losses come after a step's own."""
        course = self._course
        if course.held_out_tokens == 0 or step >= course.steps:
            return 0
        every = course.evaluate_every
        return course.steps // every - step // every + (course.steps % every != 0) if every else 1

    def _evaluation(self) -> Estimate | None:
        """One held-out loss: as long as the last one, or by the pace of training."""
        if self._evaluated is not None:
            seconds = self._evaluated
            return Estimate(seconds, seconds / (1 + _DRIFT), seconds * (1 + _DRIFT))
        trained = self._tokens.left(1, self._course.held_out_tokens)
        if trained is None:
            return None
        seconds = trained.seconds
        return Estimate(seconds * _FORWARD, seconds * _FORWARD_AT_LEAST, seconds * _FORWARD_AT_MOST)

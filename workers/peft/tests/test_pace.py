"""The estimate of what is left: silent without a basis, then a range that holds."""

from __future__ import annotations

import random

import pytest

from vibeflow_peft import pace
from vibeflow_peft.pace import NOTHING, Batches, Course, Estimate, Outlook, Pace


def paced(*seconds: float) -> Pace:
    steps = Pace()
    for each in seconds:
        steps.took(each)
    return steps


def test_nothing_is_said_without_a_basis() -> None:
    assert paced().left(10, 10) is None
    assert paced(9.0, 8.0, 1.0, 1.0).left(10, 10) is None
    assert pace.fields(None) == {"eta_seconds": None, "eta_low_seconds": None, "eta_high_seconds": None}
    assert paced().left(0, 0) == NOTHING


def test_warm_up_steps_do_not_count() -> None:
    assert paced(90.0, 40.0, 2.0, 2.0, 2.0).left(10, 10) == Estimate(20.0, pytest.approx(20 / 1.1), pytest.approx(22.0))


def test_uneven_steps_widen_the_range_and_more_of_them_narrow_it() -> None:
    even, uneven = paced(0, 0, *[2.0] * 6).left(50, 50), paced(0, 0, *[1.0, 3.0] * 3).left(50, 50)
    longer = paced(0, 0, *[1.0, 3.0] * 20).left(50, 50)
    assert even.seconds == uneven.seconds == longer.seconds == 100.0
    assert even.high < longer.high < uneven.high and uneven.low < longer.low < even.low


def test_a_busy_machine_is_noticed() -> None:
    assert paced(*[1.0] * 60, *[5.0] * 50).left(10, 10).seconds == pytest.approx(50.0)


def test_units_are_what_counts() -> None:
    batches = Pace()
    for tokens in (1, 1, 100, 200, 300):
        batches.took(tokens / 50, tokens)
    assert batches.left(2, 1000).seconds == pytest.approx(20.0)


def test_the_range_holds() -> None:
    """Steps as long as their rows: the truth lies in the range far more often than not, at any point of a run."""
    draw, held, asked = random.Random(7), 0, 0
    for _ in range(200):
        seconds = [draw.lognormvariate(0.0, 0.4) for _ in range(80)]
        for done in (6, 20, 60):
            estimate = paced(*seconds[:done]).left(80 - done, 80 - done)
            asked, held = asked + 1, held + (estimate.low <= sum(seconds[done:]) <= estimate.high)
    assert held / asked > 0.9


def batches(*seconds: float, count: int = 10, tokens: int = 100) -> Batches:
    """Batches of 10 tokens each, some of them done."""
    measured = Batches(count, tokens)
    for each in seconds:
        measured.took(each, 10)
    return measured


def test_batches_are_judged_by_number_and_by_tokens() -> None:
    assert batches(9.0, 9.0, 2.0, 2.0).left() is None
    assert batches(9.0, 9.0, 2.0, 2.0, 2.0).left().seconds == pytest.approx(10.0)
    longer_to_come = batches(0, 0, 2.0, 2.0, 2.0, tokens=150)  # 5 batches, 100 tokens
    assert longer_to_come.left() == Estimate(pytest.approx(15.0), pytest.approx(10 / 1.1), pytest.approx(22.0))
    assert batches(*[1.0] * 10).left() == NOTHING and batches().share_left == 1.0


def outlook(*, every: int = 0, tokens: int = 0, steps: int = 10, seen: int = 5) -> Outlook:
    ahead = Outlook(Course(steps, every, tokens))
    for _ in range(seen):
        ahead.stepped(2.0, 100)
    return ahead


def test_the_held_out_loss_at_the_end_is_part_of_it() -> None:
    assert outlook(seen=4, tokens=600).after(4) is None
    assert outlook().after(5).seconds == pytest.approx(10.0)
    ahead = outlook(tokens=600)
    assert ahead.after(5).seconds == pytest.approx(10.0 + 600 * 0.02 / 3), "by the pace of training, forward only"
    assert ahead.after(10).seconds == pytest.approx(4.0), "the last step is not the end"


def test_measured_once_it_is_known() -> None:
    ahead = outlook(tokens=600, every=5)
    ahead.evaluated(7.0)
    assert ahead.while_evaluating(5, batches(*[1.0] * 10)).seconds == pytest.approx(10.0 + 7.0)


@pytest.mark.parametrize(
    ("steps", "every", "step", "due"),
    [(10, 0, 4, 1), (10, 0, 10, 0), (10, 5, 4, 2), (10, 5, 5, 1), (10, 4, 4, 2), (10, 4, 8, 1), (10, 4, 10, 0)],
)
def test_held_out_losses_that_are_due(steps: int, every: int, step: int, due: int) -> None:
    assert outlook(steps=steps, every=every, tokens=1)._due(step) == due


def test_while_it_is_measured() -> None:
    ahead = outlook(tokens=600)
    begun, known = batches(*[1.0] * 4, count=8, tokens=80), batches(*[1.0] * 6)
    assert ahead.while_evaluating(10, begun).seconds == pytest.approx(2.0), "half of one, by the pace of training"
    assert ahead.while_evaluating(10, known) == known.left()
    fresh = Outlook(Course(10, 0, 600))  # died after the last step: this launch has seen none
    assert fresh.while_evaluating(10, begun) is None
    assert fresh.while_evaluating(10, known) == known.left()


def test_saving_takes_time_too() -> None:
    ahead = outlook()
    ahead.saved(5.0)
    assert ahead.after(5).seconds == pytest.approx(10.0 + 5.0)

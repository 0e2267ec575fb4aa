"""The pulse: what a supervisor reads of a runner that computes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from vibeflow_peft import pulse
from vibeflow_peft.pulse import BATCH, STEP, Pulse


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A pulse whose things take 12 seconds each, and how to read it."""
    clock = itertools.count(0, 12)
    monkeypatch.setattr(pulse, "monotonic", lambda: next(clock))
    return Pulse(tmp_path / "pulse"), lambda: json.loads((tmp_path / "pulse").read_text(encoding="utf-8"))


def test_only_what_computes_is_watched(told) -> None:
    beating, read = told
    beating.begins(STEP)
    assert read() == {"beat": 1, "patience_seconds": 1800, "doing": "a step"}
    beating.ends()
    assert read() == {"beat": 2, "patience_seconds": 0, "doing": ""}


def test_patience_is_learnt_of_steps_alone(told) -> None:
    beating, read = told
    for doing in (STEP, BATCH):
        for _ in range(3):
            with beating.watching(doing):
                assert read()["patience_seconds"] == 1800
    with beating.watching(STEP):
        assert read()["patience_seconds"] == 20 * 12
    with beating.watching(BATCH):
        assert read()["patience_seconds"] == 1800, "the longest of its batches is not judged by the shorter ones"


def test_what_fails_is_not_watched_any_more(told) -> None:
    beating, read = told
    with pytest.raises(RuntimeError), beating.watching(BATCH):
        raise RuntimeError
    assert read()["patience_seconds"] == 0

"""Fixtures: one warm parent for the session, a shared models folder, and a factory of runs for each test."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import Factory, WarmParent


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's base models are built."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmParent]:
    """A warm parent. Its socket lies in a short path: Unix sockets allow about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="vf") as folder:
        parent = WarmParent(Path(folder) / "warm.sock", Path(folder) / "warm.log").start().ready()
        yield parent
        parent.stop()


@pytest.fixture
def runs(tmp_path: Path, models: Path, warm: WarmParent) -> Factory:
    """Launches runs of this test."""
    return Factory(tmp_path, models, warm)


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory: pytest.TempPathFactory, models: Path, warm: WarmParent) -> Factory:
    """Launches runs that several tests of a module compare with."""
    return Factory(tmp_path_factory.mktemp("shared"), models, warm)

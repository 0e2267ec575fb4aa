"""Imports point down: no module needs one that needs it, and nothing heavy is imported before a verb is known."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from harness import ENVIRONMENT

SOURCE = Path(__file__).resolve().parents[1] / "vibeflow_peft"
MODULES = {path.stem: path for path in SOURCE.glob("*.py")}


def imports(path: Path) -> set[str]:
    """The package's modules that one imports, also inside functions; not those that only its types need."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found.update([node.module] if node.module else [name.name for name in node.names])
        pending.extend(ast.iter_child_nodes(node))
    return found


def test_no_import_comes_back() -> None:
    graph = {name: imports(path) for name, path in MODULES.items()}
    assert graph["runner"] >= {"train", "run"}, "imports inside functions count"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", ["__main__", "runner", "serve", "warm", "run", "wording", "pace"])
def test_a_process_starts_without_the_libraries(module: str) -> None:
    script = (
        f"import sys, vibeflow_peft.{module}; "
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'psutil', 'uvicorn'} & sys.modules.keys(); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True)

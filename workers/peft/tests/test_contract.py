"""The spec's dataclasses and the contract's Go structs must have the same fields, and the codes the same names."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from vibeflow_peft import errors, spec

CONTRACT = Path(__file__).resolve().parents[3] / "contract"

STRUCTS = {
    "RunSpec": spec.RunSpec,
    "ModelRef": spec.ModelRef,
    "Input": spec.Input,
    "DatasetRef": spec.DatasetRef,
    "Training": spec.Training,
    "LoRA": spec.LoRA,
    "Checkpoint": spec.CheckpointPolicy,
    "Evaluation": spec.Evaluation,
    "ExportSpec": spec.ExportSpec,
    "FileInfo": spec.FileInfo,
}
GO_TYPES = {"string": str, "int": int, "int64": int, "float64": float, "bool": bool}


def go_fields(struct: str) -> dict[str, str]:
    """JSON name → Go type of a struct in contract/run.go."""
    source = (CONTRACT / "run.go").read_text(encoding="utf-8")
    found = re.search(rf"^type {struct} struct {{\n(.*?)^}}", source, re.MULTILINE | re.DOTALL)
    assert found, struct
    return {name: kind for kind, name in re.findall(r'^\s+\w+\s+(\S+)\s+`json:"(\w+)', found.group(1), re.MULTILINE)}


@pytest.mark.parametrize("struct", STRUCTS)
def test_fields_are_the_same(struct: str) -> None:
    ours = {field.name: field.type for field in dataclasses.fields(STRUCTS[struct])}
    theirs = go_fields(struct)
    assert ours.keys() == theirs.keys()
    for name, kind in theirs.items():
        if kind in GO_TYPES:
            assert ours[name] == GO_TYPES[kind].__name__, f"{struct}.{name}"


def test_error_codes_are_the_contracts() -> None:
    known = set(re.findall(r'= "(\w+)"', (CONTRACT / "errors.go").read_text(encoding="utf-8")))
    assert errors.EXIT_CODES.keys() <= known
    assert len(set(errors.EXIT_CODES.values())) == len(errors.EXIT_CODES), "one exit code a row"


def test_outcomes_are_the_contracts() -> None:
    from vibeflow_peft.runner import _OUTCOME_CODES

    known = set(re.findall(r'^\tOutcome\w+\s+Outcome = "(\w+)"', (CONTRACT / "run.go").read_text(), re.MULTILINE))
    assert _OUTCOME_CODES.keys() | {"failed"} == known

"""Exports: what is carried away answers as the tuned model does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tuned import rows, train_adapter, write_rows

from vibeflow_peft import checkpoint
from vibeflow_peft import export as exporting
from vibeflow_peft.adapters import load_adapter
from vibeflow_peft.errors import RunnerError
from vibeflow_peft.events import EventWriter
from vibeflow_peft.export import export
from vibeflow_peft.models import ResolvedModel, load_model, resolve
from vibeflow_peft.run import Run
from vibeflow_peft.spec import ExportSpec, Input, ModelRef, RunSpec
from vibeflow_peft.stop import StopRequest


@pytest.fixture(scope="module")
def base(models: Path) -> ResolvedModel:
    return resolve("tiny:llama", models)


@pytest.fixture(scope="module")
def adapter(base: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    return train_adapter(base, folder / "adapter", write_rows(folder / "train.jsonl", rows(16)), steps=20)


def run_export(folder: Path, models: Path, source: Path, form: str, method: str = "lora") -> tuple[Path, dict]:
    spec = RunSpec(
        1,
        "export",
        "x",
        1,
        ModelRef("tiny:llama"),
        str(folder / "out"),
        str(models),
        adapter=Input(str(source), method=method),
        export=ExportSpec(form, "# A card\n"),
        threads=1,
    )
    (manifest,) = export(Run(spec, EventWriter(folder / "events.ndjson"), StopRequest(), None)).artifacts
    return folder / "out" / manifest["name"], manifest


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 60)[None]).logits


def test_an_exported_adapter_is_the_adapter_with_its_card(tmp_path: Path, models: Path, adapter: Path) -> None:
    folder, manifest = run_export(tmp_path, models, adapter, "adapter")
    assert manifest["kind"] == "adapter"
    assert checkpoint.verify(folder) == manifest
    names = {file["path"] for file in manifest["files"]}
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json"} <= names
    weights = "adapter_model.safetensors"
    assert (folder / weights).read_bytes() == (adapter / weights).read_bytes()
    assert (folder / "README.md").read_text() == "# A card\n"


def test_a_merged_model_needs_no_adapter(tmp_path: Path, models: Path, base: ResolvedModel, adapter: Path) -> None:
    folder, manifest = run_export(tmp_path, models, adapter, "merged")
    assert manifest["kind"] == "model"
    assert checkpoint.verify(folder) == manifest
    merged = resolve(f"path:{folder}", tmp_path / "cache")
    expected, found = logits(load_adapter(load_model(base), adapter)), logits(load_model(merged))
    assert torch.allclose(expected, found, atol=1e-4)
    assert not torch.allclose(found, logits(load_model(base)), atol=1e-2), "the base was exported, not the tuned model"
    assert json.loads((folder / "config.json").read_text())["use_cache"] is True


def test_a_full_fine_tune_is_exported_as_it_is(tmp_path: Path, models: Path, adapter: Path) -> None:
    whole, _ = run_export(tmp_path, models, adapter, "merged")
    again = tmp_path / "again"
    again.mkdir()
    folder, _ = run_export(again, models, whole, "merged", "full")
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    with pytest.raises(RunnerError, match="no adapter") as caught:
        run_export(again, models, whole, "adapter", "full")
    assert caught.value.code == "invalid_config"


def test_a_merge_that_answers_differently_is_not_delivered(
    tmp_path: Path, models: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = exporting.load_model

    def spoilt(model: ResolvedModel):
        if model.source.startswith("path:"):
            file = model.path / "model.safetensors"
            save_file({k: v * 1.05 for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
        return load(model)

    monkeypatch.setattr(exporting, "load_model", spoilt)
    with pytest.raises(RunnerError) as caught:
        run_export(tmp_path, models, adapter, "merged")
    assert caught.value.code == "parity_failed"
    assert not (tmp_path / "out" / "model").exists()


def test_a_damaged_adapter_is_not_exported(tmp_path: Path, models: Path, adapter: Path) -> None:
    sealed, _ = run_export(tmp_path, models, adapter, "adapter")
    with (sealed / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\1")
    with pytest.raises(RunnerError) as caught:
        run_export(tmp_path, models, sealed, "merged")
    assert caught.value.code == "bad_data"

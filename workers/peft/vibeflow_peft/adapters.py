"""Puts LoRA adapters on a base model. Only safetensors are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel

from .errors import RunnerError
from .spec import LoRA

FILES = ("adapter_config.json", "adapter_model.safetensors")


def load_adapter(model: Any, path: str | Path, name: str = "default") -> PeftModel:
    """The model with the adapter of a folder on it and active, in evaluation mode.

    model is a base model, or a PeftModel that gets one more adapter. Raises RunnerError bad_data for a folder that is
    no adapter, or not one of this base.
    """
    folder = _whole(Path(path))
    with _fitting():
        if isinstance(model, PeftModel):
            model.load_adapter(folder, name, use_safetensors=True)
            model.set_adapter(name)
            return model.eval()
        return PeftModel.from_pretrained(model, folder, adapter_name=name, use_safetensors=True).eval()


def continue_adapter(model: Any, path: str | Path, lora: LoRA) -> PeftModel:
    """A base model with the adapter of a folder on it, to be trained further; lora is what the run is configured with.

    Rank, alpha and modules are the adapter's own, dropout is the run's. Raises RunnerError bad_data as load_adapter
    does, and invalid_config where the run asks for another rank or scale than the adapter has.
    """
    folder = _whole(Path(path))
    with _fitting():
        config = LoraConfig.from_pretrained(folder)
        for field, has, asked in (
            ("r", config.r, lora.r),
            ("alpha", config.lora_alpha, lora.alpha),
            ("rslora", config.use_rslora, lora.rslora),
        ):
            if has != asked:
                raise RunnerError(
                    "invalid_config",
                    f"the adapter that training goes on from has {field} {has}, and {asked} is asked for",
                    field=f"training.lora.{field}",
                    remedy=f"use {has}, or start from the base model",
                )
        config.lora_dropout, config.inference_mode = lora.dropout, False
        return PeftModel.from_pretrained(model, folder, config=config, is_trainable=True, use_safetensors=True)


def _whole(folder: Path) -> Path:
    for file in FILES:
        if not (folder / file).is_file():
            raise RunnerError(
                "bad_data",
                f"{folder.name} is not an adapter: it has no {file}",
                field="adapter.path",
                remedy="train again, or fetch the adapter again",
            )
    return folder


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Says of what PEFT raises that the adapter is not one of this base."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunnerError(
            "bad_data",
            f"the adapter does not fit its base model: {str(error).splitlines()[0][:300]}",
            field="adapter.path",
            remedy="use the base model that it was trained on",
            detail=str(error),
        ) from error

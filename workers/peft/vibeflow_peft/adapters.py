"""Puts LoRA adapters on a base model. Only safetensors are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel

from .errors import RunnerError

FILES = ("adapter_config.json", "adapter_model.safetensors")


def load_adapter(model: Any, path: str | Path, name: str = "default") -> PeftModel:
    """The model with the adapter of a folder on it and active, in evaluation mode.

    model is a base model, or a PeftModel that gets one more adapter. Raises RunnerError bad_data for a folder that is
    no adapter, or not one of this base.
    """
    folder = Path(path)
    for file in FILES:
        if not (folder / file).is_file():
            raise RunnerError(
                "bad_data",
                f"{folder.name} is not an adapter: it has no {file}",
                field="adapter.path",
                remedy="train again, or fetch the adapter again",
            )
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(folder, name, use_safetensors=True)
            model.set_adapter(name)
            return model.eval()
        return PeftModel.from_pretrained(model, folder, adapter_name=name, use_safetensors=True).eval()
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunnerError(
            "bad_data",
            f"the adapter does not fit its base model: {str(error).splitlines()[0][:300]}",
            field="adapter.path",
            remedy="use the base model that it was trained on",
            detail=str(error),
        ) from error

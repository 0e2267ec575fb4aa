"""The verb `export`: tuned weights as a folder to carry away, proven to answer as the tuned model does.

"adapter" is the LoRA adapter itself; "merged" is a whole model in safetensors that needs no PEFT. Both bring their
model card. Nothing is reported that was not loaded again from the folder and compared.
"""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import torch

from . import checkpoint, patience
from . import device as devices
from .adapters import FILES, load_adapter
from .errors import RunnerError
from .models import ResolvedModel, load_chat_tokenizer, load_model, load_tokenizer
from .run import Ending, Run
from .tokenizer import ChatTokenizer

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_PROBES = ("What can you do for me?", "Name three colours and say why you like each of them.")
_CLOSE = 1e-3  # of the largest logit: merging adds in another order than the adapter does, in float32


def export(run: Run) -> Ending:
    """Writes spec.output_dir/adapter or /model with its manifest; the manifest is the ending's one artifact.

    Raises RunnerError: "bad_data" for an adapter that is damaged or not of this base, "invalid_config" for an adapter
    of a full fine-tune (there is none), "parity_failed" if what was written answers differently.
    """
    spec = run.spec
    torch.set_num_threads(spec.threads or devices.cores())
    source = Path(spec.adapter.path)
    if (source / checkpoint.MANIFEST).is_file():
        checkpoint.verify(source)
    if spec.export.format == "adapter" and spec.adapter.method == "full":
        raise RunnerError(
            "invalid_config", "a full fine-tune has no adapter", field="export.format", remedy='export it as "merged"'
        )
    if spec.export.format == "adapter":
        manifest = _export_adapter(run, source)
    elif spec.adapter.method == "full":
        manifest = _export_full(run, source)
    else:
        manifest = _export_merged(run, source)
    return Ending(artifacts=[manifest])


def _export_adapter(run: Run, source: Path) -> dict[str, Any]:
    base = patience.resolve(run)
    folder = checkpoint.begin(Path(run.spec.output_dir), "adapter")
    for name in FILES:
        if not (source / name).is_file():
            raise RunnerError("bad_data", f"the adapter has no {name}", field="adapter.path", remedy="fetch it again")
        shutil.copyfile(source / name, folder / name)
    _copy_present(source if (source / "tokenizer.json").is_file() else base.path, folder, _TOKENIZER_FILES)
    _progress(run, "copied", 1, 2)
    load_adapter(load_model(base), folder)  # it must fit its base
    return _seal(run, folder, "adapter")


def _export_full(run: Run, source: Path) -> dict[str, Any]:
    folder = checkpoint.begin(Path(run.spec.output_dir), "model")
    weights = [path.name for path in source.glob("*.safetensors*")]
    _copy_present(source, folder, ("config.json", "generation_config.json", *_TOKENIZER_FILES, *weights))
    _progress(run, "copied", 1, 2)
    load_model(_at(folder, patience.resolve(run)))
    return _seal(run, folder, "model")


def _export_merged(run: Run, source: Path) -> dict[str, Any]:
    base = patience.resolve(run)
    tokenizer = load_chat_tokenizer(base)
    tuned = load_adapter(load_model(base), source)
    expected = _logits(tuned, tokenizer)
    run.stop.check()
    _progress(run, "merged", 1, 3)
    folder = checkpoint.begin(Path(run.spec.output_dir), "model")
    merged = tuned.merge_and_unload()
    merged.config.use_cache = True  # training turned it off, and whoever loads this wants to generate
    merged.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    _progress(run, "saved", 2, 3)
    del tuned, merged
    gc.collect()  # before the second model
    run.stop.check()
    _compare(expected, _logits(load_model(_at(folder, base)), load_chat_tokenizer(_at(folder, base))))
    return _seal(run, folder, "model")


def _at(folder: Path, base: ResolvedModel) -> ResolvedModel:
    return ResolvedModel(f"path:{folder}", "", folder, "", base.config)


def _copy_present(source: Path, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _logits(model: Any, tokenizer: ChatTokenizer) -> list[torch.Tensor]:
    """The logits of every position of the probe prompts."""
    found = []
    for probe in _PROBES:
        text = (
            tokenizer.render([{"role": "user", "content": probe}], add_generation_prompt=True)
            if tokenizer.chat_template
            else probe
        )
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=not tokenizer.chat_template)])
        with torch.inference_mode():
            found.append(model(input_ids=ids, use_cache=False).logits[0].float())
    return found


def _compare(expected: list[torch.Tensor], found: list[torch.Tensor]) -> None:
    """The merged model must choose the adapter's tokens, where those were not a tie within rounding."""
    for adapter, merged in zip(expected, found, strict=True):
        allowed = _CLOSE * float(adapter.abs().max())
        best = adapter.topk(2).values
        clear = best[:, 0] - best[:, 1] > 2 * allowed
        drift = float((adapter - merged).abs().max())
        same = torch.equal(adapter.argmax(-1)[clear], merged.argmax(-1)[clear])
        if not same or not drift <= allowed:
            raise RunnerError(
                "parity_failed",
                "the merged model does not answer as the adapter does",
                remedy="export the adapter instead, and report this",
                detail=f"logits drift by {drift:.6f}, allowed {allowed:.6f}",
            )


def _seal(run: Run, folder: Path, kind: str) -> dict[str, Any]:
    if run.spec.export.card:
        (folder / "README.md").write_text(run.spec.export.card, encoding="utf-8")
    _progress(run, "verified", 1, 1)
    return checkpoint.seal(folder, checkpoint.Mark(kind, 0))


def _progress(run: Run, phase: str, done: int, total: int) -> None:
    run.events.emit("progress", phase=phase, done=done, total=total)

"""The serving engine: one base model, the adapters that share it, and token-by-token generation.

Not thread-safe: everything here runs on the lane's one thread (lane.py). Own decoding loop instead of
`model.generate`, because it can stop at any token, samples from a random state of its own and costs less a token.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import device as devices
from .adapters import load_adapter
from .checkpoint import MANIFEST, verify
from .errors import RunnerError
from .generation import end_ids
from .models import ResolvedModel, load_chat_tokenizer, load_model
from .tokenizer import ChatTokenizer

BASE = "base"
"""The id of the base model itself."""

PARITY = "parity.json"

# How far logits may lie from those recorded at training's end, as a share of the largest, by the coarser of the two
# precisions. Measured on SmolLM2 in bf16: 0.006 for the same weights, 0.05 with the adapter left out.
_PARITY_SHARE = {"fp32": 0.002, "fp16": 0.01, "bf16": 0.02}
_PRECISION = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. temperature 0 is greedy; stop texts end the answer and are not part of it."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass
class Answer:
    """How an answer ended: finish is "stop" or "length", or "cancelled" when nobody wanted it any more."""

    finish: str
    tokens: int
    text: str


@dataclass
class _Tuned:
    """A tuned model: name is PEFT's of a LoRA adapter; model is a whole model of a full fine-tune."""

    path: Path
    method: str
    name: str = ""
    model: Any = None
    tokenizer: ChatTokenizer | None = None


@dataclass
class Engine:
    """A base model on a device in one dtype, with the tuned models that were added to it."""

    resolved: ResolvedModel
    device: devices.Device
    dtype: torch.dtype
    tokenizer: ChatTokenizer
    _model: Any
    _peft: Any = None
    _tuned: dict[str, _Tuned] = field(default_factory=dict)
    _named: int = 0

    @classmethod
    def load(cls, resolved: ResolvedModel, device: devices.Device, dtype: str) -> Engine:
        """Loads the base. dtype "auto" is 16 bits where the machine computes in it natively, else float32."""
        if dtype == "auto":
            precision = devices.choose_precision(device, "auto", devices.cpu_flags(), train_all=False)
            dtype = precision.autocast or "float32"
        chosen = getattr(torch, dtype)
        model = load_model(resolved, dtype=chosen, device=device.kind)
        return cls(resolved, device, chosen, load_chat_tokenizer(resolved), model)

    @property
    def models(self) -> list[str]:
        """The ids that answer."""
        return [BASE, *self._tuned]

    def tokenizer_of(self, model: str) -> ChatTokenizer:
        """The tokenizer of a served model; a fully tuned one brings its own. Raises KeyError for an unknown id."""
        if model == BASE:
            return self.tokenizer
        return self._tuned[model].tokenizer or self.tokenizer

    def add(self, model: str, path: Path, method: str) -> bool:
        """Loads tuned weights under an id and proves that they answer as they did when training ended.

        Returns False if they were there already. Raises RunnerError: "conflict" for an id that is taken by other
        weights, "bad_data" for a folder that is damaged or does not fit, "parity_failed".
        """
        if model in self._tuned:
            if self._tuned[model].path == path:
                return False
            raise RunnerError(
                "conflict",
                f"{model} is served from another folder",
                field="id",
                remedy="remove it first, or use another id",
            )
        if (path / MANIFEST).is_file():
            verify(path)
        tuned = self._load_full(path) if method == "full" else self._load_lora(path)
        self._tuned[model] = tuned
        try:
            self._check_parity(model, path)
        except BaseException:
            self.remove(model)
            raise
        return True

    def remove(self, model: str) -> None:
        """Unloads tuned weights. Raises KeyError for an unknown id."""
        tuned = self._tuned.pop(model)
        if tuned.method == "full":
            return
        if any(other.method == "lora" for other in self._tuned.values()):
            self._peft.delete_adapter(tuned.name)
        else:  # the last one: the plain base again
            self._model, self._peft = self._peft.unload(), None

    def _load_full(self, path: Path) -> _Tuned:
        resolved = ResolvedModel(f"path:{path}", "", path, "", self.resolved.config)
        return _Tuned(
            path,
            "full",
            model=load_model(resolved, dtype=self.dtype, device=self.device.kind),
            tokenizer=load_chat_tokenizer(resolved),
        )

    def _load_lora(self, path: Path) -> _Tuned:
        self._named += 1
        name = f"adapter{self._named}"  # ours: PEFT's names must not hold dots
        self._peft = load_adapter(self._peft or self._model, path, name)
        self._peft.to(self.dtype)  # PEFT keeps adapters in float32, and would convert the activations at every layer
        return _Tuned(path, "lora", name=name)

    @contextlib.contextmanager
    def _using(self, model: str) -> Iterator[Any]:
        """The module that computes as this model."""
        tuned = self._tuned.get(model)
        if tuned is not None and tuned.method == "full":
            yield tuned.model
        elif tuned is not None:
            self._peft.set_adapter(tuned.name)
            yield self._model
        elif self._peft is not None:
            with self._peft.disable_adapter():
                yield self._model
        else:
            yield self._model

    def _check_parity(self, model: str, folder: Path) -> None:
        """Compares with what training wrote beside the weights; nothing to compare with is no failure."""
        try:
            recorded = json.loads((folder / PARITY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        try:
            ids, best, margins = recorded["input_ids"], recorded["argmax_ids"], recorded.get("margins")
            last_ids, last_logits = recorded.get("last_ids", []), recorded.get("last_logits", [])
            with self._using(model) as module, torch.inference_mode():
                tokens = torch.tensor([ids], device=self.device.kind)
                logits = module(input_ids=tokens, use_cache=False).logits[0].float().cpu()
            precisions = (_PRECISION[self.dtype], recorded.get("precision", "fp32"))
            allowed = max(_PARITY_SHARE[precision] for precision in precisions) * float(logits.abs().max())
            # A recorded best that led by less than rounding may have been overtaken by it.
            clear = torch.tensor([m > 2 * allowed for m in margins] if margins else [True] * len(best))
            differing = int(((logits.argmax(-1) != torch.tensor(best)) & clear).sum())
            drift = float((logits[-1, last_ids] - torch.tensor(last_logits)).abs().max()) if last_ids else 0.0
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise RunnerError(
                "bad_data", f"{PARITY} cannot be read", remedy="fetch the model again", detail=str(error)
            ) from error
        if differing or not drift <= allowed:
            raise RunnerError(
                "parity_failed",
                "the loaded model does not answer as it did when training ended",
                remedy="fetch its files again; if it persists, train again with this version",
                detail=f"{differing} tokens differ; logits drift by {drift:.4f}, allowed {allowed:.4f}",
            )

    def generate(
        self,
        model: str,
        prompt: list[int],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Answer:
        """Answers a prompt; emit gets the text piece by piece. Raises KeyError for an unknown model."""
        tokenizer = self.tokenizer_of(model)
        text = _Text(tokenizer, sampling.stop)
        draw = _Sampler(sampling, self.device.kind)
        finish, count = "length", 0
        with self._using(model) as module, torch.inference_mode():
            ends = frozenset(end_ids(module, tokenizer))
            for token in _tokens(module, prompt, draw, self.device.kind):
                if cancelled():
                    finish = "cancelled"
                    break
                count += 1
                if token in ends:
                    finish = "stop"
                    break
                emit(text.push(token))
                if text.stopped:
                    finish = "stop"
                    break
                if count >= sampling.max_tokens:
                    break
        emit(text.rest())
        return Answer(finish, count, text.whole)


def _tokens(module: Any, prompt: list[int], draw: _Sampler, device: str) -> Iterator[int]:
    """The answer's tokens, without end. The keys and values of what was read are kept where the model can."""
    ids, unread, cache = list(prompt), list(prompt), None
    while True:
        output = module(
            input_ids=torch.tensor([unread], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache = getattr(output, "past_key_values", None)
        token = draw(output.logits[0, -1])
        yield token
        ids.append(token)
        unread = [token] if cache is not None else ids


class _Sampler:
    """Draws a token from logits, from a random state of its own."""

    def __init__(self, sampling: Sampling, device: str) -> None:
        self._temperature, self._top_p = sampling.temperature, sampling.top_p
        self._random = torch.Generator(device=device)
        self._random.manual_seed(sampling.seed if sampling.seed is not None else int.from_bytes(os.urandom(8)) >> 1)

    def __call__(self, logits: torch.Tensor) -> int:
        if self._temperature == 0:
            return int(logits.argmax())
        chances = torch.softmax(logits.float() / self._temperature, dim=-1)
        if self._top_p < 1:
            ranked, order = chances.sort(descending=True)
            # The tokens before which less than top_p has been gathered; the first always is one of them.
            ranked[ranked.cumsum(-1) - ranked >= self._top_p] = 0
            chances = torch.zeros_like(chances).scatter_(0, order, ranked)
        return int(torch.multinomial(chances, 1, generator=self._random))


class _Text:
    """Turns tokens into text piece by piece, never giving out half a character or what may become a stop text."""

    def __init__(self, tokenizer: ChatTokenizer, stops: tuple[str, ...]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._ids: list[int] = []
        self._context = self._read = 0  # decoding starts at _context: a token's text may hang on its predecessor's
        self._held = ""
        self.whole = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain after one more token, often nothing."""
        self._ids.append(token)
        before = self._tokenizer.decode(self._ids[self._context : self._read])
        after = self._tokenizer.decode(self._ids[self._context :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._context, self._read = self._read, len(self._ids)
        return self._give(after[len(before) :])

    def rest(self) -> str:
        """What was held back, once no more tokens come."""
        if self.stopped:
            return ""
        tail = self._tokenizer.decode(self._ids[self._context :])[
            len(self._tokenizer.decode(self._ids[self._context : self._read])) :
        ]
        piece = self._give(tail)
        if self.stopped:
            return piece
        held, self._held = self._held, ""
        self.whole += held
        return piece + held

    def _give(self, piece: str) -> str:
        text = self._held + piece
        found = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            self.stopped, self._held, given = True, "", text[:found]
        else:
            keep = max(
                (
                    size
                    for stop in self._stops
                    for size in range(1, min(len(stop), len(text) + 1))
                    if text.endswith(stop[:size])
                ),
                default=0,
            )
            given, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.whole += given
        return given

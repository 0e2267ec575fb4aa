"""A model's tokenizer and chat template, without transformers and torch.

Importing transformers costs seconds; counting tokens, encoding rows and `inspect` need only `tokenizers` and `jinja2`.
The same class serves training, evaluation and serving, so that all of them see the same tokens: `ChatTokenizer.load`
reads a model folder, `ChatTokenizer.of` wraps a transformers tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import Encoding, Tokenizer

from .errors import RunnerError

Message = dict[str, Any]

# What strftime_now() tells a template. Pinned: a run that is resumed tomorrow must train on the same tokens, and the
# tuned model must be asked with the prompt that it was trained on.
PINNED_NOW = datetime(2025, 1, 1)

_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


class TemplateError(Exception):
    """The chat template refused the messages; the text is the template's own."""


@dataclass(frozen=True)
class ChatTokenizer:
    """A fast tokenizer with its special tokens and chat template.

    special holds the texts of bos_token, eos_token, pad_token and unk_token, as far as the model has them.
    """

    tokenizer: Tokenizer
    special: dict[str, str]
    chat_template: str | None

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """Reads tokenizer.json, tokenizer_config.json and the chat template of a model folder."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise RunnerError(
                "model_unavailable",
                f"{folder} has no tokenizer.json",
                remedy="save the model's fast tokenizer beside its weights (tokenizer.save_pretrained)",
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise RunnerError(
                "model_unavailable",
                f"{path} cannot be read as a tokenizer",
                remedy="save the model's tokenizer again",
                detail=str(error),
            ) from error
        config = _read_json(folder / "tokenizer_config.json")
        special = {name: text for name in _SPECIAL_NAMES if (text := _token_text(config.get(name)))}
        return cls(_unbounded(tokenizer), special, _chat_template(folder, config))

    @classmethod
    def of(cls, tokenizer: Any) -> ChatTokenizer:
        """Wraps a transformers tokenizer (or returns a ChatTokenizer as it is)."""
        if isinstance(tokenizer, cls):
            return tokenizer
        # A copy: the caller's padding and truncation settings stay the caller's.
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        special = {name: text for name in _SPECIAL_NAMES if (text := getattr(tokenizer, name, None))}
        template = tokenizer.chat_template
        return cls(_unbounded(backend), special, template.get("default") if isinstance(template, dict) else template)

    @property
    def eos_token(self) -> str | None:
        """The text of the end-of-sequence token."""
        return self.special.get("eos_token")

    @property
    def eos_id(self) -> int | None:
        """The id of the end-of-sequence token."""
        return None if self.eos_token is None else self.tokenizer.token_to_id(self.eos_token)

    @property
    def pad_id(self) -> int:
        """The id to pad with: the pad token's, else the end-of-sequence token's, else 0 (padding is always masked)."""
        pad = self.special.get("pad_token")
        found = None if pad is None else self.tokenizer.token_to_id(pad)
        return next((i for i in (found, self.eos_id) if i is not None), 0)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens."""
        return frozenset(i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special)

    @cached_property
    def _template(self) -> jinja2.Template:
        if not self.chat_template:
            raise RunnerError(
                "invalid_config",
                "the model has no chat template, so it cannot be given conversations",
                remedy="choose an instruct model, or bring the data as prompt and completion or as text",
            )
        try:
            return _environment().from_string(self.chat_template)
        except jinja2.TemplateError as error:
            raise RunnerError(
                "model_unavailable",
                "the model's chat template is not valid Jinja",
                remedy="choose another revision of the model",
                detail=str(error),
            ) from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The conversation as the model's own text; TemplateError where the template refuses it."""
        template = self._template
        try:
            return template.render(
                messages=list(messages),
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self.special,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            raise TemplateError(str(error) or type(error).__name__) from error

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Encoding]:
        """Token ids with character offsets; add_special_tokens is off for rendered chats, which carry their own."""
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of one text."""
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)


def _unbounded(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunnerError(
            "model_unavailable", f"{path} is not valid JSON", remedy="fetch the model again", detail=str(error)
        ) from error
    return value if isinstance(value, dict) else {}


def _token_text(value: Any) -> str | None:
    """A special token in tokenizer_config.json is its text or an object with "content"."""
    return value.get("content") if isinstance(value, dict) else value


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The template: chat_template.jinja, else the one in tokenizer_config.json (a text, or named ones)."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        return named.get("default")
    return template


class _Generation(jinja2.ext.Extension):
    """{% generation %} marks trained spans in some templates; what it encloses is rendered as it is."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """namespace() whose attributes cannot reach Python's own: templates come from strangers."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        for name in dict(*args[1:], **kwargs):
            _refuse_private(name)
        jinja2.utils.Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: Any) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template must not set {name!r}")


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """dict() as a function: the class itself would lend a template its attributes."""
    return dict(*args, **kwargs)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: Jinja's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """The dialect that Hub templates are written in: transformers' settings, filters and globals, sandboxed."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = PINNED_NOW.strftime
    environment.globals["namespace"] = _Namespace
    environment.globals["dict"] = _dict
    return environment

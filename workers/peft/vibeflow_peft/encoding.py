"""Turns rows of canonical JSONL into token ids and labels.

One encoder for training, evaluation and `inspect`, so that what is trained on is what is measured and what was shown.
A label is the token itself where the model learns it and IGNORED elsewhere:

- chat: the assistant turns, each with its end-of-turn token. Which characters those are is found by rendering the
  conversation up to each turn with the model's own template; the renderings must be prefixes of each other.
- prompt_completion: the completion and an end-of-sequence token.
- text: everything, and an end-of-sequence token.

With completion_only off, the prompt's tokens are learned too. Imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding

from .errors import RunnerError
from .tokenizer import ChatTokenizer, Message, TemplateError

IGNORED = -100
"""The label of a token that is not learned."""

FORMATS = ("chat", "prompt_completion", "text")

_BATCH = 256  # rows tokenised together
_MAX_LINE = 16 << 20  # bytes of one row


@dataclass(frozen=True, slots=True)
class Example:
    """One row as tokens: row is its 0-based line, input_ids and labels are int32 of the same length."""

    row: int
    input_ids: np.ndarray
    labels: np.ndarray

    @property
    def labelled(self) -> int:
        """How many tokens the model is scored on: labels shifted by one, as every causal model does."""
        return int(np.count_nonzero(self.labels[1:] != IGNORED))


@dataclass(slots=True)
class EncodeStats:
    """What became of the rows.

    tokens and labelled_tokens count the kept rows after truncation; longest is before it. whole are the kept rows that
    were not cut, ended those of them whose last learned token says that the answer ends.
    """

    rows: int = 0
    kept: int = 0
    truncated: int = 0
    dropped_all_masked: int = 0
    tokens: int = 0
    labelled_tokens: int = 0
    longest: int = 0
    whole: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class EncodedDataset:
    """The examples in file order, and what became of all rows."""

    examples: list[Example]
    stats: EncodeStats


@dataclass(frozen=True, slots=True)
class Question:
    """A row's prompt as tokens, its text for people, and the answer that the dataset gives."""

    row: int
    prompt: str
    prompt_ids: list[int]
    reference: str


def encode_rows(
    path: str | Path,
    fmt: str,
    tokenizer: Any,
    max_length: int,
    completion_only: bool = True,
    *,
    max_rows: int = 0,
    allow_empty: bool = False,
) -> EncodedDataset:
    """Encodes a JSONL file; the start of a row longer than max_length (0: no limit) is kept.

    tokenizer is a ChatTokenizer or a transformers tokenizer; max_rows (0: all) reads only the file's start. Rows
    without a label left are dropped and counted. Raises RunnerError: "bad_data" citing the line, "all_labels_masked"
    if no row is left (unless allow_empty), "invalid_config" for a model without a chat template.
    """
    encoder = RowEncoder(fmt, tokenizer, completion_only)
    stats, examples = EncodeStats(), []
    unread = read_rows(path, max_rows)
    while rows := list(islice(unread, _BATCH)):
        for example in _encoded(encoder, rows):
            stats.rows += 1
            stats.longest = max(stats.longest, len(example.input_ids))
            cut = stats.truncated
            if max_length and len(example.input_ids) > max_length:
                stats.truncated += 1
                example = Example(
                    example.row, example.input_ids[:max_length].copy(), example.labels[:max_length].copy()
                )
            if example.labelled == 0:
                stats.dropped_all_masked += 1
                continue
            stats.kept += 1
            stats.tokens += len(example.input_ids)
            stats.labelled_tokens += example.labelled
            if cut == stats.truncated:
                stats.whole += 1
                stats.ended += encoder.ends(example)
            examples.append(example)
    if stats.rows == 0:
        raise RunnerError("bad_data", "the dataset has no rows", remedy="give a file with at least one row")
    if not examples and not allow_empty:
        raise RunnerError(
            "all_labels_masked",
            f"none of the {stats.rows} rows has a token to learn from within {max_length} tokens",
            field="training.max_length",
            remedy="raise max_length, or shorten the prompts: a row keeps its start, and there only the "
            "answer is learned",
        )
    return EncodedDataset(examples, stats)


def _encoded(encoder: RowEncoder, rows: list[tuple[int, dict[str, Any]]]) -> list[Example]:
    """A batch as examples; a row that the tokenizer chokes on is looked for and cited."""
    try:
        return encoder.encode(rows)
    except RunnerError:
        raise
    except Exception as error:
        for row in rows:
            try:
                encoder.encode([row])
            except Exception as reason:
                raise _bad(
                    row[0], f"the tokenizer cannot read it ({type(reason).__name__})", "mend or leave out the row"
                ) from reason
        raise error


def read_rows(path: str | Path, max_rows: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The file's rows with their 0-based line numbers; blank lines are passed over."""
    given = 0
    with Path(path).open("rb") as file:
        number = -1
        while line := file.readline(_MAX_LINE + 1):
            number += 1
            if len(line) > _MAX_LINE:
                raise _bad(number, f"the row is longer than {_MAX_LINE >> 20} MiB", "split it into several rows")
            if not line.strip():
                continue
            yield number, _parse(number, line)
            given += 1
            if given == max_rows:
                return


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _bad(number, f"not valid JSON ({error})", "mend the line") from error
    if not isinstance(row, dict):
        raise _bad(number, "not a JSON object", "write one object a line")
    return row


def _bad(number: int, why: str, remedy: str) -> RunnerError:
    return RunnerError("bad_data", f"line {number + 1}: {why}", remedy=remedy)


class RowEncoder:
    """Encodes rows of one format with one tokenizer."""

    def __init__(self, fmt: str, tokenizer: Any, completion_only: bool = True) -> None:
        if fmt not in FORMATS:
            raise RunnerError(
                "invalid_config",
                f"{fmt!r} is not a row format",
                field="dataset.format",
                remedy=f"use one of {', '.join(FORMATS)}",
            )
        self.format = fmt
        self.tokenizer = ChatTokenizer.of(tokenizer)
        self.completion_only = completion_only
        self._chat = _ChatSplitter(self.tokenizer) if fmt == "chat" else None

    def encode(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> list[Example]:
        """The rows as examples, untruncated, one for one."""
        encode = {
            "chat": self._encode_chat,
            "text": self._encode_text,
            "prompt_completion": self._encode_prompt_completion,
        }[self.format]
        return encode(rows)

    def ends(self, example: Example) -> bool:
        """Whether a whole row teaches the model to stop: its last learned token is special, as ends of turns are."""
        learned = example.labels[example.labels != IGNORED]
        return len(learned) > 0 and int(learned[-1]) in self.tokenizer.special_ids

    def question(self, row: int, value: dict[str, Any]) -> Question | None:
        """What a model is asked to answer the row; None where there is nothing to ask (raw text)."""
        if self.format == "text":
            return None
        if self.format == "prompt_completion":
            prompt, reference = _text(row, value, "prompt"), _text(row, value, "completion")
            return Question(row, prompt, self.tokenizer.encode(prompt, add_special_tokens=True), reference)
        messages = _messages(row, value)
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=0)
        if last == 0:
            return None
        rendered = self._chat.render(row, messages[:last], add_generation_prompt=True)
        shown = messages[last - 1]["content"]
        return Question(
            row, shown, self.tokenizer.encode(rendered, add_special_tokens=False), messages[last]["content"]
        )

    def _encode_chat(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> list[Example]:
        split = [self._chat.split(number, _messages(number, value)) for number, value in rows]
        encodings = self.tokenizer.encode_batch([text for text, _ in split], add_special_tokens=False)
        examples = []
        for (number, _), (_, spans), encoding in zip(rows, split, encodings, strict=True):
            ids = np.asarray(encoding.ids, np.int32)
            trained = self._in_spans(encoding, spans) if self.completion_only else np.ones(len(ids), bool)
            examples.append(_example(number, ids, trained))
        return examples

    def _in_spans(self, encoding: Encoding, spans: list[tuple[int, int]]) -> np.ndarray:
        """Which tokens overlap a span of characters."""
        count = len(encoding.ids)
        offsets = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * count).reshape(count, 2)
        end = offsets[:, 1]
        # Some tokenizers trim a token of blanks to nothing; it still stands before its end.
        start = np.minimum(offsets[:, 0], end - 1)
        trained = np.zeros(count, bool)
        for span_start, span_end in spans:
            inside = (start < span_end) & (end > span_start)
            # A special token may swallow blanks around it: one that reaches in from the header is not the answer's.
            for i in np.flatnonzero(inside & (start < span_start)):
                inside[i] = encoding.ids[i] not in self.tokenizer.special_ids
            trained |= inside
        return trained

    def _encode_prompt_completion(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> list[Example]:
        prompts = [_text(number, value, "prompt") for number, value in rows]
        completions = [_text(number, value, "completion") for number, value in rows]
        eos = self._eos()
        heads = self.tokenizer.encode_batch(prompts, add_special_tokens=True)
        wholes = self.tokenizer.encode_batch(
            [p + c for p, c in zip(prompts, completions, strict=True)], add_special_tokens=True
        )
        examples = []
        for (number, _), head, whole, completion in zip(rows, heads, wholes, completions, strict=True):
            ids = whole.ids
            # Where prompt and completion merge into one token, they are joined as tokens: a model is asked with the
            # prompt's own tokens, never with the merged one.
            if ids[: len(head.ids)] != head.ids or len(ids) == len(head.ids):
                ids = head.ids + self.tokenizer.encode(completion, add_special_tokens=False)
            ids = np.asarray([*ids, *eos], np.int32)
            trained = np.arange(len(ids)) >= (len(head.ids) if self.completion_only else 0)
            examples.append(_example(number, ids, trained))
        return examples

    def _encode_text(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> list[Example]:
        texts = [_text(number, value, "text") for number, value in rows]
        eos = self._eos()
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=True)
        examples = []
        for (number, _), encoding in zip(rows, encodings, strict=True):
            ends = bool(eos) and encoding.ids[-1:] == eos
            ids = np.asarray([*encoding.ids, *([] if ends else eos)], np.int32)
            examples.append(_example(number, ids, np.ones(len(ids), bool)))
        return examples

    def _eos(self) -> list[int]:
        return [] if self.tokenizer.eos_id is None else [self.tokenizer.eos_id]


def _example(row: int, ids: np.ndarray, trained: np.ndarray) -> Example:
    return Example(row, ids, np.where(trained, ids, np.int32(IGNORED)))


def _text(number: int, row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise _bad(number, f'"{field}" is missing or not a text', f'give every row a text "{field}"')
    return value


def _messages(number: int, row: dict[str, Any]) -> list[Message]:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _bad(number, '"messages" is missing or empty', 'give every row a list "messages"')
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _bad(number, f'messages[{i}] has no "role"', 'give every message a "role" and a "content"')
        if not isinstance(message.get("content"), str):
            raise _bad(number, f'messages[{i}] has no text "content"', 'give every message a "role" and a "content"')
    return messages


class _ChatSplitter:
    """Finds the assistant's characters in a rendered conversation."""

    _PROBE = (
        {"role": "user", "content": "vibeflow-probe-question"},
        {"role": "assistant", "content": "vibeflow-probe-answer"},
    )

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known_roles: set[str] = {"user", "assistant"}
        self._turn_marks: tuple[str, str] | None = None

    def render(self, row: int, messages: list[Message], *, add_generation_prompt: bool = False) -> str:
        """The template's rendering; "bad_data" citing the row where the template refuses it."""
        try:
            return self._tokenizer.render(messages, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
            raise _bad(
                row,
                f"the model's chat template refuses the conversation (roles {roles}): {error}",
                "map the roles to those the model knows, or choose a model that knows them",
            ) from error

    def split(self, row: int, messages: list[Message]) -> tuple[str, list[tuple[int, int]]]:
        """The rendered conversation and the [start, end) characters of its assistant turns."""
        text = self.render(row, messages)
        self._check_roles(row, messages, text)
        spans: list[tuple[int, int]] = []
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                after = spans[-1][1] if spans else 0
                spans.append(self._by_prefix(row, messages, i, text) or self._by_marks(row, message, after, text))
        return text, spans

    def _check_roles(self, row: int, messages: list[Message], text: str) -> None:
        """A template may pass over a role that it does not know: training would then silently lose those turns."""
        for i, message in enumerate(messages):
            if message["role"] in self._known_roles or not message["content"].strip():
                continue
            try:
                without = self._tokenizer.render([*messages[:i], *messages[i + 1 :]])
            except TemplateError:
                without = ""  # it insists on the message, so it knows the role
            if without == text:
                raise _bad(
                    row,
                    f'the model\'s chat template leaves out messages of role "{message["role"]}"',
                    "map the role to one the model knows, or choose a model that knows it",
                )
            self._known_roles.add(message["role"])

    def _by_prefix(self, row: int, messages: list[Message], i: int, text: str) -> tuple[int, int] | None:
        """Turn i by rendering what comes before and up to it; None where those are not prefixes of the whole."""
        if i == 0:
            return None
        before = self.render(row, messages[:i], add_generation_prompt=True)
        upto = text if i == len(messages) - 1 else self.render(row, messages[: i + 1])
        if not (upto.startswith(before) and text.startswith(upto)):
            return None
        return len(before), len(before) + _turn_length(upto[len(before) :], messages[i]["content"])

    def _by_marks(self, row: int, message: Message, after: int, text: str) -> tuple[int, int]:
        """A turn by its header, content and end: some templates rewrite earlier turns (dropping their reasoning)."""
        header, tail = self._marks(row)
        content = message["content"].strip()
        at = text.find(header + content + tail, after)
        if not header or at < 0:
            raise _bad(
                row,
                "the model's chat template does not say where an assistant turn begins and ends",
                "bring the data as prompt and completion, or choose another model",
            )
        start = at + len(header)
        return start, start + len(content) + len(tail)

    def _marks(self, row: int) -> tuple[str, str]:
        """What the template puts before and after an assistant's content, learned from a probe."""
        if self._turn_marks is None:
            question, answer = self._PROBE
            header = self.render(row, [question], add_generation_prompt=True)[len(self.render(row, [question])) :]
            turn = self.render(row, [question, answer]).partition(answer["content"])[2]
            self._turn_marks = header, turn.rstrip() or turn
        return self._turn_marks


def _turn_length(turn: str, content: str) -> int:
    """How much of a rendered turn is learned: through its end-of-turn mark, without the line break after it."""
    bare = turn.rstrip()
    marked = not bare.endswith(content.rstrip()) if content.strip() else bool(bare)
    return len(bare) if marked else len(turn)

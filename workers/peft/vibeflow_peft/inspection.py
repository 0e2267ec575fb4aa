"""The verb `inspect`: how long a dataset's rows are in a model's tokens, and how much of them is learned.

Imports neither torch nor transformers (unless the model has yet to be made), so that a profile costs no seconds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .encoding import FORMATS, IGNORED, EncodedDataset, Example, RowEncoder, encode_rows, read_rows
from .errors import RunnerError
from .models import load_chat_tokenizer, resolve
from .spec import ModelRef
from .tokenizer import ChatTokenizer

_PERCENTILES = (50, 90, 95, 99)
_BUCKETS = 20
# A character has at most four bytes, each perhaps a token, behind the one that was told last. Longer is text that holds
# the replacement character itself.
_MOST_TOKENS = 5


def main(argv: list[str]) -> int:
    """Prints the profile, or with --render some rows' tokens and which of them are learned."""
    options = _parser().parse_args(argv)
    tokenizer = _tokenizer(options)
    if options.render:
        rows = render_rows(options.file, options.format, tokenizer, options.render, not options.learn_all)
        print(json.dumps(rows) if options.json else "\n".join(map(_marked, rows)))
        return 0
    result = profile(options.file, options.format, tokenizer, options.max_length, not options.learn_all)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    return 0


def _tokenizer(options: argparse.Namespace) -> ChatTokenizer:
    if options.tokenizer:
        return ChatTokenizer.load(options.tokenizer)
    return load_chat_tokenizer(resolve(ModelRef(options.model, options.revision), options.models_dir))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vibeflow_peft inspect", description="Counts a dataset's tokens for a model.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help='model source, such as "bundled:smollm2-135m-instruct"')
    which.add_argument(
        "--tokenizer", type=Path, metavar="FOLDER", help="a model's folder, of which only the tokenizer is read"
    )
    parser.add_argument("--revision", default="", help="Hub commit")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="where models are kept")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--file", type=Path, required=True, help="canonical JSONL")
    parser.add_argument("--max-length", type=int, default=0, help="tokens that training would keep of a row; 0: all")
    parser.add_argument("--learn-all", action="store_true", help="learn prompts too (completion_only off)")
    parser.add_argument("--render", type=int, nargs="+", metavar="ROW", help="show these rows' tokens (0-based lines)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def profile(path: Path, fmt: str, tokenizer: ChatTokenizer, max_length: int, completion_only: bool) -> dict[str, Any]:
    """Counts, percentiles and a histogram of untruncated lengths, and what training at max_length makes of them."""
    whole = encode_rows(path, fmt, tokenizer, 0, completion_only, allow_empty=True)
    lengths = np.array([len(example.input_ids) for example in whole.examples] or [0])
    stats = asdict(whole.stats)
    del stats["whole"], stats["ended"]  # of training alone
    if max_length:
        stats = {**stats, **_cut(whole, max_length)}
    tokens, labelled = stats["tokens"], stats["labelled_tokens"]
    edges = np.linspace(0, lengths.max() + 1, min(_BUCKETS, int(lengths.max()) + 1) + 1)
    counts, _ = np.histogram(lengths, edges)
    return {
        **stats,
        "max_length": max_length,
        "masked_share": round(1 - labelled / tokens, 6) if tokens else 1.0,
        "mean_length": round(float(lengths.mean()), 2),
        "percentiles": {f"p{p}": int(np.percentile(lengths, p, method="higher")) for p in _PERCENTILES},
        "histogram": [
            {"from": int(np.ceil(low)), "to": int(np.ceil(high)) - 1, "rows": int(count)}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ],
    }


def _cut(whole: EncodedDataset, max_length: int) -> dict[str, int]:
    """The statistics as they are when rows are cut at max_length tokens."""
    kept = [
        (min(len(e.input_ids), max_length), int(np.count_nonzero(e.labels[1:max_length] != IGNORED)))
        for e in whole.examples
    ]
    learned = [(tokens, labelled) for tokens, labelled in kept if labelled]
    return {
        "kept": len(learned),
        "truncated": sum(len(e.input_ids) > max_length for e in whole.examples),
        "dropped_all_masked": whole.stats.rows - len(learned),
        "tokens": sum(tokens for tokens, _ in learned),
        "labelled_tokens": sum(labelled for _, labelled in learned),
    }


def render_rows(
    path: Path, fmt: str, tokenizer: ChatTokenizer, wanted: list[int], completion_only: bool
) -> list[dict[str, Any]]:
    """The rows' tokens, untruncated: {"row", "tokens": [{"id", "text", "trained"}]}, in the file's order.

    Raises RunnerError: "bad_data" citing the line, "invalid" for a row that the file does not have.
    """
    rows = [(number, value) for number, value in read_rows(path) if number in wanted]
    missing = set(wanted) - {number for number, _ in rows}
    if missing:
        raise RunnerError("invalid", f"the file has no row {min(missing)}", field="render", remedy="count from 0")
    return [_rendered(tokenizer, example) for example in RowEncoder(fmt, tokenizer, completion_only).encode(rows)]


def _rendered(tokenizer: ChatTokenizer, example: Example) -> dict[str, Any]:
    ids = example.input_ids.tolist()
    trained = (example.labels != IGNORED).tolist()
    tokens = [
        {"id": token, "text": text, "trained": learned}
        for token, text, learned in zip(ids, _texts(tokenizer, ids), trained, strict=True)
    ]
    return {"row": example.row, "tokens": tokens}


def _texts(tokenizer: ChatTokenizer, ids: list[int]) -> list[str]:
    """What each token adds to the text. A character of several tokens stands with its last one."""
    texts, begun, told = [], 0, ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[begun:end], skip_special_tokens=False)
        if text.endswith("\N{REPLACEMENT CHARACTER}") and end < min(begun + _MOST_TOKENS, len(ids)):
            texts.append("")
            continue
        texts.append(text[len(told) :])
        # The next token is decoded behind this one, for some decoders drop a blank at the start.
        begun, told = end - 1, tokenizer.decode(ids[end - 1 : end], skip_special_tokens=False)
    return texts


def _marked(rendered: dict[str, Any]) -> str:
    """The row as text with the learned parts in brackets."""
    text = ""
    for trained, run in groupby(rendered["tokens"], key=lambda token: token["trained"]):
        part = "".join(token["text"] for token in run)
        text += f"⟦{part}⟧" if trained else part
    return text

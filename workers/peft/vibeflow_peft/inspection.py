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

from .encoding import FORMATS, IGNORED, EncodedDataset, RowEncoder, encode_rows, read_rows
from .errors import RunnerError
from .models import load_chat_tokenizer, resolve
from .spec import ModelRef
from .tokenizer import ChatTokenizer

_PERCENTILES = (50, 90, 95, 99)
_BUCKETS = 20


def main(argv: list[str]) -> int:
    """Prints the profile, or with --render one row's tokens and which of them are learned."""
    options = _parser().parse_args(argv)
    model = resolve(ModelRef(options.model, options.revision), options.models_dir)
    tokenizer = load_chat_tokenizer(model)
    if options.render is not None:
        tokens = render_row(options.file, options.format, tokenizer, options.render, not options.learn_all)
        print(json.dumps(tokens, ensure_ascii=False) if options.json else _marked(tokenizer, tokens))
        return 0
    result = profile(options.file, options.format, tokenizer, options.max_length, not options.learn_all)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vibeflow_peft inspect", description="Counts a dataset's tokens for a model.")
    parser.add_argument("--model", required=True, help='model source, such as "bundled:smollm2-135m-instruct"')
    parser.add_argument("--revision", default="", help="Hub commit")
    parser.add_argument("--models-dir", type=Path, required=True, help="where models are kept")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--file", type=Path, required=True, help="canonical JSONL")
    parser.add_argument("--max-length", type=int, default=0, help="tokens that training would keep of a row; 0: all")
    parser.add_argument("--learn-all", action="store_true", help="learn prompts too (completion_only off)")
    parser.add_argument("--render", type=int, metavar="ROW", help="show this row's tokens (0-based line)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def profile(path: Path, fmt: str, tokenizer: ChatTokenizer, max_length: int, completion_only: bool) -> dict[str, Any]:
    """Counts, percentiles and a histogram of untruncated lengths, and what training at max_length makes of them."""
    whole = encode_rows(path, fmt, tokenizer, 0, completion_only, allow_empty=True)
    lengths = np.array([len(example.input_ids) for example in whole.examples] or [0])
    stats = asdict(whole.stats)
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


def render_row(path: Path, fmt: str, tokenizer: ChatTokenizer, row: int, completion_only: bool) -> dict[str, Any]:
    """One row's tokens: id, text, and whether it is learned."""
    for number, value in read_rows(path):
        if number == row:
            (example,) = RowEncoder(fmt, tokenizer, completion_only).encode([(number, value)])
            tokens = [
                {
                    "id": int(token),
                    "text": tokenizer.decode([int(token)], skip_special_tokens=False),
                    "trained": bool(label != IGNORED),
                }
                for token, label in zip(example.input_ids, example.labels, strict=True)
            ]
            return {"row": row, "tokens": tokens}
    raise RunnerError("invalid", f"the file has no row {row}", field="render", remedy="rows are counted from 0")


def _marked(tokenizer: ChatTokenizer, rendered: dict[str, Any]) -> str:
    """The row as text with the learned parts in brackets. Decoded run by run: a character may be several tokens."""
    text = ""
    for trained, run in groupby(rendered["tokens"], key=lambda token: token["trained"]):
        part = tokenizer.decode([token["id"] for token in run], skip_special_tokens=False)
        text += f"⟦{part}⟧" if trained else part
    return text

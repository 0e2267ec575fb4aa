"""Encoding: what is learned is exactly the answers, whatever the template looks like."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ENVIRONMENT

from vibeflow_peft.encoding import IGNORED, EncodedDataset, RowEncoder, encode_rows
from vibeflow_peft.errors import RunnerError
from vibeflow_peft.inspection import render_rows
from vibeflow_peft.models import load_chat_tokenizer, load_tokenizer, resolve
from vibeflow_peft.tokenizer import ChatTokenizer

# Templates in the manner of well-known models: an end mark only for answers; a header that is part of the turn; turns
# without any mark; and one that drops earlier turns' reasoning, so that no prefix of it is a prefix of the whole.
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' ~ m.content ~ ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' ~ m.content ~ ' <|im_end|>' }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
REASONING = (
    "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content ~ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}"
    "{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SHUFFLED = "{% for m in messages | reverse %}{{ m.content }}{% endfor %}"

CHAT = [
    {"role": "user", "content": "What is 12?"},
    {"role": "assistant", "content": "A number: 12.\n\n1. été 🤖"},
    {"role": "user", "content": "More?"},
    {"role": "assistant", "content": "No."},
]


@pytest.fixture(scope="session")
def tokenizer(models: Path) -> ChatTokenizer:
    return load_chat_tokenizer(resolve("tiny:llama", models))


def with_template(tokenizer: ChatTokenizer, template: str | None) -> ChatTokenizer:
    return ChatTokenizer(tokenizer.tokenizer, tokenizer.special, template)


def learned(tokenizer: ChatTokenizer, example) -> list[str]:
    """The learned runs of an example as texts."""
    runs, run = [], []
    for token, label in zip([*example.input_ids, 0], [*example.labels, IGNORED], strict=True):
        if label != IGNORED:
            assert label == token
            run.append(int(token))
        elif run:
            runs.append(tokenizer.decode(run, skip_special_tokens=False))
            run = []
    return runs


def write(folder: Path, rows: list) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def encode(tmp_path: Path, tokenizer, rows: list, fmt: str = "chat", length: int = 512, **options) -> EncodedDataset:
    return encode_rows(write(tmp_path, rows), fmt, tokenizer, length, **options)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, ["A number: 12.\n\n1. été 🤖<|im_end|>", "No.<|im_end|>"]),
        (LLAMA2, [" A number: 12.\n\n1. été 🤖 <|im_end|>", " No. <|im_end|>"]),
        (PLAIN, ["A number: 12.\n\n1. été 🤖\n", "No.\n"]),
        (REASONING, ["A number: 12.\n\n1. été 🤖<|im_end|>", "<think>\n\n</think>\n\nNo.<|im_end|>"]),
    ],
)
def test_a_chat_teaches_its_answers_with_their_ends(
    tmp_path: Path, tokenizer: ChatTokenizer, template: str | None, expected: list[str]
) -> None:
    used = with_template(tokenizer, template) if template else tokenizer
    (example,) = encode(tmp_path, used, [{"messages": CHAT}]).examples
    assert learned(used, example) == expected
    assert used.decode(example.input_ids, skip_special_tokens=False) == used.render(CHAT)


@pytest.mark.parametrize("source", ["tiny:llama", "bundled:smollm2-135m-instruct"])
def test_random_chats_teach_exactly_their_answers(tmp_path: Path, models: Path, source: str) -> None:
    model = resolve(source, models)
    tokenizer, dice = load_chat_tokenizer(model), random.Random(7)
    alphabet = "ab 1.\n\t🤖é東<|>:'\""
    rows = []
    for _ in range(60):
        turns = [{"role": "system", "content": "s"}] * dice.randint(0, 1)
        for _ in range(dice.randint(1, 4)):
            for role in ("user", "assistant"):
                turns.append({"role": role, "content": "x" + "".join(dice.choices(alphabet, k=dice.randint(0, 20)))})
        rows.append({"messages": turns})
    data = encode(tmp_path, load_tokenizer(model), rows)
    assert data.stats.kept == len(rows)
    for row, example in zip(rows, data.examples, strict=True):
        answers = [m["content"] + "<|im_end|>" for m in row["messages"] if m["role"] == "assistant"]
        assert learned(tokenizer, example) == answers
        assert list(example.input_ids) == tokenizer.encode(tokenizer.render(row["messages"]), add_special_tokens=False)


def test_an_answer_may_come_first(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    chat = [{"role": "assistant", "content": "Welcome"}, *CHAT]
    (example,) = encode(tmp_path, tokenizer, [{"messages": chat}]).examples
    assert learned(tokenizer, example)[0] == "Welcome<|im_end|>"


def test_prompts_are_learned_too_where_asked(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    (example,) = encode(tmp_path, tokenizer, [{"messages": CHAT}], completion_only=False).examples
    assert (example.labels == example.input_ids).all()


@pytest.mark.parametrize(
    ("prompt", "completion"), [("Q: x\nA:", " yes"), ("A: ", "yes"), ("th", "e end"), ("", "all"), ("é", "🤖")]
)
def test_a_completion_starts_where_the_prompts_tokens_end(
    tmp_path: Path, tokenizer: ChatTokenizer, prompt: str, completion: str
) -> None:
    rows = [{"prompt": prompt, "completion": completion}]
    (example,) = encode(tmp_path, tokenizer, rows, "prompt_completion").examples
    head = tokenizer.encode(prompt, add_special_tokens=True)
    assert list(example.input_ids[: len(head)]) == head
    assert learned(tokenizer, example) == [completion + "<|im_end|>"]


def test_a_text_is_learned_whole_with_one_end(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    data = encode(tmp_path, tokenizer, [{"text": "once"}, {"text": "twice<|im_end|>"}], "text")
    assert [learned(tokenizer, e) for e in data.examples] == [["once<|im_end|>"], ["twice<|im_end|>"]]


def test_truncation_keeps_the_start_and_counts_what_it_costs(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    long = [{"role": "user", "content": "why? " * 200}, {"role": "assistant", "content": "so"}]
    rows = [{"messages": CHAT}, {"messages": long}]
    data = encode(tmp_path, tokenizer, rows, length=60)
    whole = encode(tmp_path, tokenizer, rows, length=0)
    assert [example.row for example in data.examples] == [0]
    assert (data.examples[0].input_ids == whole.examples[0].input_ids[:60]).all()
    stats = data.stats
    assert (stats.rows, stats.kept, stats.truncated, stats.dropped_all_masked) == (2, 1, 2, 1)
    assert stats.tokens == 60
    assert stats.labelled_tokens == data.examples[0].labelled
    assert stats.longest == max(len(example.input_ids) for example in whole.examples)


def test_blank_lines_keep_line_numbers(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    path = write(tmp_path, [{"text": "a b"}])
    path.write_text("\n" + path.read_text() + "\n\n" + path.read_text())
    assert [e.row for e in encode_rows(path, "text", tokenizer, 8).examples] == [1, 4]
    assert len(encode_rows(path, "text", tokenizer, 8, max_rows=1).examples) == 1


@pytest.mark.parametrize(
    ("content", "fmt", "code", "says"),
    [
        (b"", "text", "bad_data", "no rows"),
        (b'{"text":"a"}\n{"text":\n', "text", "bad_data", "line 2: not valid JSON"),
        (b'{"text":"\xff"}\n', "text", "bad_data", "line 1"),
        (b"[1]\n", "text", "bad_data", "line 1: not a JSON object"),
        (b'{"text":3}\n', "text", "bad_data", 'line 1: "text"'),
        (b'{"prompt":"x"}\n', "prompt_completion", "bad_data", '"completion"'),
        (b'{"messages":[]}\n', "chat", "bad_data", "empty"),
        (b'{"messages":[{"role":"user","content":null}]}\n', "chat", "bad_data", 'messages[0] has no text "content"'),
        (b'{"messages":[{"role":"narrator","content":"x"}]}\n', "chat", "bad_data", "unknown role narrator"),
        (b'{"messages":[{"role":"user","content":"only asked"}]}\n', "chat", "all_labels_masked", "none of the 1 rows"),
        (b"{}\n", "parquet", "invalid_config", "not a row format"),
    ],
)
def test_bad_rows_are_cited(
    tmp_path: Path, tokenizer: ChatTokenizer, content: bytes, fmt: str, code: str, says: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(RunnerError) as caught:
        encode_rows(path, fmt, tokenizer, 64)
    assert (caught.value.code, says in caught.value.message) == (code, True), caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("template", "extra", "says"),
    [
        (LLAMA2, [{"role": "tool", "content": "42"}], "refuses the conversation (roles user, assistant, tool)"),
        (FORGETFUL, [{"role": "tool", "content": "42"}], 'leaves out messages of role "tool"'),
        (SHUFFLED, [], "does not say where"),
    ],
)
def test_templates_that_cannot_carry_the_row_are_told_apart(
    tmp_path: Path, tokenizer: ChatTokenizer, template: str, extra: list, says: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        encode(tmp_path, with_template(tokenizer, template), [{"messages": [*CHAT, *extra]}])
    assert (caught.value.code, says in caught.value.message) == ("bad_data", True), caught.value.message


def test_a_model_without_a_template_takes_no_chats(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    with pytest.raises(RunnerError) as caught:
        encode(tmp_path, with_template(tokenizer, None), [{"messages": CHAT}])
    assert caught.value.code == "invalid_config"


def test_questions_are_what_the_answer_was_trained_on(tokenizer: ChatTokenizer) -> None:
    encoder = RowEncoder("chat", tokenizer)
    row = {"messages": CHAT}
    (example,) = encoder.encode([(0, row)])
    question = encoder.question(0, row)
    assert question.reference == "No."
    assert list(example.input_ids[: len(question.prompt_ids)]) == question.prompt_ids


@pytest.mark.parametrize("completion_only", [True, False])
def test_rendered_tokens_are_the_text_and_the_labels(
    tmp_path: Path, tokenizer: ChatTokenizer, completion_only: bool
) -> None:
    path = write(tmp_path, [{"messages": CHAT}, {"messages": CHAT[:2]}, {"messages": CHAT}])
    shown = render_rows(path, "chat", tokenizer, [2, 1], completion_only)
    assert [row["row"] for row in shown] == [1, 2]
    for row, example in zip(shown, encode_rows(path, "chat", tokenizer, 0).examples[1:], strict=True):
        ids = [token["id"] for token in row["tokens"]]
        assert ids == example.input_ids.tolist()
        assert "".join(token["text"] for token in row["tokens"]) == tokenizer.decode(ids, skip_special_tokens=False)
        expected = (example.labels != IGNORED).tolist() if completion_only else [True] * len(ids)
        assert [token["trained"] for token in row["tokens"]] == expected
    with pytest.raises(RunnerError, match="no row 3"):
        render_rows(path, "chat", tokenizer, [3], completion_only)


def test_text_that_looks_like_a_broken_character_is_not_held_back(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    path = write(tmp_path, [{"text": "\N{REPLACEMENT CHARACTER}" * 200}])
    (row,) = render_rows(path, "text", tokenizer, [0], completion_only=False)
    silent = longest = 0
    for token in row["tokens"]:
        silent = 0 if token["text"] else silent + 1
        longest = max(longest, silent)
    assert longest <= 4


def test_inspect_counts_without_importing_torch(tmp_path: Path, models: Path, tokenizer: ChatTokenizer) -> None:
    path = write(tmp_path, [{"messages": CHAT}, {"messages": CHAT[:2]}])
    arguments = [
        "inspect",
        "--model",
        "tiny:llama",
        "--models-dir",
        str(models),
        "--format",
        "chat",
        "--file",
        str(path),
        "--max-length",
        "50",
        "--json",
    ]
    script = (
        "import sys; from vibeflow_peft.__main__ import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'transformers'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    found, expected = json.loads(done.stdout), encode_rows(path, "chat", tokenizer, 50).stats
    assert {name: found[name] for name in ("kept", "truncated", "tokens", "labelled_tokens", "longest")} == {
        name: getattr(expected, name) for name in ("kept", "truncated", "tokens", "labelled_tokens", "longest")
    }
    assert found["masked_share"] == round(1 - expected.labelled_tokens / expected.tokens, 6)
    assert sum(bucket["rows"] for bucket in found["histogram"]) == 2
    shown = subprocess.run(
        [sys.executable, "-m", "vibeflow_peft", *arguments[:-3], "--render", "1"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "⟦A number: 12.\n\n1. été 🤖<|im_end|>⟧" in shown.stdout

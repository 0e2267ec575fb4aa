"""Base models: built once, whole or not at all, and never by running what they bring."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import COMMIT, TOKEN, Hub

from vibeflow_peft import gguf_import, tiny
from vibeflow_peft import models as base_models
from vibeflow_peft.errors import RunnerError
from vibeflow_peft.models import ResolvedModel, load_chat_tokenizer, load_model, load_tokenizer, resolve
from vibeflow_peft.spec import ModelRef
from vibeflow_peft.tokenizer import ChatTokenizer, TemplateError

BUNDLED = "bundled:smollm2-135m-instruct"
TEXTS = [
    "",
    " ",
    "In 2024,\n\n1. one\n22. two\t333",
    "naïve café — 東京 🤖👩‍🚀",
    "a" * 50,
    "  leading and trailing  ",
    "def f(x):\n    return x**2 + 10\n",
    "<|im_start|>user\nhi<|im_end|>",
    "don't can't I'll 3.14159 1e-5",
]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 12?"},
    {"role": "assistant", "content": "A number."},
    {"role": "user", "content": "And 13?"},
]


@pytest.fixture(scope="session")
def bundled(models: Path) -> ResolvedModel:
    return resolve(BUNDLED, models)


def refusal(source: str, folder: Path, **ref: str) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        resolve(ModelRef(source, **ref), folder)
    assert caught.value.remedy
    return caught.value


def test_tiny_model_is_the_same_everywhere(tmp_path: Path) -> None:
    first, second = resolve("tiny:llama", tmp_path / "a"), resolve("tiny:llama", tmp_path / "b")
    assert first.sha256 == second.sha256
    assert first.max_positions == 2048
    assert (first.path.stat().st_mode & 0o777) == 0o700


def test_models_are_built_once_by_any_number_of_askers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, build = [], tiny.build
    monkeypatch.setattr(tiny, "build", lambda folder: (built.append(folder), build(folder)))
    leftover = tmp_path / f".tiny-llama-{tiny.RECIPE}.tmp-dead"
    leftover.mkdir()
    with ThreadPoolExecutor(4) as pool:
        found = {r.path for r in pool.map(lambda _: resolve("tiny:llama", tmp_path), range(4))}
    assert len(built) == 1
    assert len(found) == 1
    assert not leftover.exists(), "a killed build's folder stays behind"


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "unsealed"])
def test_a_broken_cache_is_rebuilt(tmp_path: Path, harm: str) -> None:
    model = resolve("tiny:llama", tmp_path)
    weights = model.path / "model.safetensors"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif harm == "changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    elif harm == "gone":
        weights.unlink()
    else:
        (model.path / base_models.SEAL).unlink()
    assert resolve("tiny:llama", tmp_path).sha256 == model.sha256
    assert base_models._intact(model.path)


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny, "build", fail)
    assert refusal("tiny:llama", tmp_path).code == "disk_full"
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "source",
    ["", "tiny:gpt", "bundled:x", "hub:justname", "hub:../../etc", "hub:a/..", "path:rel", "http://x/y", "hub:a/b/c"],
)
def test_impossible_sources_are_refused(tmp_path: Path, source: str) -> None:
    assert refusal(source, tmp_path).code == "invalid_config"


@pytest.mark.parametrize("source", ["tiny:llama", BUNDLED])
def test_our_tokenizer_is_the_one_transformers_loads(models: Path, source: str) -> None:
    model = resolve(source, models)
    theirs, ours = load_tokenizer(model), load_chat_tokenizer(model)
    wrapped = ChatTokenizer.of(theirs)
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        assert ours.encode(text, add_special_tokens=True) == ids == wrapped.encode(text, add_special_tokens=True)
        assert ours.decode(ids, skip_special_tokens=False) == text
    assert (ours.eos_id, ours.pad_id) == (theirs.eos_token_id, theirs.pad_token_id)
    for prompt in (True, False):
        assert ours.render(CHAT, add_generation_prompt=prompt) == theirs.apply_chat_template(
            CHAT, tokenize=False, add_generation_prompt=prompt
        )


def test_the_bundled_model_speaks_and_splits_digits(bundled: ResolvedModel) -> None:
    # Converting checked "Paris" already; here, that what was sealed is what was checked.
    tokenizer = load_chat_tokenizer(bundled)
    assert tokenizer.eos_token == "<|im_end|>"
    assert len(tokenizer.encode("1234", add_special_tokens=False)) == 4
    assert bundled.config["tie_word_embeddings"] is True
    import torch

    model = load_model(bundled)
    ids = torch.tensor([tokenizer.encode("The capital of France is", add_special_tokens=False)])
    with torch.no_grad():
        best = model(input_ids=ids).logits[0, -1].argmax().item()
    assert tokenizer.decode([best]).strip() == "Paris"


def test_an_unproven_pre_tokenizer_is_refused() -> None:
    with pytest.raises(RunnerError, match="pre-tokenizer 'llama-bpe'"):
        gguf_import._pre_tokenizer("llama-bpe")


def test_missing_weights_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = base_models._Bundled("no-such-package", "x.gguf")
    monkeypatch.setitem(base_models._BUNDLED, "smollm2-135m-instruct", nowhere)
    error = refusal(BUNDLED, tmp_path)
    assert error.code == "model_unavailable"
    assert "doctor" in error.remedy


@pytest.fixture
def folder(tmp_path: Path, models: Path) -> Path:
    """A user's own copy of the tiny model."""
    target = tmp_path / "mine"
    shutil.copytree(resolve("tiny:llama", models).path, target)
    return target


def test_an_upload_is_the_same_wherever_its_files_lie(folder: Path, tmp_path: Path) -> None:
    model = resolve(ModelRef("upload:model_1", path=str(folder)), tmp_path)
    assert model.path == folder
    assert (model.source, model.sha256) == ("upload:model_1", resolve(f"path:{folder}", tmp_path).sha256)
    assert refusal("upload:model_1", tmp_path).code == "invalid_config"


def test_a_folder_of_the_users_is_used_where_it_is(folder: Path, tmp_path: Path) -> None:
    model = resolve(f"path:{folder}", tmp_path)
    assert model.path == folder
    assert load_model(model).num_parameters() > 0
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    assert resolve(f"path:{folder}", tmp_path).sha256 != model.sha256


@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        ("pickle", "model_unavailable", "pickled"),
        ("no config", "model_unavailable", "config.json"),
        ("no tokenizer", "model_unavailable", "tokenizer.json"),
        ("remote code", "unsupported", "Python code"),
        ("index out of the folder", "model_unavailable", "not a file beside it"),
        ("bad config", "model_unavailable", "not valid JSON"),
        ("no folder", "model_unavailable", "no folder"),
    ],
)
def test_unsafe_and_incomplete_folders_are_refused(
    folder: Path, tmp_path: Path, harm: str, code: str, message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    if harm == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif harm == "no config":
        (folder / "config.json").unlink()
    elif harm == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif harm == "remote code":
        config |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}
        (folder / "config.json").write_text(json.dumps(config))
    elif harm == "index out of the folder":
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../evil.safetensors"}}))
    elif harm == "bad config":
        (folder / "config.json").write_text("{")
    else:
        shutil.rmtree(folder)
    error = refusal(f"path:{folder}", tmp_path)
    assert (error.code, message in error.message) == (code, True), error.message


@pytest.fixture
def hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback that has the tiny model."""
    served = Hub(resolve("tiny:llama", models).path).start()
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    yield served
    served.stop()


def test_a_hub_model_is_fetched_once_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    model = resolve(ModelRef("hub:acme/tiny"), tmp_path)
    assert model.revision == COMMIT
    assert load_model(model).num_parameters() > 0
    hub.asked.clear()
    assert resolve(ModelRef("hub:acme/tiny", COMMIT), tmp_path).sha256 == model.sha256
    assert hub.asked == [], "a pinned model that is here must not need the network"


@pytest.mark.parametrize(
    ("name", "token", "message", "remedy"),
    [
        ("acme/gated", "", "acme/gated is gated", "/acme/gated, and give a token of that account: `vibeflow settings"),
        ("acme/gated", TOKEN, "acme/gated is gated", "/acme/gated, with the account of your token; then retry"),
        ("acme/none", "", "not on the Hub, or is private", "vibeflow settings set huggingface_token"),
        ("acme/tiny", "hf_old", "wrong or has expired", "vibeflow settings set huggingface_token"),
    ],
)
def test_what_the_hub_refuses_says_why(
    hub: Hub, tmp_path: Path, name: str, token: str, message: str, remedy: str
) -> None:
    error = refusal(f"hub:{name}", tmp_path, token=token)
    assert (error.code, message in error.message) == ("model_unavailable", True), error.message
    assert remedy in error.remedy, error.remedy
    assert not token or token not in f"{error.message}{error.remedy}{error.detail}", "no token is told"


def test_what_may_pass_is_told_apart(hub: Hub, tmp_path: Path) -> None:
    error = refusal("hub:acme/broken", tmp_path)
    assert (error.code, "HTTP 503" in error.message) == ("unavailable", True), error.detail


def test_while_the_hub_is_away_a_model_that_is_here_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = resolve("hub:acme/tiny", tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert resolve("hub:acme/tiny", tmp_path) == model
    error = refusal("hub:acme/other", tmp_path)
    assert (error.code, "cannot be reached" in error.message) == ("unavailable", True), error.detail


@pytest.mark.parametrize(
    "template",
    [
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{% set n = namespace(_x=1) %}",
        "{{ raise_exception('no') }}",
        "{{ messages[9].role.upper() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ dict.__globals__['json'] }}",
        "{{ messages.append(1) }}",
        "{% for",
    ],
)
def test_templates_from_strangers_stay_in_their_sandbox(models: Path, template: str) -> None:
    plain = load_chat_tokenizer(resolve("tiny:llama", models))
    with pytest.raises((TemplateError, RunnerError)):
        ChatTokenizer(plain.tokenizer, plain.special, template).render(CHAT)

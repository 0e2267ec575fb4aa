"""Folders that are either whole or not there: checkpoints and artifacts, each with a manifest of hashed files.

A folder is filled under a temporary name, its files are synced and hashed, manifest.json is renamed into it last, and
then the folder is renamed into place. So a crash leaves a folder that `sweep` removes, never one that lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RunnerError

MANIFEST = "manifest.json"
_STEP = re.compile(r"^step-(\d{8,})$")
_TEMPORARY = ".partial-"
_KEPT_LAST = 2


@dataclass(frozen=True)
class Mark:
    """What a manifest says besides its files."""

    kind: str  # checkpoint | adapter | model
    step: int
    fingerprint: dict[str, Any] | None = None
    best: bool = False
    final: bool = False


def name_of(step: int) -> str:
    """A checkpoint's folder name, "step-00000020"."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in a checkpoint's folder name, 0 for another name."""
    match = _STEP.match(folder.name)
    return int(match.group(1)) if match else 0


def begin(parent: Path, name: str) -> Path:
    """An empty folder to fill; `seal` turns it into parent/name."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = parent / (_TEMPORARY + name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def seal(folder: Path, mark: Mark) -> dict[str, Any]:
    """Makes a filled folder durable and puts it in its place. Returns its manifest (contract.Manifest)."""
    target = folder.with_name(folder.name.removeprefix(_TEMPORARY))
    manifest: dict[str, Any] = {
        "kind": mark.kind,
        "name": target.name,
        "step": mark.step,
        "files": [_describe(folder, path) for path in _files(folder)],
    }
    if mark.fingerprint is not None:
        manifest["fingerprint"] = mark.fingerprint
    manifest.update({name: True for name in ("best", "final") if getattr(mark, name)})
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    if target.exists():  # the same step of an earlier life: equal by construction, and the newer one is whole
        shutil.rmtree(target)
    folder.rename(target)
    _sync_folder(target.parent)
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are all as it says. Raises RunnerError bad_data otherwise."""
    manifest = read_manifest(folder)
    for entry in manifest["files"]:
        path = folder / entry["path"]
        if not path.is_file() or path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            raise _damaged(folder, f"{entry['path']} is missing or not what the manifest says")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone, checked for shape but not against the files. Raises RunnerError bad_data."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        well_formed = isinstance(manifest["step"], int) and all(
            isinstance(e["sha256"], str) and isinstance(e["size"], int) and _is_inside(e["path"])
            for e in manifest["files"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"no readable manifest ({error})") from error
    if not well_formed:
        raise _damaged(folder, "its manifest is malformed")
    return manifest


def prune(parent: Path, keep: Iterable[str] = ()) -> list[str]:
    """Removes complete checkpoints but the last two, the newest best, the final and those named. Returns which.

    One whose manifest cannot be read is none: it is no reason to stop, and goes.
    """
    manifests, removed = {}, []
    for folder in sorted(p for p in parent.iterdir() if _STEP.match(p.name) and (p / MANIFEST).is_file()):
        try:
            manifests[folder.name] = read_manifest(folder)
        except RunnerError:
            removed.append(folder.name)
    names = sorted(manifests, key=lambda name: manifests[name]["step"])
    kept = {*names[-_KEPT_LAST:], *keep, *(n for n in names if manifests[n].get("final"))}
    kept.update([n for n in names if manifests[n].get("best")][-1:])
    removed += [name for name in names if name not in kept]
    for name in removed:
        # Renamed first, so that a crash in the middle of a removal leaves no folder that looks complete.
        doomed = parent / (_TEMPORARY + name)
        (parent / name).rename(doomed)
        shutil.rmtree(doomed)
    return removed


def sweep(parent: Path) -> None:
    """Removes what an earlier life left half-done."""
    for folder in parent.glob(_TEMPORARY + "*"):
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file of mode 0600 under another name, syncs it and renames it into place."""
    temporary = path.with_name(f".{path.name}.partial")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def _describe(folder: Path, path: Path) -> dict[str, Any]:
    path.chmod(0o600)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"path": path.relative_to(folder).as_posix(), "sha256": digest, "size": path.stat().st_size}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_inside(path: object) -> bool:
    return isinstance(path, str) and path != "" and not Path(path).is_absolute() and ".." not in Path(path).parts


def _damaged(folder: Path, why: str) -> RunnerError:
    return RunnerError(
        "bad_data",
        f"checkpoint {folder.name} is damaged: {why}",
        field="resume_from",
        remedy="resume from an older checkpoint",
    )

"""What the machine is, and which precision to compute in on it.

`probe` answers without importing torch, so that a health check costs milliseconds; the choices below take its findings
as plain values, so that tests need no GPU.
"""

from __future__ import annotations

import glob
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import RunnerError

_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
)
# Native bf16 arithmetic on a CPU; without one of these bf16 is emulated and slower than fp32.
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
_TOLD_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16", "asimd")


@dataclass(frozen=True)
class Device:
    """Where a run computes: kind is "cpu" or "cuda"; capability is CUDA's (major, minor), absent on a CPU.

    reason says why this one, caveat what people should be warned of; both are for people.
    """

    kind: str
    name: str
    capability: tuple[int, int] | None = None
    reason: str = field(default="", compare=False)
    caveat: str = field(default="", compare=False)


@dataclass(frozen=True)
class Precision:
    """How a run computes. weights is the dtype of frozen weights; autocast that of the arithmetic, absent for fp32.

    Trained parameters are fp32 always: an optimizer step in 16 bits loses small updates and exact resume with them.
    reason says why this one, caveat what people should be warned of; both are for people.
    """

    name: str  # fp32 | bf16 | fp16
    weights: str  # float32 | bfloat16 | float16
    autocast: str | None  # bfloat16 | float16
    reason: str = field(default="", compare=False)
    caveat: str = field(default="", compare=False)

    @property
    def scaled(self) -> bool:
        """Whether gradients need a loss scaler."""
        return self.autocast == "float16"


def cpu_flags() -> frozenset[str]:
    """The CPU's feature flags as Linux tells them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cuda_present() -> bool:
    """Whether a CUDA device is visible to this process, found without touching the CUDA runtime."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return bool(glob.glob("/dev/nvidia[0-9]*")) or Path("/dev/dxg").exists()  # noqa: PTH207 (Path.glob needs a base)


def choose_device(requested: str) -> Device:
    """The device for "auto", "cpu" or "cuda". Imports torch. Raises RunnerError prerequisite without a GPU to obey."""
    visible = cuda_present()
    if requested != "cpu" and visible:
        import torch

        if torch.cuda.is_available():
            reason = "a CUDA device was found" if requested == "auto" else "as asked for"
            return Device("cuda", torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0), reason)
    if requested == "cuda":
        raise RunnerError(
            "prerequisite",
            "no usable CUDA device was found",
            field="device",
            remedy="install the NVIDIA driver (nvidia-smi must list the GPU), or let the device be auto",
        )
    if requested == "cpu":
        return Device("cpu", cpu_name(), reason="as asked for")
    if visible:
        return Device(
            "cpu",
            cpu_name(),
            reason="PyTorch cannot use the GPU",
            caveat="There is a GPU, and PyTorch cannot use it: this runs on the CPU. `vibeflow doctor` says more.",
        )
    return Device("cpu", cpu_name(), reason="there is no CUDA device")


def choose_precision(device: Device, requested: str, flags: frozenset[str], *, train_all: bool) -> Precision:
    """The precision for "auto", "fp32", "bf16" or "fp16" on a device.

    train_all says that the base weights are trained, so that they stay fp32 under autocast. A GPU before compute
    capability 8 only emulates bf16 (torch reports it as supported all the same), so it gets fp16.
    """
    if device.kind == "cpu":
        return _precision_of_cpu(requested, native=any(flag in flags for flag in _BF16_FLAGS))
    if requested == "fp32":
        return Precision("fp32", "float32", None, "as asked for")
    modern = device.capability is not None and device.capability >= (8, 0)
    if requested == "bf16" and not modern:
        raise RunnerError(
            "invalid_config",
            f"{device.name} has no bf16 arithmetic",
            field="precision",
            remedy="let the precision be auto (fp16 on this GPU)",
        )
    short = "bf16" if modern and requested != "fp16" else "fp16"
    dtype = {"bf16": "bfloat16", "fp16": "float16"}[short]
    found = "this GPU has bf16 arithmetic" if modern else "this GPU has no bf16 arithmetic"
    return Precision(short, "float32" if train_all else dtype, dtype, found if requested == "auto" else "as asked for")


def _precision_of_cpu(requested: str, *, native: bool) -> Precision:
    if requested == "fp16":
        raise RunnerError(
            "invalid_config",
            "fp16 needs a GPU",
            field="precision",
            remedy="let the precision be auto: bf16 where the CPU has it, else fp32",
        )
    if requested == "fp32":
        return Precision("fp32", "float32", None, "as asked for")
    if native:
        found = "this CPU has bf16 arithmetic"
        return Precision("bf16", "float32", "bfloat16", found if requested == "auto" else "as asked for")
    if requested == "auto":
        return Precision("fp32", "float32", None, "this CPU has no bf16 arithmetic of its own")
    return Precision(
        "bf16",
        "float32",
        "bfloat16",
        "as asked for",
        "This CPU has no bf16 arithmetic of its own and emulates it, which is slower than fp32.",
    )


def cpu_name() -> str:
    """The processor's marketing name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use (an affinity mask counts)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Total and available memory in bytes, within the control group's limit where there is one."""
    import psutil

    system = psutil.virtual_memory()
    total, available = system.total, system.available
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        total, available = min(total, limit), min(available, max(limit - used, 0))
    except (OSError, ValueError):  # no control group, or "max"
        pass
    return total, available


def versions() -> dict[str, str]:
    """Installed versions of the packages whose arithmetic matters; "" for one that is missing."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def probe(*, deep: bool = False) -> dict[str, Any]:
    """What the machine has. deep also imports torch and asks it about its devices (seconds)."""
    flags = cpu_flags()
    total, available = memory()
    found: dict[str, Any] = {
        "platform": sys.platform,
        "machine": platform.machine(),
        "cpu": {
            "name": cpu_name(),
            "cores": cores(),
            "flags": sorted(flags.intersection(_TOLD_FLAGS)),
            "bf16": any(flag in flags for flag in _BF16_FLAGS),
        },
        "memory": {"total_bytes": total, "available_bytes": available},
        "cuda": {"present": cuda_present(), "devices": _nvidia_smi() if cuda_present() else []},
        "versions": versions(),
    }
    if deep:
        found["torch"] = _ask_torch()
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _nvidia_smi() -> list[dict[str, Any]]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    devices = []
    for line in out.splitlines():
        name, mebibytes, capability, driver = (part.strip() for part in line.split(","))
        devices.append(
            {"name": name, "memory_bytes": int(mebibytes) << 20, "compute_capability": capability, "driver": driver}
        )
    return devices


def _ask_torch() -> dict[str, Any]:
    import torch

    usable = torch.cuda.is_available()
    devices = []
    for index in range(torch.cuda.device_count() if usable else 0):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "compute_capability": f"{properties.major}.{properties.minor}",
            }
        )
    return {
        "version": torch.__version__,
        "cuda_usable": usable,
        "cuda_build": torch.version.cuda,
        "devices": devices,
        "threads": torch.get_num_threads(),
    }

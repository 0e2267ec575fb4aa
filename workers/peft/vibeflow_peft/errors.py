"""The runner's one error type, how foreign exceptions become one, and the exit code of each.

A RunnerError crosses into result.json as contract.Error (contract/errors.go).
"""

from __future__ import annotations

import errno
import traceback

EXIT_COMPLETED = 0
EXIT_USAGE = 2
EXIT_PAUSED = 3
EXIT_ORPHANED = 4
EXIT_SUPERSEDED = 5

# Exit codes are for people and scripts; programs read result.json. docs/runner-protocol.md documents this table.
EXIT_CODES = {
    "internal": 10,
    "invalid": 11,
    "invalid_config": 12,
    "bad_data": 13,
    "all_labels_masked": 14,
    "model_unavailable": 15,
    "out_of_memory": 16,
    "non_finite_loss": 17,
    "disk_full": 18,
    "fingerprint_mismatch": 19,
    "environment_broken": 20,
    "unsupported": 21,
    "prerequisite": 22,
    "parity_failed": 23,
}

_DETAIL_LIMIT = 8000

# What allocators say: torch's on a CPU (two wordings), the C++ library's, CUDA's driver, runtime and libraries.
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class RunnerError(Exception):
    """A failure that the user or operator can act on.

    code is one of contract's codes ("bad_data", "model_unavailable", …); message says what is wrong, remedy what to
    do about it, field which part of the input is at fault; detail is for the log only.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "", detail: str = "", field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.detail = detail
        self.field = field

    def to_json(self) -> dict[str, str]:
        """The error as contract.Error, without its empty fields."""
        fields = {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "remedy": self.remedy,
            "detail": self.detail,
        }
        return {key: value for key, value in fields.items() if value or key in ("code", "message")}

    @property
    def exit_code(self) -> int:
        """What the process exits with; 10 for a code without a row of its own."""
        return EXIT_CODES.get(self.code, EXIT_CODES["internal"])


def classify(error: BaseException) -> RunnerError:
    """The RunnerError that says what an exception means; "internal" with the traceback for one that nobody foresaw."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, RunnerError):
            return link
    detail = "".join(traceback.format_exception(error))[-_DETAIL_LIMIT:]
    for link in chain:
        if _is_out_of_memory(link):
            return RunnerError(
                "out_of_memory",
                "the device ran out of memory",
                remedy="use a smaller batch_size or max_length, or turn gradient_checkpointing on",
                detail=detail,
            )
        if _is_disk_full(link):
            return RunnerError("disk_full", "the disk is full", remedy="free some space", detail=detail)
        if isinstance(link, ImportError):
            return RunnerError(
                "environment_broken",
                f"the Python environment is incomplete: {link}",
                remedy="delete the environment's folder; it is built again at the next start",
                detail=detail,
            )
    # The innermost cause says more than the wrappers around it.
    return RunnerError("internal", f"{type(chain[-1]).__name__}: {_first_line(chain[-1])}", detail=detail)


def _chain(error: BaseException):
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors and torch.save wrap the system's error in one of their own.
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]

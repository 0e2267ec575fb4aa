"""What the libraries read from the environment when they are imported; set before the first of them is."""

from __future__ import annotations

import os

_SETTINGS = {
    "HF_HUB_OFFLINE": "1",  # models.py goes online for a Hub model alone
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # OpenMP's threads spin for milliseconds at each of a step's thousands of barriers, and on a machine that does
    # anything else beside they take the core that the awaited thread needs: eight times slower, measured. This is
    # some 20 microseconds: enough from one operation to the next.
    "GOMP_SPINCOUNT": "500",
}


def prepare() -> None:
    """Sets what a process needs that will import the libraries; what its caller has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)

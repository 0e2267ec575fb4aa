"""Faults for the tests: makes a real runner fail at a chosen step.

Python imports a module of this name by itself where its folder is on PYTHONPATH, which only tests do: the runner has no
hook of its own. faults.json, beside spec.json or beside this file, lists what goes wrong:

    {"do": "allocate", "after": 5, "above": 2}     asks the CPU's allocator for too much, with more than 2 rows at once
    {"do": "memory_error", …}                      the same of Python
    {"do": "cuda", …}                              raises what torch raises where a GPU is full
    {"do": "nan", "after": 5, "above_rate": 1e-3}  weights and so a loss that are no numbers, with a higher rate
    {"do": "inf_gradient", …}                      a finite loss with an infinite gradient
    {"do": "deadlock", "after": 5}                 the main thread waits for a lock that it holds
    {"do": "stop", "after": 5}                     SIGSTOP; woken, it goes no further
    {"do": "deadlock_held_out", "after": 5}        a deadlock in the held-out loss after that step
    {"do": "deadlock_evaluation"}                  a deadlock in an evaluation
    {"do": "full_disk", "after": 5}                the next save finds no room
    {"do": "lossy_save"}                           a weight is another one in what was saved
    {"do": "slow_save", "seconds": 3}              saving takes so long
    {"do": "impatient", "seconds": 1}              whatever is watched is suspected after so long

"after" counts finished steps. "once": true leaves the fault out once it has struck in any launch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def _read(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    for place in (folder, HERE):
        path = place / "faults.json"
        if path.is_file():
            return path, json.loads(path.read_text(encoding="utf-8"))
    return HERE, []


def _arm(folder: Path) -> None:
    path, faults = _read(folder)
    if not faults:
        return
    from vibeflow_peft import environment

    environment.prepare()
    import torch
    from safetensors.torch import load_file, save_file

    from vibeflow_peft import checkpoint, evaluate, preflight, pulse
    from vibeflow_peft.trainer import RunTrainer, save_weights

    def strikes(fault: dict[str, Any], step: int) -> bool:
        mark = path.with_name(f"struck-{faults.index(fault)}")
        if step != fault.get("after", 0) or (fault.get("once") and mark.exists()):
            return False
        if fault.get("once"):
            mark.touch()
        return True

    compute_loss, describe = RunTrainer.compute_loss, checkpoint._describe

    def faulty_loss(self: Any, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        if model.training and self.optimizer is not None:  # not in the rehearsal
            rows, rate = inputs["input_ids"].shape[0], self.control_of_run.learning_rate
            for fault in faults:
                if rows <= fault.get("above", 0) or rate <= fault.get("above_rate", 0):
                    continue
                if fault["do"] in STRIKES and strikes(fault, self.state.global_step):
                    STRIKES[fault["do"]](next(p for p in self.model.parameters() if p.requires_grad))
        for fault in faults:
            held_out = fault["do"] == "deadlock_held_out" and not model.training and self.optimizer is not None
            if held_out and strikes(fault, self.state.global_step):
                deadlock(None)
        return compute_loss(self, model, inputs, *args, **options)

    row_losses = evaluate._row_losses

    def faulty_row_losses(*args: Any) -> Any:
        for fault in faults:
            if fault["do"] == "deadlock_evaluation" and strikes(fault, 0):
                deadlock(None)
        return row_losses(*args)

    def allocate(_: Any) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    def memory_error(_: Any) -> None:
        bytearray(1 << 62)

    def cuda(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def nan(parameter: Any) -> None:
        parameter.data.fill_(float("nan"))

    def inf_gradient(parameter: Any) -> None:
        handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient + float("inf"))[1])

    def deadlock(_: Any) -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    def stop(parameter: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        deadlock(parameter)

    STRIKES = {f.__name__: f for f in (allocate, memory_error, cuda, nan, inf_gradient, deadlock, stop)}

    def faulty_describe(parent: Path, file: Path) -> dict[str, Any]:
        for fault in faults:
            if fault["do"] == "full_disk" and checkpoint.step_of(Path(parent.name.removeprefix(".partial-"))):
                step = checkpoint.step_of(Path(parent.name.removeprefix(".partial-")))
                if step > fault["after"]:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if fault["do"] == "slow_save":
                time.sleep(fault["seconds"])
        return describe(parent, file)

    RunTrainer.compute_loss, checkpoint._describe = faulty_loss, faulty_describe
    evaluate._row_losses = faulty_row_losses

    def lossy_save(model: Any, tokenizer: Any, folder: Path) -> None:
        save_weights(model, tokenizer, folder)
        weights = load_file(folder / "adapter_model.safetensors")
        next(iter(weights.values())).view(-1)[0] += 1
        save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})

    for fault in faults:
        if fault["do"] == "lossy_save":
            preflight.save_weights = lossy_save
        if fault["do"] == "impatient":
            pulse._FLOOR_SECONDS = pulse._FIRST_SECONDS = fault["seconds"]


def _install() -> None:
    from vibeflow_peft import runner

    run = runner.run

    def faulty_run(spec_path: Path) -> int:
        _arm(spec_path.resolve().parent)
        return run(spec_path)

    runner.run = faulty_run


with contextlib.suppress(ImportError):  # pip and other tools of the same interpreter
    _install()

"""What a run tells people in its log: facts in, plain sentences out.

One place for the words, so that they are of one voice. A warning is a line of its own: it says what was given up, and
what can be done about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import stop
from .events import Line

if TYPE_CHECKING:  # a runner that has imported nothing yet says things too
    from .device import Device, Precision
    from .encoding import EncodeStats

# The share of cut rows from which on a warning is due: a few long rows are no news.
_MANY_CUT = 0.02


def machine(device: Device, precision: Precision, threads: int, *, threads_set: bool) -> list[Line]:
    """Where and how a run computes, each with its reason. threads_set: somebody asked for that many."""
    choice = (
        f"Device: {_named(device)}; {device.reason}. "
        f"Threads: {threads}, {'as asked for' if threads_set else 'one for each core'}. "
        f"Precision: {precision.name}; {precision.reason}."
    )
    return [Line(choice), *(Line(caveat, "warn") for caveat in (device.caveat, precision.caveat) if caveat)]


def preparing(source: str) -> Line:
    """Before a model is looked for, which takes a while where it has to be made or fetched."""
    first = "downloads it from the Hugging Face Hub" if source.startswith("hub:") else "prepares its weights"
    return Line(f"Model: {source}. The first use on a machine {first}, once.")


def hub_away(message: str, pause: float, *, first: bool) -> list[Line]:
    """A try that did not reach the Hub. first: of this launch."""
    again = Line(f"{message[:1].upper()}{message[1:]}; trying again in {duration(pause)}.")
    if not first:
        return [again]
    advice = "Nothing is lost: the run waits until it can be. If this lasts, look at the network (and HF_ENDPOINT)."
    return [Line(f"{again.message} {advice}", "warn"), again]


def rows(purpose: str, stats: EncodeStats, max_length: int) -> list[Line]:
    """What became of the rows of a purpose ("to train on", "held out")."""
    counts = (
        f"Rows {purpose}: {stats.rows:,} read, {stats.kept:,} kept, {stats.dropped_all_masked:,} dropped, "
        f"{stats.truncated:,} cut at {max_length:,} tokens. "
        f"{stats.tokens:,} tokens; the loss counts {stats.labelled_tokens:,} of them."
    )
    lines = [Line(counts)]
    if stats.dropped_all_masked:
        what = (
            f"{_share(stats.dropped_all_masked, stats.rows)} rows {purpose} are dropped: nothing to learn is left of "
            f"them within {max_length:,} tokens. A higher max_length may keep them."
        )
        lines.append(Line(what, "warn"))
    if stats.truncated >= max(1, _MANY_CUT * stats.rows):
        what = (
            f"{_share(stats.truncated, stats.rows)} rows {purpose} are cut at {max_length:,} tokens (max_length); the "
            f"longest has {stats.longest:,}. What is cut off is not used."
        )
        lines.append(Line(what, "warn"))
    return lines


def no_held_out() -> Line:
    """The held-out rows are there, and none can be scored."""
    return Line("No held-out row has anything to score within max_length, so there is no held-out loss.", "warn")


def model(source: str, *, total: int, trained: int, method: str, seconds: float) -> Line:
    """Which model was loaded, and how much of it is trained."""
    part = (
        "all of them trained" if method == "full" else f"{trained:,} of them trained ({method}, {trained / total:.1%})"
    )
    return Line(f"Loaded {source} in {duration(seconds)}: {total:,} parameters, {part}.")


def loss_path(name: str, reason: str, *, asked: bool) -> Line:
    """Which loss is trained on. asked: the configuration names it."""
    if name == "labelled":
        return Line(f"Loss: on labelled tokens alone, which is faster; {reason}.")
    if asked:
        return Line(f"Loss: TRL's own; {reason}.")
    return Line(f"Loss: TRL's own, which is slower; {reason}.", "warn")


def preflight(
    *, longest: int, step_seconds: float, memory: int, disk_needed: int, disk_free: int, resumed: bool
) -> Line:
    """What the rehearsal found. longest: tokens of the longest row as it is trained on; sizes in bytes.

    resumed: a save and a resume were rehearsed too.
    """
    exact = " A step after a save and a resume is the step it would have been." if resumed else ""
    return Line(
        f"Preflight passed: a step on the longest rows ({longest:,} tokens) takes {duration(step_seconds)}, memory "
        f"peaks at {size(memory)}, checkpoints need {size(disk_needed)} of {size(disk_free)} free.{exact}"
    )


def preflight_accepted() -> Line:
    """A launch that need not rehearse."""
    return Line("Preflight: an earlier launch of this run has passed it.")


def plan(*, steps: int, rows_a_step: int, steps_an_epoch: int) -> Line:
    """What is about to be trained."""
    epochs = steps / steps_an_epoch
    if epochs < 1:
        seen = f"{epochs:.0%} of the rows are seen, once"
    else:
        seen = (
            f"every row is seen {f'{epochs:.2f}'.rstrip('0').rstrip('.')} times"
            if epochs > 1
            else "every row is seen once"
        )
    return Line(f"Training: {_many(steps, 'step')} of {_many(rows_a_step, 'row')}; {seen}.")


def from_the_start(epoch: int) -> Line:
    """A later launch of a run that has no checkpoint."""
    return Line(f"Launch {epoch}: no checkpoint had been saved before, so the training starts at step 1 again.")


def resumed(*, step: int, steps: int, checkpoint: str, device: Device, precision: Precision, threads: int) -> Line:
    """What a launch says that goes on from a checkpoint, instead of all that the first one said."""
    return Line(
        f"Resumed from step {step:,} of {steps:,} ({checkpoint}): {_named(device)}, {_many(threads, 'thread')}, "
        f"{precision.name}."
    )


def inexact(step: int, differences: list[str]) -> Line:
    """A resume whose further steps differ from the undisturbed run's in their last digits."""
    return Line(f"exact until step {step}: " + "; ".join(differences), "warn")


def checkpoint(*, step: int, name: str, bytes_: int, seconds: float, best: bool) -> Line:
    """One save."""
    note = ", with the lowest held-out loss so far" if best else ""
    return Line(f"Checkpoint at step {step:,}: {name}, {size(bytes_)} in {duration(seconds)}{note}.")


def held_out(*, step: int, loss: float, rows_: int, seconds: float) -> Line:
    """One held-out loss."""
    return Line(f"Held-out loss at step {step:,}: {loss:.4f} on {_many(rows_, 'row')}, in {duration(seconds)}.")


def smaller_batches(rows_: int) -> Line:
    """An evaluation does not fit into memory as it was configured."""
    return Line(f"Memory is short: it goes on with {_many(rows_, 'row')} at a time, which measures the same.", "warn")


def completed(*, steps: int, seconds: float, loss: float | None, held_out_loss: float | None, artifact: str) -> Line:
    """The end of a training; seconds are those of its steps, over all launches."""
    parts = [f"Done: {_many(steps, 'step')} in {duration(seconds)}"]
    parts += [f"last loss {loss:.4f}"] if loss is not None else []
    parts += [f"held-out loss {held_out_loss:.4f}"] if held_out_loss is not None else []
    return Line(f"{', '.join(parts)}. {artifact}")


def artifact(kind: str, bytes_: int) -> str:
    """What was made: "The adapter has 22 MiB."."""
    return f"The {kind} has {size(bytes_)}."


def stopped(reason: str, *, step: int, checkpoint: str) -> Line:
    """Why a run ended before its end, and what it leaves."""
    if reason == stop.SUPERSEDED:
        return Line("A newer launch owns this run: this one stops and saves nothing.", "warn")
    left = f"{checkpoint} holds all of it" if checkpoint else "there was nothing to save yet"
    if reason == stop.PAUSED:
        return Line(f"Paused{_at(step)}; {left}.")
    return Line(f"Stopped{_at(step)}, because no worker has renewed this run's lease; {left}.", "warn")


def failed(message: str, remedy: str, *, step: int) -> Line:
    """What ended a run, and what to do."""
    return Line(f"Failed{_at(step)}: {message}." + (f" To do: {remedy}." if remedy else ""), "error")


def duration(seconds: float) -> str:
    """A duration as people say it: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Bytes as people say them, in the words of the Go side: "58 MiB", "1.2 GiB"."""
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and unit != "TiB":
        value, unit = value / 1024, next(units)
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"


def _named(device: Device) -> str:
    kind = {"cpu": "CPU", "cuda": "GPU"}[device.kind]
    return f"{kind} ({device.name})" if device.name else kind


def _at(step: int) -> str:
    return f" at step {step:,}" if step else ""


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")

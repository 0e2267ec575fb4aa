"""The command line: `python -m vibeflow_peft VERB …`. Each verb imports what it needs, and nothing before it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .errors import EXIT_USAGE, RunnerError


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the process's exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    verbs = {"run": _run, "probe": _probe, "inspect": _inspect, "serve": _serve, "warm": _warm}
    if not arguments or arguments[0] not in verbs:
        print(f"usage: python -m vibeflow_peft {{{'|'.join(verbs)}}} …", file=sys.stderr)
        return EXIT_USAGE
    try:
        return verbs[arguments[0]](arguments[1:])
    except RunnerError as error:
        print(json.dumps({"error": error.to_json()}), file=sys.stderr)
        return error.exit_code


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="vibeflow_peft run", description="Does what a spec.json asks for.")
    parser.add_argument("spec", type=Path, help="path of spec.json; its folder receives events and result")
    from .runner import run

    return run(parser.parse_args(arguments).spec)


def _probe(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="vibeflow_peft probe", description="Prints what the machine has, as JSON.")
    parser.add_argument("--deep", action="store_true", help="import torch and ask it too (seconds)")
    from .device import probe

    print(json.dumps(probe(deep=parser.parse_args(arguments).deep)))
    return 0


def _inspect(arguments: list[str]) -> int:
    from .inspection import main as inspect

    return inspect(arguments)


def _serve(arguments: list[str]) -> int:
    from .serve import main as serve

    return serve(arguments)


def _warm(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="vibeflow_peft warm", description="Imports once, forks runners.")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on (mode 0600)")
    parser.add_argument("--log", type=Path, required=True, help="file for this process's own stdout and stderr")
    parser.add_argument(
        "--idle-seconds", type=float, default=180, help="leave after this long without a request and without a fork"
    )
    options = parser.parse_args(arguments)
    from .warm import serve_forks

    return serve_forks(options.socket, options.log, options.idle_seconds, command=main)


if __name__ == "__main__":
    sys.exit(main())

"""Everything worth doing in minutes on a machine with a GPU.

    python -m benchmarks.gpu                                  # all parts: at most 8 minutes
    python -m benchmarks.gpu --parts contact suite            # does it run
    python -m benchmarks.gpu --parts steps epoch operations   # how fast

Parts, in their order:

- contact: checks of training at the paper's sizes, one process each;
- suite: the tests that need a GPU, and those of the kernels;
- steps: a training step, published way, tuned, compiled and fastjvae, with its peak memory;
- epoch: training end to end, with loading and log;
- recipe: ``fastjvae train digits``, to its accuracy;
- operations: the kernels beside PyTorch eager and compiled.

Each writes ``PART.json`` into the folder, ``build/gpu`` by default, and ``gpu.json`` has all of
them with the machine and the versions; ``benchmarks/results/gpu.json`` is what
``python -m benchmarks.report`` writes pages from. Without a GPU it is a dry run: what needs one is
left out, and sizes are tiny.
"""

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.parts import Deadline, python, run_parts, saver, say

LIMITS_S = {
    "contact": 100.0,
    "suite": 110.0,
    "steps": 130.0,
    "epoch": 35.0,
    "recipe": 45.0,
    "operations": 50.0,
}
_MOST_S = 470.0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=LIMITS_S, default=list(LIMITS_S))
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="the folder")
    parser.add_argument("--seconds", type=float, default=_MOST_S, help="of all parts together")
    parser.add_argument("--alone", type=Path, metavar="FILE", help="run a single part, here")
    options = parser.parse_args(arguments)
    if options.alone:
        (name,) = options.parts
        part = import_module(f"benchmarks.gpu.{name}")
        part.measure(saver(options.alone), Deadline(options.seconds))
        return
    limits = [(name, LIMITS_S[name]) for name in LIMITS_S if name in options.parts]
    whole = run_parts(limits, options.out, options.seconds, _command)
    say(f"wrote {options.out / 'gpu.json'}")
    for name, part in whole["parts"].items():
        if part["exit_code"] != 0:
            say(f"{name}: not finished")
    for name, check in whole.get("contact", {}).items():
        if check["ok"] is False:
            say(f"{name}: {check['said']}")
    for test in whole.get("suite", {}).get("failed", []):
        say(f"failed: {test}")


def _command(name: str, path: Path, seconds: float) -> list[str]:
    alone = ("--parts", name, "--alone", str(path), "--seconds", str(seconds))
    return python("benchmarks.gpu", *alone)


if __name__ == "__main__":
    main()

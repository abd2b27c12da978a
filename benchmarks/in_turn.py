"""`python -m benchmarks.in_turn CHECKOUT NAME ...`: this code against that of another checkout, each benchmark in turn, as ratios.

A machine that others use is fast in one minute and slow in the next. Neighbours in time share that, so a ratio of two neighbours says more
than either figure. CHECKOUT: a folder with the other commit, for example made by `git worktree add ../before COMMIT`; it runs in this
environment, so its dependencies must be the same. Nothing is written to docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import typer

from heaters_dagster.settings import PROJECT_ROOT

_RUN = """
import importlib, json, os, re, sys
rows = importlib.import_module(f"benchmarks.{sys.argv[1]}").run()
figures = [[row.name, row.value, row.unit] for row in rows]
medians = [(row, re.match(r"median ([0-9.]+) ms", row.note or "")) for row in rows]
figures += [[row.name.partition(", 99th")[0] + ", median", float(median[1]), "ms"] for row, median in medians if median]
print(json.dumps([*figures, ["processor time, this process and its children", sum(os.times()[:4]), "s"]]))
"""

#: Figure -> (value, unit).
_Figures = dict[str, tuple[float, str]]


def main(checkout: Path, names: list[str], rounds: int = 3) -> None:
    """Print for each figure the other commit's median, this one's, and the median and range of the ratios."""
    for name in names:
        pairs = [(_figures(checkout.resolve(), name), _figures(PROJECT_ROOT, name)) for _ in range(rounds)]
        print(
            f"## {name}, {rounds} times in turn\n\n| measured | before | now | now / before | range |\n| --- | ---: | ---: | ---: | --- |"
        )
        for what, (_, unit) in pairs[0][1].items():
            if all(what in before and before[what][0] for before, _ in pairs):
                print(_line(what, unit, [(before[what][0], now[what][0]) for before, now in pairs]))
        print(flush=True)


def _line(what: str, unit: str, pairs: list[tuple[float, float]]) -> str:
    ratios = [now / before for before, now in pairs]
    before, now = (statistics.median(values) for values in zip(*pairs, strict=True))
    return f"| {what} | {before:.4g} {unit} | {now:.4g} {unit} | {statistics.median(ratios):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |"


def _figures(checkout: Path, name: str) -> _Figures:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run([sys.executable, "-c", _RUN, name], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {what: (value, unit) for what, value, unit in json.loads(done.stdout.splitlines()[-1])}


if __name__ == "__main__":
    typer.run(main)

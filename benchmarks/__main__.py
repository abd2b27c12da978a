"""`python -m benchmarks [NAME ...]`: run the measurements of those modules, or of all, and write their sections of docs/benchmarks.md."""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import benchmarks
from benchmarks.table import Row, markdown

_REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_NO_MEASUREMENT = {"__main__", "table"}


def main(names: list[str]) -> int:
    """Exit code: 0, 1 when a promise was not kept, 2 for an unknown name."""
    known = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in _NO_MEASUREMENT)
    known = [name for name in known if hasattr(importlib.import_module(f"benchmarks.{name}"), "run")]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    kept = True
    for name in names or known:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        rows: list[Row] = module.run()
        kept = kept and all(row.ok is not False for row in rows)
        what = (module.__doc__ or name).strip().splitlines()[0]
        write_section(name, what, rows, f"`python -m benchmarks {name}`, {time.monotonic() - began:.0f} s")
    return 0 if kept else 1


def write_section(name: str, what: str, rows: Sequence[Row], how: str) -> None:
    """Print the section of one measurement and put it into the report, in the place of its last one."""
    table = markdown(rows)
    print(table, flush=True)
    section = f"{what}\n\n{table}\n\n{how}, {datetime.now(UTC):%Y-%m-%d}, {_machine()}\n"
    _, *parts = _REPORT.read_text().split("\n## ") if _REPORT.is_file() else [""]
    sections = dict(part.split("\n\n", 1) for part in parts)
    sections[name] = section
    _REPORT.write_text("\n".join([_head(), *(f"## {title}\n\n{text.strip()}\n" for title, text in sorted(sections.items()))]))


def _head() -> str:
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`; `python -m benchmarks NAME` writes one section anew. Ratios are taken within one run, both sides on the\n"
        "same machine one after the other; absolute times are those of the machine that a section ends with. Sections without one are of\n"
        "a machine with an Intel Xeon, 2 cores and 24 GiB. Two commits are compared in turn by\n"
        "`python -m benchmarks.in_turn CHECKOUT NAME ...`; `frame_index`, `export` and `cut_operations` take a minute or less each.\n"
    )


def _machine() -> str:
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What grows with the number of source videos and what stays flat: 2,000, 20,000 and 200,000 in the real tables, through the real Dagster.

`python -m benchmarks.scale 20000` measures one size and keeps its figures in docs/operate/scale.json; `python -m benchmarks scale` measures
all sizes. A source video is reduced to the least: 3 clips, and in Dagster the records of two runs of stages that do nothing, after the
nightly clean-up. Those of one source video are made by real runs, and copied for all others in bulk. Then the real daemon and code server
look after them, and ten new ones go through all stages beside them, with four runs each.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import dagster as dg
from sqlalchemy import text

from benchmarks import large_database
from benchmarks.curves import Curve, drawn
from benchmarks.library import multiply
from benchmarks.processes import processor_seconds
from benchmarks.scratch import scratch_database
from benchmarks.stages_that_do_nothing import CLIPS
from benchmarks.table import Row, at_most
from heaters_dagster.domain.words import counted
from heaters_dagster.orchestration.instance import open_instance, prepare_dagster_home
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.object_store.open import open_object_store
from resources.orchestrator.dagster_private import NOT_FINISHED_STATUSES, get_and_update_asset_status_cache_value
from resources.orchestrator.old_records import remove_old_records
from resources.orchestrator.partition_names import add_partitions
from resources.orchestrator.retired_partitions import retire_partitions
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.source_video_lists import SourceVideoLists
from resources.upkeep.condition import load_condition

SIZES = (2_000, 20_000, 200_000)
MOST_PARTITIONS = 50_000
_WAVE, _RUNS_OF_ONE = 10, 4
_LOOKED_AFTER_SECONDS = 21.0
_PATIENCE_SECONDS = 200.0
_KEPT = PROJECT_ROOT / "docs" / "operate" / "scale.json"
_PLOT = _KEPT.with_suffix(".svg")
_NAME = str(source_video_partitions.name)
_NEW = "insert into source_videos (source, title) select '/new', 'new' from generate_series(1, :many) returning id"
_DONE = """
select count(*) from source_videos v where id = any(:ids) and gold_master_filepath is not null
and exists (select from clips where source_video_id = v.id)
and not exists (select from clips where source_video_id = v.id and state <> 'embedded')
"""
_TICKS = "select tick_body from job_ticks where id > :after and status in ('SUCCESS', 'SKIPPED')"
_TABLES = ("event_logs", "runs", "run_tags", "asset_event_tags", "asset_check_executions")

#: What must not grow: the figure of the largest size against the smallest.
_FLAT = {
    "a look, nothing due": 1.5,
    "a look, 1,000 waiting": 1.5,
    "a sensor's tick, nothing due": 1.5,
    "a run through queue and code server": 1.5,
    "page Source videos": 3.0,
    "page Status": 3.0,
    "a partition that comes back": 1.5,
    "memory of the code server": 1.2,
    "memory of the daemon": 1.2,
}


def run() -> list[Row]:
    """All sizes, one after the other, each in a database of its own."""
    for videos in SIZES:
        measure(videos)
    return rows()


def rows() -> list[Row]:
    """Of the figures that are kept: one row for each thing measured, with its value at the largest size."""
    kept = _kept()
    sizes = sorted(kept)
    _PLOT.write_text(drawn(_curves(kept)))
    found = []
    for what, (value, unit) in kept[sizes[-1]].items():
        before = "; ".join(f"{size:,}: {_short(kept[size][what][0])}" for size in sizes[:-1] if what in kept[size])
        found.append(Row(f"{what}, {sizes[-1]:,} source videos", value, unit, note=before))
        if what in _FLAT and len(sizes) > 1:
            grown = value / kept[sizes[0]][what][0]
            found.append(at_most(f"{what}: {sizes[-1]:,} source videos against {sizes[0]:,}", grown, "times", _FLAT[what]))
    return found


Figures = Mapping[str, tuple[float, str]]


def measure(videos: int) -> None:
    """Measure one size. Figures are kept as they come, so that what was measured stays when the rest is cut off."""
    with scratch_database() as (settings, database):
        began = time.monotonic()
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("alter system set max_wal_size = '8GB'"))
            connection.execute(text("select pg_reload_conf()"))
        large_database.fill(database, videos=videos, clips_in_video=CLIPS)
        with _dagster_at_work(settings), open_instance(settings) as instance:
            template = _wave(instance, database, 1)[0]
            remove_old_records(instance, older_than=timedelta(seconds=-60), jobs_without_assets=())
        multiply(settings, template=template, videos=videos)
        _keep(videos, {"set up in bulk": (time.monotonic() - began, "s"), "load of the machine": (os.getloadavg()[1], "")})
        with open_instance(settings) as instance:
            for group in (_looks, _pages, _sizes, _at_work, _nightly):
                _keep(videos, dict(group(settings, database, instance)))


def _looks(settings: Settings, database: Database, instance: dg.DagsterInstance) -> Iterator[tuple[str, tuple[float, str]]]:
    def look() -> None:
        settled_look(instance, settings, database)

    yield "a look, nothing due", (_median(look), "ms")
    with database.begin() as connection:
        ids = list(connection.scalars(text(_NEW), {"many": 1_000}))
    yield "a look, 1,000 waiting", (_median(look), "ms")
    with database.begin() as connection:
        connection.execute(text("delete from source_videos where id = any(:ids)"), {"ids": ids})


def _pages(settings: Settings, database: Database, instance: dg.DagsterInstance) -> Iterator[tuple[str, tuple[float, str]]]:
    lists, objects = SourceVideoLists(database), open_object_store(settings)

    def source_videos() -> None:
        lists.counts(text="")
        lists.newest(text="", limit=21)

    def partitions_of_an_asset() -> None:
        get_and_update_asset_status_cache_value(instance, dg.AssetKey("exports"), source_video_partitions)

    yield "page Source videos", (_median(source_videos), "ms")
    yield "page Status", (_median(lambda: load_condition(settings, database, objects), times=5), "ms")
    yield "Dagster: all names of partitions", (_median(lambda: instance.get_dynamic_partitions(_NAME), times=3), "ms")
    yield "Dagster: the partitions of an asset, first time", (_median(partitions_of_an_asset, times=1), "ms")
    yield "Dagster: the partitions of an asset, again", (_median(partitions_of_an_asset, times=3), "ms")
    yield "Dagster: page Runs", (_median(lambda: instance.get_run_records(limit=25), times=5), "ms")


def _sizes(settings: Settings, database: Database, _: dg.DagsterInstance) -> Iterator[tuple[str, tuple[float, str]]]:
    records = Database.connect(dagster_database_url(settings), pool_size=1)
    for name, one in (("Heaters' tables", database), ("Dagster's tables", records)):
        with one.read() as connection:
            yield name, (int(connection.scalar(text("select pg_database_size(current_database())")) or 0) / 1e6, "MB")
    with records.read() as connection:
        for table in _TABLES:
            size = connection.scalar(text("select pg_total_relation_size(cast(:name as regclass))"), {"name": table})
            yield f"Dagster's table {table}", (int(size or 0) / 1e6, "MB")
        yield "rows of event_logs", (float(connection.scalar(text("select count(*) from event_logs")) or 0), "")
    records.dispose()


def _at_work(settings: Settings, database: Database, instance: dg.DagsterInstance) -> Iterator[tuple[str, tuple[float, str]]]:
    with _dagster_at_work(settings) as processes:
        records = Database.connect(dagster_database_url(settings), pool_size=1)
        time.sleep(_LOOKED_AFTER_SECONDS / 3)  # it loads the code and looks for the first time
        mark, spent = _last_tick(records), _spent(processes)
        time.sleep(_LOOKED_AFTER_SECONDS)
        yield "a sensor's tick, nothing due", (statistics.median(_ticks(records, mark)), "ms")
        for name, seconds in _spent(processes).items():
            yield f"{name}, of one core, while it looks every 5 s", ((seconds - spent[name]) / _LOOKED_AFTER_SECONDS * 100, "%")
        mark, began = _last_tick(records), time.monotonic()
        _wave(instance, database, _WAVE)
        seconds = time.monotonic() - began
        yield "a run through queue and code server", (seconds / (_WAVE * _RUNS_OF_ONE), "s")
        yield f"longest tick, {counted(_WAVE, 'new source video')}", (max(_ticks(records, mark)), "ms")
        for name, process in processes.items():
            yield f"memory of the {name}", (_memory_of(process.pid) / 1e6, "MB")
        records.dispose()


def _nightly(settings: Settings, database: Database, instance: dg.DagsterInstance) -> Iterator[tuple[str, tuple[float, str]]]:
    def seconds(work: Callable[[], object]) -> tuple[float, str]:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began, "s"

    yield (
        "nightly: details of old runs",
        seconds(lambda: remove_old_records(instance, older_than=timedelta(days=30), jobs_without_assets=())),
    )
    known = len(instance.get_dynamic_partitions(_NAME))
    retired: list[int] = []
    yield "nightly: 1,000 partitions retire", seconds(lambda: retired.extend(retire_partitions(instance, database, most=known - 1_000)))
    assert len(retired) == 1_000
    back = iter(retired)
    yield "a partition that comes back", (_median(lambda: add_partitions(instance, [next(back)])), "ms")
    if known > MOST_PARTITIONS:
        yield f"all but {MOST_PARTITIONS:,} retire at once", seconds(lambda: retire_partitions(instance, database, most=MOST_PARTITIONS))
        yield f"all names of partitions, {MOST_PARTITIONS:,}", (_median(lambda: instance.get_dynamic_partitions(_NAME), times=3), "ms")


def _wave(instance: dg.DagsterInstance, database: Database, many: int) -> list[int]:
    """Add source videos and wait until they have been through all stages; returns their ids."""
    with database.begin() as connection:
        ids = list(connection.scalars(text(_NEW), {"many": many}))
        connection.execute(text("select pg_notify('heaters', 'rows')"))
    deadline = time.monotonic() + _PATIENCE_SECONDS

    def are_done() -> bool:
        with database.read() as connection:
            done = connection.scalar(text(_DONE), {"ids": ids}) == many
        return done and not instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))

    while not are_done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"of {many} new source videos not all went through the stages within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.5)
    return ids


@contextmanager
def _dagster_at_work(settings: Settings) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """The daemon and a code server with stages that do nothing, until the end of the block."""
    home = prepare_dagster_home(settings)
    socket, workspace, log = settings.home / "code.sock", settings.home / "workspace.yaml", settings.home / "dagster.log"
    workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {socket}\n      location_name: heaters\n")
    environment = child_environment(settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1", PYTHONPATH=str(PROJECT_ROOT))
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with log.open("ab") as output:

        def start(name: str, *command: str) -> None:
            processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, cwd=settings.home, stdout=output, stderr=output
            )

        try:
            start("code server", "benchmarks.stages_that_do_nothing", str(socket))
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not socket.exists():
                if time.monotonic() > deadline or processes["code server"].poll() is not None:
                    raise RuntimeError(f"the code server did not start: {log.read_text()[-3000:]}")
                time.sleep(0.1)
            start("daemon", "heaters_dagster.commands.up.daemon", str(workspace))
            yield processes
        finally:
            for process in reversed(processes.values()):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            socket.unlink(missing_ok=True)


def _spent(processes: Mapping[str, subprocess.Popen[bytes]]) -> dict[str, float]:
    return {name: processor_seconds([process.pid, *_children(process.pid)]) for name, process in processes.items()}


def _memory_of(process_id: int) -> int:
    """Bytes of a process and its children, what they share counted once."""
    kilobytes = 0
    for one in (process_id, *_children(process_id)):
        with suppress(OSError):
            kilobytes += sum(
                int(line.split()[1]) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
            )
    return kilobytes * 1024


def _children(process_id: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(OSError):
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from _children(child)


def _last_tick(records: Database) -> int:
    with records.read() as connection:
        return int(connection.scalar(text("select max(id) from job_ticks")) or 0)


def _ticks(records: Database, after: int) -> list[float]:
    """Milliseconds of the ticks of sensors since then."""
    with records.read() as connection:
        ticks = [json.loads(body) for body in connection.scalars(text(_TICKS), {"after": after})]
    return [(tick["end_timestamp"] - tick["timestamp"]) * 1000 for tick in ticks if tick.get("end_timestamp")]


def _median(work: Callable[[], object], times: int = 20) -> float:
    """Milliseconds. The first ones are not counted: Postgres plans a statement anew until it was sent ten times."""
    took = []
    for _ in range(times + 12 if times > 10 else times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[-times:])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _kept() -> dict[int, dict[str, tuple[float, str]]]:
    if not _KEPT.exists():
        return {}
    return {
        int(size): {what: (value, unit) for what, (value, unit) in found.items()} for size, found in json.loads(_KEPT.read_text()).items()
    }


def _keep(videos: int, found: Figures) -> None:
    for what, (value, unit) in found.items():
        print(f"{time.strftime('%H:%M:%S')} {what}: {_short(value)} {unit}; load {os.getloadavg()[0]:.1f}", flush=True)
    kept = _kept()
    kept[videos] = {**kept.get(videos, {}), **found}
    rounded = {size: {what: (float(f"{value:.4g}"), unit) for what, (value, unit) in kept[size].items()} for size in sorted(kept)}
    _KEPT.write_text(json.dumps(rounded, indent=1) + "\n")


def _curves(kept: Mapping[int, Figures]) -> list[Curve]:
    """In three plots: times, bytes, and what the night takes."""
    plots = {
        "milliseconds": ("a look, nothing due", "a sensor's tick, nothing due", "page Source videos", "page Status", "Dagster: page Runs"),
        "ms, Dagster's lists of partitions": (
            "Dagster: all names of partitions",
            "Dagster: the partitions of an asset, first time",
            "Dagster: the partitions of an asset, again",
        ),
        "MB": ("Heaters' tables", "Dagster's tables", "memory of the code server"),
    }
    return [
        Curve(plot, what, [(size, found[what][0]) for size, found in sorted(kept.items()) if what in found])
        for plot, names in plots.items()
        for what in names
    ]


def main(sizes: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    for size in sizes or map(str, SIZES):
        measure(int(size))
    from benchmarks.__main__ import write_section

    write_section("scale", (__doc__ or "").splitlines()[0], rows(), "`python -m benchmarks.scale SIZE ...`")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

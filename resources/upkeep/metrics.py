"""The figures of Heaters in the form that Prometheus reads, from the rows: no figure is lost with a process that ends.

Each part is read on its own. One that cannot be read is left out, and `heaters_scrape_failed` says which; so the rest is there when
Postgres is not. Figures are kept for some seconds, however many ask.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.object_store.open import shared_object_store
from resources.object_store.probe import last_known_problem
from resources.postgres import figures, server_figures
from resources.postgres.alert_store import open_by_cause, unsent_by_channel
from resources.postgres.database import Database
from resources.postgres.measured import APPROVAL_TO_FILE, LIMITS_SECONDS, load_measured
from resources.upkeep.stored_bytes import load_stored

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: As `prometheus_client.CONTENT_TYPE_LATEST`, which takes a quarter of a second to load.
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
#: How old the figures may be; the sizes, which Postgres adds up file by file, may be older.
FRESH_SECONDS, SIZES_FRESH_SECONDS = 10.0, 300.0

#: Metric -> what it is and its labels. docs/operate/monitor.md says of each what is healthy.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "heaters_build_info": ("Always 1; the version is its label", ("version",)),
    "heaters_database_usable": ("Whether Postgres answers", ()),
    "heaters_source_videos": ("Source videos by state, without duplicates", ("state",)),
    "heaters_clips": ("Live clips by state", ("state",)),
    "heaters_queue_length": ("Source videos or clips that wait for a stage, on which it works, or on which it failed", ("stage", "state")),
    "heaters_queue_oldest_seconds": ("For how long the oldest of them has been so", ("stage", "state")),
    "heaters_failed": ("Source videos or clips on which a stage failed, by the kind of the reason", ("stage", "reason")),
    "heaters_approved_without_file": ("Clips that were approved more than five minutes ago and have no file", ()),
    "heaters_alerts_open": ("Alerts that have begun and are not over", ("cause",)),
    "heaters_alert_messages_unsent": ("Messages about alerts that could not be sent in the last two days", ("channel",)),
    "heaters_decisions_last_hour": ("What people did in the last hour", ("action",)),
    "heaters_reviewers_last_hour": ("How many people did it", ()),
    "heaters_stored_bytes": ("Bytes in the object store, as it was last listed", ("kind", "storage_class")),
    "heaters_stored_objects": ("Objects in it", ("kind", "storage_class")),
    "heaters_stored_counted_seconds": ("For how long ago it was last listed", ()),
    "heaters_runs": ("Unfinished runs of Dagster", ("job", "status")),
    "heaters_run_leases": ("Leases of runs; expired are those that nobody renews", ("state",)),
    "heaters_pool_slots": ("Slots of a pool: limit, active, and steps that are pending", ("pool", "state")),
    "heaters_daemon_heartbeat_seconds": ("For how long a daemon of Dagster has not been heard of", ("daemon",)),
    "heaters_ticks_last_hour": ("Ticks of sensors and schedules in the last hour", ("name", "status")),
    "heaters_tick_age_seconds": ("How long ago the newest of them was", ("name", "status")),
    "heaters_database_connections": ("Open connections to Postgres", ("part", "state")),
    "heaters_database_connections_limit": ("How many the server allows", ()),
    "heaters_database_bytes": ("Size of the tables of Heaters and of Dagster", ("part",)),
    "heaters_disk_free_bytes": ("Free on the disk under HEATERS_HOME of the machine that answers", ()),
    "heaters_disk_bytes": ("Size of that disk", ()),
    "heaters_store_usable": ("Whether objects can be stored from the machine that answers, when it was last tried", ()),
    "heaters_ytdlp_age_days": ("Age of the yt-dlp of the machine that answers", ()),
    "heaters_scrape_failed": ("Whether this part of the figures could not be read", ("part",)),
    "heaters_scrape_seconds": ("How long reading this part took", ("part",)),
}
#: Histogram -> what it is and its labels.
HISTOGRAMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "heaters_stage_seconds": ("How long a run worked on a stage", ("stage", "outcome")),
    "heaters_approval_to_file_seconds": ("From the approval of a clip to its file", ()),
}

_Values = dict[str, list[tuple[tuple[str, ...], float]]]


class Metrics:
    """The figures of these settings. database: opens Heaters' database; it may raise HeatersError while Postgres is down."""

    def __init__(self, settings: Settings, database: Callable[[], Database], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._database, self._clock = settings, database, clock
        self._lock = threading.Lock()
        self._kept: tuple[float, bytes] | None = None
        self._sizes: tuple[float, _Values] | None = None
        self._dagster_tables: Database | None = None
        self._registry: Any = None

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        with self._lock:
            if self._kept is None or self._clock() - self._kept[0] > FRESH_SECONDS:
                if self._registry is None:
                    self._registry = CollectorRegistry()
                    ProcessCollector(registry=self._registry)
                    self._registry.register(self)
                self._kept = (self._clock(), generate_latest(self._registry))
            return self._kept[1]

    def describe(self) -> Iterable[Metric]:
        """Asked when this is registered; nothing, so that no figure is read then."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client."""
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        values: _Values = {}
        histograms: list[Metric] = []
        parts: dict[str, Callable[[], object]] = {
            "rows": lambda: histograms.extend(self._rows(values, HistogramMetricFamily)),
            "dagster": lambda: self._dagster(values),
            "machine": lambda: self._machine(values),
        }
        for part, read in parts.items():
            began, failed = time.monotonic(), 1.0
            with suppress(HeatersError, OSError):
                read()
                failed = 0.0
            _add(values, "heaters_scrape_failed", failed, part)
            _add(values, "heaters_scrape_seconds", time.monotonic() - began, part)
        values.setdefault("heaters_database_usable", [((), 0.0)])
        for name, (told, labels) in GAUGES.items():
            family = GaugeMetricFamily(name, told, labels=labels)
            for given, value in values.get(name, ()):
                family.add_metric(given, value)
            yield family
        yield from histograms

    def _rows(self, values: _Values, histogram: Any) -> list[Metric]:
        with self._database().read() as connection:
            now = connection.exec_driver_sql("select now()").scalar_one()
            videos, clips = figures.source_videos_by_state(connection), figures.clips_by_state(connection)
            for state, (count, _) in videos.items():
                _add(values, "heaters_source_videos", count, state.value)
            for clip_state, (count, _) in clips.items():
                _add(values, "heaters_clips", count, clip_state.value)
            for queue in figures.queues(connection, videos, clips):
                _add(values, "heaters_queue_length", queue.count, queue.stage, queue.state.value)
                age = (now - queue.oldest).total_seconds() if queue.oldest is not None and queue.count else 0.0
                _add(values, "heaters_queue_oldest_seconds", max(age, 0.0), queue.stage, queue.state.value)
            for (stage, kind), count in figures.failed_by_kind(connection).items():
                _add(values, "heaters_failed", count, stage, kind)
            late, _ = figures.approved_without_file(connection, longer_than_seconds=figures.FRESHNESS_SECONDS)
            _add(values, "heaters_approved_without_file", late)
            for cause, count in open_by_cause(connection).items():
                _add(values, "heaters_alerts_open", count, cause)
            for channel, count in unsent_by_channel(connection).items():
                _add(values, "heaters_alert_messages_unsent", count, channel)
            for lease, count in server_figures.run_leases(connection).items():
                _add(values, "heaters_run_leases", count, lease)
            actions, people = figures.decisions_of_last_hour(connection)
            for action, count in actions.items():
                _add(values, "heaters_decisions_last_hour", count, action)
            _add(values, "heaters_reviewers_last_hour", people)
            for kept in load_stored(connection):
                _add(values, "heaters_stored_bytes", kept.bytes, kept.kind, kept.storage_class)
                _add(values, "heaters_stored_objects", kept.objects, kept.kind, kept.storage_class)
                values["heaters_stored_counted_seconds"] = [((), (now - kept.counted_at).total_seconds())]
            opened, most = server_figures.connections(connection)
            for (part, state_of_it), count in opened.items():
                _add(values, "heaters_database_connections", count, part, state_of_it)
            _add(values, "heaters_database_connections_limit", most)
            for name, found in self._sizes_of(connection).items():
                values[name] = found
            measured = load_measured(connection)
        _add(values, "heaters_database_usable", 1)
        return _histograms(measured, histogram)

    def _sizes_of(self, connection: Any) -> _Values:
        if self._sizes is None or self._clock() - self._sizes[0] > SIZES_FRESH_SECONDS:
            sizes: _Values = {}
            for part, size in server_figures.database_bytes(connection).items():
                _add(sizes, "heaters_database_bytes", size, part)
            self._sizes = (self._clock(), sizes)
        return self._sizes[1]

    def _dagster(self, values: _Values) -> None:
        if self._dagster_tables is None:
            self._dagster_tables = server_figures.open_dagster_tables(self._settings)
        with self._dagster_tables.read() as connection:
            found = server_figures.load_dagster_figures(connection)
        if found is None:
            return
        for (job, status), count in found.runs.items():
            _add(values, "heaters_runs", count, job, status)
        for pool in found.pools:
            for state, slots in (("limit", pool.limit), ("active", pool.active), ("pending", pool.pending)):
                _add(values, "heaters_pool_slots", slots, pool.pool, state)
        for daemon, seconds in found.heartbeats.items():
            _add(values, "heaters_daemon_heartbeat_seconds", seconds, daemon.lower())
        for ticks in found.ticks:
            _add(values, "heaters_ticks_last_hour", ticks.count, ticks.name, ticks.status)
            _add(values, "heaters_tick_age_seconds", ticks.newest_seconds, ticks.name, ticks.status)

    def _machine(self, values: _Values) -> None:
        from resources.sources.ytdlp_release import installed

        _add(values, "heaters_build_info", 1, version("heaters"))
        _add(values, "heaters_ytdlp_age_days", installed(datetime.now(UTC).date()).days)
        disk = shutil.disk_usage(self._settings.home)
        _add(values, "heaters_disk_free_bytes", disk.free)
        _add(values, "heaters_disk_bytes", disk.total)
        problem = last_known_problem(shared_object_store(self._settings))
        _add(values, "heaters_store_usable", 0 if problem else 1)


def _add(values: _Values, name: str, value: float, *labels: str) -> None:
    values.setdefault(name, []).append((labels, float(value)))


def _histograms(measured: Mapping[tuple[str, str], tuple[list[int], float]], histogram: Any) -> list[Metric]:
    stages = histogram("heaters_stage_seconds", HISTOGRAMS["heaters_stage_seconds"][0], labels=HISTOGRAMS["heaters_stage_seconds"][1])
    files = histogram("heaters_approval_to_file_seconds", HISTOGRAMS["heaters_approval_to_file_seconds"][0], labels=())
    for (what, outcome), (counts, total) in sorted(measured.items()):
        buckets = [(_limit(limit), float(count)) for limit, count in zip(LIMITS_SECONDS, counts, strict=True)]
        if what == APPROVAL_TO_FILE:
            files.add_metric((), buckets, sum_value=total)
        else:
            stages.add_metric((what, outcome), buckets, sum_value=total)
    return [stages, files]


def _limit(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else repr(seconds)

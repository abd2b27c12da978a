"""The figures for Prometheus: from real rows, a real Dagster instance, and over HTTP. Dashboard and documents name what there is."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from heaters_dagster.commands.metrics import served_metrics
from heaters_dagster.domain.errors import DatabaseUnavailableError, SettingsError
from heaters_dagster.domain.run_tags import JOB_TAG
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.measured import LIMITS_SECONDS, load_measured, measure
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.metrics import FRESH_SECONDS, GAUGES, HISTOGRAMS, Metrics
from resources.upkeep.stored_bytes import count_stored
from review_app.server.metrics import metrics_route
from tests.pipeline_rows import cut_video, exported, reviews, video_in
from tests.this_machine import free_port

pytestmark = pytest.mark.folder

TOKEN = "a-token-of-sixteen-or-more"
MONITORING = PROJECT_ROOT / "deploy" / "monitoring"
Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def figures_in(text: bytes | str) -> Figures:
    text = text if isinstance(text, str) else text.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(figures: Figures, name: str, **labels: str) -> float | None:
    return figures.get((name, frozenset(labels.items())))


@pytest.fixture
def metrics(settings: Settings, database: Database) -> Metrics:
    return Metrics(settings, lambda: database)


def test_the_figures_are_those_of_the_rows(metrics: Metrics, settings: Settings, database: Database, object_store: ObjectStore) -> None:
    videos = SourceVideoStore(database)
    video_in(database, SourceVideoState.NEW)
    lost = video_in(database, SourceVideoState.DOWNLOADING)
    videos.record_failure(lost.id, SourceVideoState.DOWNLOAD_FAILED, "there is no file /films/test.mp4", transient=False)
    cut_of = cut_video(database, gold_master=False)
    videos.record_gold_master_failure(cut_of[0].source_video_id, "test: no room left on the disk while making it", transient=True)
    exported(database, cut_of[0], object_store)
    reviews(database).approve([cut_of[1].id], reviewer="ada")
    reviews(database).skip([cut_of[2].id], reviewer="ben")
    reviews(database).undo(reviewer="ben")
    with database.begin() as connection:
        for seconds in (0.2, 0.5, 3.0, 1e9):
            measure(connection, "exports", seconds)
        measure(connection, "exports", 3.0, outcome="failed")
        measure(connection, "approval_to_file", 7.0)
    assert count_stored(database, object_store) == 1

    found = figures_in(metrics.text())

    assert of(found, "heaters_source_videos", state="new") == 1
    assert of(found, "heaters_source_videos", state="scenes_detected") == 1
    assert of(found, "heaters_queue_length", stage="source_video", state="waiting") == 1
    assert of(found, "heaters_queue_length", stage="source_video", state="failed") == 1
    assert of(found, "heaters_queue_length", stage="gold_master", state="failed") == 1
    assert of(found, "heaters_queue_length", stage="proxy", state="working") == 0
    assert of(found, "heaters_queue_length", stage="review", state="waiting") == 1
    assert of(found, "heaters_queue_length", stage="exports", state="waiting") == 1
    assert of(found, "heaters_clips", state="exported") == 1
    assert of(found, "heaters_failed", stage="source_video", reason="not_found") == 1
    assert of(found, "heaters_failed", stage="gold_master", reason="disk") == 1
    assert of(found, "heaters_decisions_last_hour", action="approve") == 2
    assert of(found, "heaters_decisions_last_hour", action="skip") == 1
    assert of(found, "heaters_decisions_last_hour", action="undo") == 1
    assert of(found, "heaters_reviewers_last_hour") == 2
    assert of(found, "heaters_approved_without_file") == 0
    assert of(found, "heaters_stored_bytes", kind="final_clips", storage_class="STANDARD") == 4
    assert of(found, "heaters_stored_objects", kind="final_clips", storage_class="STANDARD") == 1
    assert 0 <= (of(found, "heaters_stored_counted_seconds") or 0) < 60
    buckets = [of(found, "heaters_stage_seconds_bucket", stage="exports", outcome="done", le=le) for le in ("0.5", "2.0", "5.0", "+Inf")]
    assert buckets == [2, 2, 3, 4]
    assert of(found, "heaters_stage_seconds_sum", stage="exports", outcome="done") == pytest.approx(1e9 + 3.7)
    assert of(found, "heaters_stage_seconds_count", stage="exports", outcome="failed") == 1
    assert of(found, "heaters_approval_to_file_seconds_count") == 1
    assert (of(found, "heaters_database_connections", part="heaters", state="active") or 0) >= 1
    assert (of(found, "heaters_database_connections_limit") or 0) > 10
    assert (of(found, "heaters_database_bytes", part="heaters") or 0) > 1_000_000
    assert of(found, "heaters_database_usable") == 1
    assert {of(found, "heaters_scrape_failed", part=part) for part in ("rows", "dagster", "machine")} == {0}
    assert (of(found, "heaters_disk_free_bytes") or 0) > 0
    assert (of(found, "process_resident_memory_bytes") or 0) > 0

    # Approved six minutes ago, and no file: triggers write the time, so they are off for this.
    with database.begin() as connection:
        connection.exec_driver_sql("set local session_replication_role = replica")
        connection.exec_driver_sql(
            f"update clips set state_changed_at = now() - interval '6 minutes' where id in ({cut_of[1].id}, {cut_of[2].id})"
        )
    assert of(figures_in(metrics.text()), "heaters_approved_without_file") == 0, "figures are kept for some seconds"
    later = Metrics(settings, lambda: database, clock=lambda: time.monotonic() + FRESH_SECONDS + 1)
    found = figures_in(later.text())
    assert of(found, "heaters_approved_without_file") == 1
    assert 360 <= (of(found, "heaters_queue_oldest_seconds", stage="exports", state="waiting") or 0) < 420


def test_a_file_is_measured_from_the_last_decision_on_its_clip(database: Database, object_store: ObjectStore) -> None:
    from resources.postgres.measured import measure_approval_to_file

    clip = exported(database, cut_video(database)[0], object_store)
    undecided = cut_video(database)[0]
    with database.begin() as connection:
        measure_approval_to_file(connection, clip.id)
        measure_approval_to_file(connection, undecided.id)
        (counts, seconds) = load_measured(connection)["approval_to_file", "done"]
    assert counts[-1] == 1
    assert 0 < seconds < 60
    assert ClipStore(database).load(clip.id).clip_filepath is not None


def test_the_store_is_listed_once_a_day(database: Database, object_store: ObjectStore) -> None:
    assert count_stored(database, object_store) == 0
    object_store.put_bytes("originals/video_1.mp4", b"12345")
    assert count_stored(database, object_store) is None
    assert count_stored(database, object_store, older_than=timedelta()) == 1


def test_dagsters_own_figures_are_those_of_its_instance(metrics: Metrics, settings: Settings, database: Database) -> None:
    before = figures_in(Metrics(settings, lambda: database).text())  # Dagster has no tables yet
    assert of(before, "heaters_scrape_failed", part="dagster") == 0
    assert not [name for name, _ in before if name.startswith(("heaters_pool", "heaters_runs"))]

    @dg.op(pool="encode")
    def encodes() -> None: ...

    @dg.job(tags={JOB_TAG: "ingest"})
    def ingest() -> None:
        encodes()

    with open_instance(settings) as instance:
        log = instance.event_log_storage
        log.set_concurrency_slots("encode", 2)
        run = instance.create_run_for_job(ingest, status=dg.DagsterRunStatus.STARTED)
        instance.create_run_for_job(ingest, status=dg.DagsterRunStatus.NOT_STARTED)
        log.claim_concurrency_slot("encode", run.run_id, "encodes")
        log.claim_concurrency_slot("encode", run.run_id, "encodes_too")
        log.claim_concurrency_slot("encode", run.run_id, "waits")
        now = time.time()
        instance.add_daemon_heartbeat(DaemonHeartbeat(now - 50, "SENSOR", "one", []))
        found = figures_in(metrics.text())
    assert {state: of(found, "heaters_pool_slots", pool="encode", state=state) for state in ("limit", "active", "pending")} == {
        "limit": 2,
        "active": 2,
        "pending": 1,
    }
    assert of(found, "heaters_runs", job="ingest", status="started") == 1
    assert of(found, "heaters_runs", job="ingest", status="not_started") == 1
    assert 49 <= (of(found, "heaters_daemon_heartbeat_seconds", daemon="sensor") or 0) <= 110


def test_without_the_database_the_figures_say_so(settings: Settings) -> None:
    def unavailable() -> Database:
        raise DatabaseUnavailableError("Postgres does not answer")

    found = figures_in(Metrics(settings, unavailable).text())
    assert of(found, "heaters_database_usable") == 0
    assert of(found, "heaters_scrape_failed", part="rows") == 1
    assert of(found, "heaters_scrape_failed", part="machine") == 0
    assert of(found, "heaters_source_videos", state="new") is None


def test_figures_of_the_review_app_are_for_this_machine_only_or_for_those_with_the_token(settings: Settings, database: Database) -> None:
    from dataclasses import replace

    def answered(settings: Settings, authorization: str | None = None) -> tuple[int, str]:
        app = Starlette(routes=[metrics_route(settings, lambda: database)])
        headers = {} if authorization is None else {"Authorization": authorization}
        response = TestClient(app).get("/metrics", headers=headers)
        return response.status_code, response.text

    status, text = answered(settings)
    assert status == 200
    assert of(figures_in(text), "heaters_database_usable") == 1
    shared = replace(settings, review_host="0.0.0.0")
    assert answered(shared)[0] == 403
    assert "HEATERS_METRICS_TOKEN" in answered(shared)[1]
    guarded = replace(settings, metrics_token=TOKEN, review_host="0.0.0.0")
    assert [answered(guarded, given)[0] for given in (None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}")] == [401, 401, 401, 200]


def asked(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_server_of_the_daemon_has_the_same_door(settings: Settings) -> None:
    from dataclasses import replace

    own = replace(settings, metrics_address=f"127.0.0.1:{free_port()}", metrics_token=TOKEN)
    with served_metrics(own) as address:
        assert address is not None
        signed_in = {"Authorization": f"Bearer {TOKEN}"}
        assert asked(address) == 401
        assert asked(address, **signed_in) == 200
        assert asked(address, **signed_in, Host="evil.example") == 421
        assert asked(address.removesuffix("metrics"), **signed_in) == 404
        with pytest.raises(SettingsError, match="cannot be used"), served_metrics(own):
            pass
    with pytest.raises(SettingsError, match="HEATERS_METRICS_TOKEN"), served_metrics(replace(settings, metrics_address="0.0.0.0:9464")):
        pass
    with served_metrics(settings) as nowhere:
        assert nowhere is None


_STRINGS = re.compile(r'"[^"]*"')
_NAMES = re.compile(r"\b(?:heaters|process)_\w+|\bup\b")
_BY = re.compile(r"\bby \(([^)]*)\)")
_SELECTORS = re.compile(r"(\w+)\{([^}]*)\}")


def queries() -> Iterator[str]:
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for group in yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_a_query_of_the_dashboard_and_the_rules_names_what_the_endpoint_has(query: str) -> None:
    of_process = {"process_resident_memory_bytes": (), "up": ("job",)}
    histograms = {f"{name}{end}": (*labels, "le") for name, (_, labels) in HISTOGRAMS.items() for end in ("_bucket", "_sum", "_count")}
    known = {name: labels for name, (_, labels) in GAUGES.items()} | histograms | of_process
    names = set(_NAMES.findall(_STRINGS.sub('""', query)))
    assert names
    assert names <= known.keys()
    for name, selected in _SELECTORS.findall(query):
        assert {part.split("=")[0].rstrip("!~ ").strip() for part in _STRINGS.sub("", selected).split(",")} <= set(known[name])
    grouped = {label.strip() for by in _BY.findall(query) for label in by.split(",")}
    assert grouped <= {label for name in names for label in known[name]} | {"instance"}
    assert query.count("(") == query.count(")")


def test_every_figure_is_explained_and_every_explained_figure_is_there() -> None:
    book = (PROJECT_ROOT / "docs" / "operate" / "monitor.md").read_text()
    explained = set(re.findall(r"^\| `(heaters_\w+)", book, re.MULTILINE))
    assert explained == {*GAUGES, *HISTOGRAMS}


def test_the_example_of_prometheus_scrapes_what_is_served() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"]
    assert scraped["static_configs"][0]["targets"] == [f"127.0.0.1:{Settings().review_port}"]
    assert all((MONITORING / name).is_file() for name in config["rule_files"])
    assert scraped["authorization"] == {"credentials_file": "heaters-metrics-token"}
    assert Path(MONITORING / "grafana-dashboard.json").is_file()
    assert len(LIMITS_SECONDS) == 16

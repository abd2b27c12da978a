"""What older versions left in the database: found by the doctor, taken out by its repair, and Dagster still reads what is left."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest
from sqlalchemy.engine import make_url

from heaters_dagster.commands.doctor import checked
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.files.signing_key import kept_signing_key
from resources.orchestrator.dagster_records import find_secrets
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.source_video_store import SourceVideoStore
from tests.pipeline.test_secrets import MARK, rows_with

ADDRESS = f"http://ada:{MARK}password@films.example/film.mp4?token={MARK}token"


class OldResource(dg.ConfigurableResource[None]):
    """As in 0.1: the settings as configuration."""

    environment: dict[str, str] = {}


@dg.op
def download(database: OldResource) -> None:
    raise dg.Failure(f"{ADDRESS}: the download broke off")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    url = make_url(settings.database_url or "").set(password=f"{MARK}today").render_as_string(hide_password=False)
    return replace(settings, database_url=url)


def leave_old_records(settings: Settings, database: Database) -> str:
    """A run as 0.1 recorded it; returns its id."""
    videos = SourceVideoStore(database)
    video = videos.add(ADDRESS, "film")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update source_videos set error = %s where id = %s", (f"{ADDRESS}: the download broke off", video.id))
    old = replace(settings, secret_key=f"{MARK}key", database_url=f"postgresql://ada:{MARK}before@db/heaters")

    @dg.job(resource_defs={"database": OldResource(environment=old.to_environment())})
    def ingest() -> None:
        download()

    with open_instance(settings) as instance:
        by_hand = {"resources": {"database": {"config": {"environment": {"HEATERS_DATABASE_URL": settings.database_url or ""}}}}}
        ingest.execute_in_process(instance=instance, raise_on_error=False, run_config=by_hand)
        return ingest.execute_in_process(instance=instance, raise_on_error=False).run_id


def told(settings: Settings, *, repair: bool = False) -> tuple[bool, str]:
    (finding,) = [finding for finding in checked(settings, repair=repair) if finding.what == "secrets in records"]
    assert finding.needed
    return finding.ok, finding.told


@pytest.mark.slow
def test_the_doctor_finds_what_an_older_version_left_and_its_repair_takes_it_out(settings: Settings, database: Database) -> None:
    assert told(settings) == (True, "none")
    run_id = leave_old_records(settings, database)
    key = kept_signing_key(settings)
    records = rows_with(MARK, dagster_database_url(settings))
    assert {"snapshots.snapshot_body", "event_logs.event", "runs.run_body", "source_videos.error", "source_videos.source"} <= records

    ok, before = told(settings)
    assert not ok
    assert "1 of Dagster's job snapshots" in before
    assert "heaters doctor --repair" in before
    assert MARK not in before
    assert rows_with(MARK, dagster_database_url(settings)) == records  # only looked at

    ok, advice = told(settings, repair=True)
    assert ok
    for what in (
        "HEATERS_DATABASE_URL",
        "HEATERS_SECRET_KEY",
        "signs links and sessions is new",
        "source videos 1 contain passwords or keys",
    ):
        assert what in advice
    assert MARK not in advice
    assert kept_signing_key(settings) != key
    assert rows_with(MARK, dagster_database_url(settings)) == {"source_videos.source"}  # where it is used

    assert told(settings) == (True, "none")
    assert not find_secrets(settings, database)
    with open_instance(settings) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.job_snapshot_id is not None
        assert instance.get_job_snapshot(run.job_snapshot_id).name == "ingest"
        (failure,) = [
            record for record in instance.all_logs(run_id) if record.is_dagster_event and record.get_dagster_event().is_step_failure
        ]
        assert "http://***@films.example/film.mp4?token=***: the download broke off" in str(failure.get_dagster_event().event_specific_data)

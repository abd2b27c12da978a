"""Nudges on real Postgres: decisions and submissions are heard at once, all else is not, and a lost connection is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.nudges import Nudge, Nudges, nudge
from resources.postgres.source_video_store import SourceVideoStore
from tests.pipeline_rows import cut_video, reviews

_PATIENCE_SECONDS = 30.0


@pytest.fixture
def nudges(settings: Settings) -> Iterator[Nudges]:
    nudges = Nudges(settings)
    assert nudges.wait(Nudge.ROWS, 0, _PATIENCE_SECONDS)
    assert nudges.listening
    yield nudges
    nudges.close()


def heard(nudges: Nudges, database: Database, act: Callable[[], object]) -> int:
    """How many nudges about rows `act` leads to."""

    def all_so_far() -> int:
        runs = nudges.heard(Nudge.RUNS)
        nudge(database, Nudge.RUNS)  # they come in the order of the commits: when this one is there, the others were
        assert nudges.wait(Nudge.RUNS, runs, _PATIENCE_SECONDS)
        return nudges.heard(Nudge.ROWS)

    before = all_so_far()
    act()
    return all_so_far() - before


def test_a_decision_for_a_file_and_a_submission_are_heard_and_other_changes_are_not(nudges: Nudges, database: Database) -> None:
    videos, clips = SourceVideoStore(database), cut_video(database)
    review_store, ids = reviews(database), [clip.id for clip in clips]
    assert heard(nudges, database, lambda: review_store.approve(ids, reviewer="ada")) == 1, "one decision, however many clips"
    assert heard(nudges, database, lambda: review_store.skip(ids[:1], reviewer="ada")) == 0
    assert heard(nudges, database, lambda: review_store.undo(reviewer="ada")) == 1, "approved again"
    assert heard(nudges, database, lambda: ClipStore(database).load(ids[0])) == 0
    assert heard(nudges, database, lambda: videos.add("film.mp4", "film")) == 1
    video = videos.load_all()[-1]
    assert heard(nudges, database, lambda: videos.set_state(video.id, SourceVideoState.DOWNLOADING)) == 1

    def rolled_back() -> None:
        with database.engine.connect() as connection:
            connection.execute(text("update source_videos set state = 'download_failed' where id = :id"), {"id": video.id})
            connection.rollback()

    assert heard(nudges, database, rolled_back) == 0


def test_a_lost_connection_is_made_again_and_what_was_missed_counts_as_heard(nudges: Nudges, database: Database) -> None:
    before = nudges.heard(Nudge.ROWS)
    with database.begin() as connection:
        ours = "application_name = 'heaters nudges' and datname = current_database()"  # the server has databases of tests beside this one
        connection.execute(text(f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}"))
    assert nudges.wait(Nudge.ROWS, before, _PATIENCE_SECONDS)
    assert nudges.listening
    assert nudges.seconds_since_last() < _PATIENCE_SECONDS
    before = nudges.heard(Nudge.ROWS)
    SourceVideoStore(database).add("film.mp4", "film")
    assert nudges.wait(Nudge.ROWS, before, _PATIENCE_SECONDS)

"""How long a site is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from heaters_dagster.domain.due import VideoFacts, wanted_runs
from heaters_dagster.domain.politeness import LONGEST_REQUESTED_PAUSE, MAX_REFUSALS, after_refusal
from heaters_dagster.domain.states import SourceVideoState

S = SourceVideoState
NOW = datetime(2026, 11, 27, 14, 5, tzinfo=UTC)


def minutes(refusals: int, wanted: datetime | None = None) -> float:
    held = after_refusal("example.org", NOW, wanted=wanted, refusals=refusals, reason="its site answers 429")
    return (held.until - NOW).total_seconds() / 60


def test_pauses_are_doubled_up_to_an_hour() -> None:
    assert [minutes(n) for n in (1, 2, 3, 6, 7, 19)] == [1, 2, 4, 32, 60, 60]


def test_the_time_that_a_site_names_counts_up_to_a_week() -> None:
    assert minutes(5, NOW + timedelta(hours=7)) == 420
    assert minutes(1, NOW + timedelta(days=400)) == LONGEST_REQUESTED_PAUSE.total_seconds() / 60
    assert minutes(1, NOW - timedelta(hours=1)) == 0


def test_words_say_until_when_and_why() -> None:
    held = after_refusal("example.org", NOW, wanted=NOW + timedelta(minutes=7), refusals=1, reason="its site answers 429")
    assert held.words(NOW) == "waits until 14:12 UTC (7 minutes): its site answers 429"
    assert not held.gives_up
    assert after_refusal("example.org", NOW, wanted=None, refusals=MAX_REFUSALS, reason="").gives_up


def fetched_now(*videos: VideoFacts, in_flight: tuple[int, ...] = (), per_site: int = 1) -> list[int]:
    runs = wanted_runs(videos, {("source_video", str(one)) for one in in_flight}, per_site=per_site)
    return [int(run.partition_key) for run in runs]


def new(number: int, site: str | None, **more: object) -> VideoFacts:
    return VideoFacts(id=number, state=S.NEW, site=site, **more)  # type: ignore[arg-type]


def test_downloads_of_one_site_take_turns_and_other_sites_go_on() -> None:
    videos = [new(1, "a.org"), new(2, "a.org"), new(3, "b.org"), new(4, None), new(5, None)]
    assert fetched_now(*videos) == [1, 3, 4, 5]
    assert fetched_now(*videos, per_site=2) == [1, 2, 3, 4, 5]
    assert fetched_now(*videos, in_flight=(2,)) == [3, 4, 5]


def test_a_download_that_another_machine_runs_has_the_turn() -> None:
    assert fetched_now(new(1, "a.org", site_busy=1), new(2, "a.org", site_busy=1), new(3, "b.org")) == [3]
    assert fetched_now(new(1, "a.org", site_busy=1), new(2, "a.org", site_busy=1), per_site=2) == [1]


def test_a_site_that_is_left_alone_is_not_asked_but_what_came_from_it_goes_on() -> None:
    there = VideoFacts(id=3, state=S.DOWNLOADED, site="a.org", site_held_off=True, site_busy=1)
    failed = VideoFacts(id=2, state=S.DOWNLOAD_FAILED, site="a.org", site_held_off=True, attempts=1, seconds_since_change=1e6)
    assert fetched_now(new(1, "a.org", site_held_off=True), failed, there) == [3]

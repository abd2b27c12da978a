"""What stages need of the disk, and which runs wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heaters_dagster.domain.disk_room import RoomWait, divided, in_bytes, still_to_be_promised
from heaters_dagster.domain.due import RunWanted, VideoFacts
from heaters_dagster.domain.room_needed import MediaSize, export_bytes, gold_master_bytes, proxy_bytes, samples_per_pixel
from heaters_dagster.domain.stages import ASSETS_OF_JOB, INGESTED, Job
from heaters_dagster.domain.states import SourceVideoState

MB, GB = 10**6, 10**9


def media(**changes: object) -> MediaSize:
    """An hour of 1080p at 25 frames a second."""
    video = {"width": 1920, "height": 1080, "pixel_format": "yuv420p", "bit_depth": 8, "average_frame_rate": "25/1"}
    columns = {"source_bytes": None, "original_bytes": None, "duration_seconds": 3600.0, "frame_count": None, **changes}
    return MediaSize.of({"video": video}, **columns)  # type: ignore[arg-type]


def run(key: int, job: Job = Job.INGEST, first: int = 0) -> RunWanted:
    assets = INGESTED if job is Job.INGEST else ASSETS_OF_JOB[job]
    return RunWanted(job, str(key), assets[first:], 0, "due")


@pytest.mark.parametrize(
    ("pixel_format", "samples"),
    [
        ("yuv420p", 1.5),
        ("yuv420p10le", 1.5),
        ("nv12", 1.5),
        ("yuv422p10le", 2),
        ("yuva444p", 4),
        ("gray", 1),
        ("rgb24", 3),
        ("", 3),
        ("ya8", 2),
    ],
)
def test_how_many_samples_a_pixel_has(pixel_format: str, samples: float) -> None:
    assert samples_per_pixel(pixel_format) == samples


def test_a_web_source_needs_a_multiple_of_its_bytes_and_a_camera_file_what_its_pixels_say() -> None:
    web, camera = media(original_bytes=500 * MB), media(original_bytes=100 * GB)
    assert proxy_bytes(web) == 11 * 500 * MB + (1 << 20)
    assert gold_master_bytes(web) == 86 * 500 * MB + (1 << 20)
    pixels, sound = 25 * 3600 * 1920 * 1080, 3600 * 2 * 48_000 * 4
    assert proxy_bytes(camera) == round(pixels * 1.5 / 8) + sound + (1 << 20)
    assert gold_master_bytes(camera) == round(pixels * 12 * 0.6 / 8) + sound + (1 << 20)
    assert gold_master_bytes(replace(web, clock_jumps=True)) == 2 * gold_master_bytes(web), "it is written again with right times"
    unknown = MediaSize.of(None, source_bytes=None, original_bytes=None, duration_seconds=None, frame_count=None)
    assert proxy_bytes(unknown) == 1 << 20, "what nobody knows keeps nothing from beginning"
    assert export_bytes(10 * MB, encodes=True) == 40 * MB + (1 << 20)


def test_the_first_runs_get_the_room_and_one_that_needs_none_never_waits() -> None:
    sizes = {str(key): MediaSize(source_bytes=bytes_) for key, bytes_ in ((1, 4 * GB), (2, 7 * GB), (3, 5 * GB))}
    found = divided([run(1), run(2), run(3), run(4, Job.CLEAN_UP)], sizes, free_bytes=10 * GB, known={})
    assert [one.partition_key for one in found.begin] == ["1", "3", "4"]
    assert found.waiting == {run(2): RoomWait("source_video", 7 * GB, 6 * GB)}
    assert found.waiting[run(2)].words == "waits for room on the disk: needs 7 GB, 6 GB are free"
    assert divided([run(4, Job.CLEAN_UP)], {}, free_bytes=-GB, known={}).waiting == {}


def test_what_a_stage_has_found_out_counts_more_than_the_estimate() -> None:
    exports, later = run(1, Job.EXPORT), run(2)
    known = {("1", "exports"): 3 * GB, ("2", "proxy"): 9 * GB}
    found = divided([exports, later], {"2": MediaSize(source_bytes=GB)}, free_bytes=2 * GB, known=known)
    assert found.waiting == {exports: RoomWait("exports", 3 * GB, 2 * GB), later: RoomWait("proxy", 9 * GB, 2 * GB)}
    assert divided([exports, later], {}, free_bytes=12 * GB, known=known).waiting == {}


def test_a_run_that_has_not_begun_to_write_is_counted_until_its_stage_works() -> None:
    size = MediaSize(source_bytes=GB, original_bytes=GB)
    new = VideoFacts(id=1, state=SourceVideoState.NEW, media=size)
    assert still_to_be_promised(new, "source_video") == GB
    assert still_to_be_promised(new, "proxy") == 0, "nobody knows yet what will come"
    busy = VideoFacts(id=1, state=SourceVideoState.DOWNLOADING, media=size, busy=frozenset({"source_video"}))
    assert still_to_be_promised(busy, "source_video") == 0
    fetched = VideoFacts(id=1, state=SourceVideoState.DOWNLOADED, media=size, has_original=True)
    assert [still_to_be_promised(fetched, asset) for asset in ("source_video", "proxy", "keyframes")] == [0, 11 * GB + (1 << 20), 0]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 kB"), (30_000, "30 kB"), (3_400_000, "3.4 MB"), (999_000_000, "999 MB"), (12 * GB, "12 GB"), (2_500_000 * MB, "2,500 GB")],
)
def test_sizes_are_short(count: int, words: str) -> None:
    assert in_bytes(count) == words


def test_no_free_room_is_said_without_another_unit() -> None:
    assert RoomWait("proxy", 2320, -5).words == "waits for room on the disk: needs 2.32 kB, nothing is free"

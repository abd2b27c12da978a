"""What the pages submit, on real Postgres."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from review_app.service import submissions
from review_app.service.review_desk import ReviewDesk
from tests.media_files import make_video


def test_files_are_submitted_one_a_line(desk: ReviewDesk, tmp_path: Path) -> None:
    paths = [make_video(tmp_path / f"{frames}.mp4", frames=frames, audio=False) for frames in (4, 5)]
    outcome = submissions.submit_sources(desk, f"{paths[0]}\n\n  {paths[1]}  \n")
    assert outcome.ok, outcome.told
    assert sorted(video.source for video in desk.videos.load_all()) == [str(path) for path in paths]


def test_beyond_this_machine_no_path_of_the_server_can_be_submitted_unless_its_folder_is_named(desk: ReviewDesk, tmp_path: Path) -> None:
    path = make_video(tmp_path / "holiday.mp4", frames=4, audio=False)
    for named, ok in (((), False), ((str(tmp_path),), True)):
        desk.settings = replace(desk.settings, review_host="0.0.0.0", submit_folders=named)
        outcome = submissions.submit_sources(desk, str(path))
        assert outcome.ok is ok
        assert len(desk.videos.load_all()) == int(ok)
    for source in (f"{tmp_path}/gone.mp4", "/etc/passwd", "s3://bucket/key.mp4"):
        outcome = submissions.submit_sources(desk, source)
        assert "cannot be submitted from the browser" in outcome.refused


@pytest.mark.parametrize("text", ["", "  \n ", "file:///etc/passwd", "http://127.0.0.1/x.mp4", "relative.mp4", "ftp://example.org/x"])
def test_what_cannot_be_a_source_is_refused_in_words(desk: ReviewDesk, text: str) -> None:
    outcome = submissions.submit_sources(desk, text)
    assert not outcome.ok
    assert outcome.refused
    assert not outcome.told
    assert desk.videos.load_all() == []


def test_what_was_submitted_and_what_was_refused_are_told_apart(desk: ReviewDesk, tmp_path: Path) -> None:
    path = make_video(tmp_path / "holiday.mp4", frames=4, audio=False)
    outcome = submissions.submit_sources(desk, f"{path}\nftp://example.org/x")
    assert not outcome.ok
    assert "holiday" in outcome.told
    assert "ftp" in outcome.refused
    assert "holiday" not in outcome.refused

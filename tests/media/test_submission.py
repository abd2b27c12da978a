"""What is taken in, what is refused at the door, and that nothing is taken in when a part is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import ForbiddenSourceError, HeatersError, InvalidMediaError, SourceNotFoundError
from heaters_dagster.domain.states import SourceVideoState
from resources.address_guard import AddressGuard
from resources.source_video_store import SourceVideoStore
from resources.submission import submit


@pytest.fixture
def videos(database) -> SourceVideoStore:
    return SourceVideoStore(database)


@pytest.fixture
def footage(tmp_path) -> Path:
    """A folder with videos, other files, and what is hidden."""
    folder = tmp_path / "footage"
    for name in ("b.mp4", "a_1.MOV", "notes.txt", ".hidden.mp4", "day 2/c.mkv", "day 2/deeper/d.webm", ".git/e.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")
    return folder


def sources(videos: SourceVideoStore) -> list[str]:
    return [video.source for video in videos.load_all()]


def test_a_file_becomes_a_new_source_video(videos, footage):
    (done,) = submit([str(footage / "a_1.MOV")], videos, guard=AddressGuard())
    assert (done.video.source, done.video.title, done.video.state) == (str(footage / "a_1.MOV"), "a 1", SourceVideoState.NEW)
    assert done.earlier is None
    assert videos.load_all() == [done.video]


def test_a_relative_path_is_stored_as_an_absolute_one(videos, footage, monkeypatch):
    monkeypatch.chdir(footage / "day 2")
    (done,) = submit(["../b.mp4"], videos, guard=AddressGuard())
    assert done.video.source == str(footage / "b.mp4")


def test_a_folder_stands_for_the_videos_in_it_and_below(videos, footage):
    submit([str(footage)], videos, guard=AddressGuard())
    assert sources(videos) == [str(footage / name) for name in ("a_1.MOV", "b.mp4", "day 2/c.mkv", "day 2/deeper/d.webm")]


def test_a_file_named_by_itself_may_have_any_name(videos, footage):
    submit([str(footage / "notes.txt"), str(footage / ".hidden.mp4")], videos, guard=AddressGuard())
    assert len(sources(videos)) == 2


def test_what_is_named_twice_is_submitted_once(videos, footage):
    submit([str(footage / "b.mp4"), str(footage), str(footage / "day 2" / ".." / "b.mp4")], videos, guard=AddressGuard())
    assert len(sources(videos)) == len(set(sources(videos))) == 4
    assert sources(videos)[0] == str(footage / "b.mp4")


def test_addresses_are_taken_as_they_are(videos):
    addresses = ["https://example.org/watch?v=1", "s3://bucket/day 1/a.mp4"]
    submit([f"  {address} " for address in addresses], videos, guard=AddressGuard(allow_private=True))
    assert sources(videos) == addresses


def test_a_path_with_a_colon_is_a_path(videos, footage, monkeypatch):
    (footage / "Part 1: the end.mp4").write_bytes(b"video")
    monkeypatch.chdir(footage)
    (done,) = submit(["Part 1: the end.mp4"], videos, guard=AddressGuard())
    assert (done.video.source, done.video.title) == (str(footage / "Part 1: the end.mp4"), "Part 1: the end")


def test_the_submitter_hears_of_an_earlier_submission(videos, footage):
    path = str(footage / "b.mp4")
    (first,) = submit([path], videos, guard=AddressGuard())
    submit([path.replace("b.mp4", "a_1.MOV")], videos, guard=AddressGuard())
    (again,) = submit([path], videos, guard=AddressGuard())
    assert first.message == f"Submitted as source video {first.video.id}: b"
    assert f"It came before, as source video {first.video.id} (new)" in again.message
    assert again.earlier == first.video
    assert again.video.id != first.video.id


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("gone.mp4", SourceNotFoundError, "gone.mp4 is not there"),
        ("empty.mp4", InvalidMediaError, r"empty.mp4 is empty \(0 bytes\)"),
        ("pipe.mp4", InvalidMediaError, "pipe.mp4 is no ordinary file"),
        ("nothing", InvalidMediaError, "nothing holds no video files"),
        ("ftp://example.org/a.mp4", ForbiddenSourceError, "cannot be a source"),
        ("file:///etc/passwd", ForbiddenSourceError, "cannot be a source"),
        ("file:/etc/passwd", ForbiddenSourceError, "cannot be a source"),
        ("s3://bucket", ForbiddenSourceError, "write s3://bucket/key"),
        ("http://127.0.0.1:8000/a.mp4", ForbiddenSourceError, "a loopback address"),
        ("http://169.254.169.254/latest", ForbiddenSourceError, "link-local"),
        ("http://localhost/", ForbiddenSourceError, "localhost may not be fetched"),
    ],
)
def test_nothing_is_submitted_when_one_source_is_refused(videos, footage, monkeypatch, name, error, words):
    (footage / "empty.mp4").touch()
    (footage / "nothing").mkdir()
    os.mkfifo(footage / "pipe.mp4")
    monkeypatch.chdir(footage)
    with pytest.raises(error, match=words):
        submit(["b.mp4", name], videos, guard=AddressGuard())
    assert sources(videos) == []


def test_a_folder_with_an_empty_video_is_refused_by_its_name(videos, footage):
    (footage / "empty.mp4").touch()
    with pytest.raises(HeatersError, match=r"empty\.mp4 is empty"):
        submit([str(footage)], videos, guard=AddressGuard())

"""What is taken in, what is there already, and what is refused at the door."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import shutil
import socket
import threading
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources import submission
from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader, local_sha256
from resources.sources.file_identity import Wanted, file_identity
from resources.sources.object_prefixes import listing_of
from resources.sources.submission import submit
from resources.sources.submit_places import SubmitPlaces, own_folders
from tests.pipeline_rows import somebody_waits


@pytest.fixture
def videos(database) -> SourceVideoStore:
    return SourceVideoStore(database)


@pytest.fixture
def footage(tmp_path) -> Path:
    """A folder with videos, other files, and what is hidden."""
    folder = tmp_path / "footage"
    for name in ("b.mp4", "a_1.MOV", "notes.txt", ".hidden.mp4", "day 2/c.mkv", "day 2/deeper/d.webm", ".git/e.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"video {name}".encode())
    return folder


def sources(videos: SourceVideoStore) -> list[str]:
    return [video.source for video in videos.load_all()]


def test_a_file_becomes_a_new_source_video(videos, footage):
    (done,) = submit([str(footage / "a_1.MOV")], videos, guard=AddressGuard())
    assert (done.video.source, done.video.title, done.video.state) == (str(footage / "a_1.MOV"), "a 1", SourceVideoState.NEW)
    assert not done.refused
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


@pytest.mark.parametrize("name", ["file:x.mp4", "data:my day.mp4", "take://x.mp4", "s3:///x.mp4"])
def test_a_file_called_like_an_address_is_refused_with_the_way_to_submit_it(videos, footage, monkeypatch, name):
    (footage / name).parent.mkdir(parents=True, exist_ok=True)
    (footage / name).write_bytes(name.encode())
    monkeypatch.chdir(footage)
    (done,) = submit([name], videos, guard=AddressGuard())
    written = shlex.split(done.told.partition(". For the file of that name write ")[2])
    assert written == [f"./{name}"]
    (again,) = submit(written, videos, guard=AddressGuard())
    assert again.video.source == str(footage / Path(name))


def test_a_file_address_is_refused_with_the_path_that_it_names(videos, footage):
    (done, *others) = submit(
        [f"file://{footage}/day%202/c.mkv", f"file://{footage}/none.mp4", "file:gone.mp4"], videos, guard=AddressGuard()
    )
    assert done.told.endswith(f". For the file of that name write '{footage}/day 2/c.mkv'")
    assert [other.refused for other in others] == [True, True]
    assert not any("of that name" in other.told for other in others)


def test_the_browser_learns_from_no_hint_which_files_there_are(videos, footage, monkeypatch):
    (footage / "file:x.mp4").write_bytes(b"video")
    monkeypatch.chdir(footage)
    named, missing = submit(["file:x.mp4", "file:y.mp4"], videos, guard=AddressGuard(), places=SubmitPlaces((), ()))
    assert named.told.replace("x.mp4", "y.mp4") == missing.told


def test_the_same_path_again_is_the_same_source_video(videos, footage):
    path = str(footage / "b.mp4")
    (first,) = submit([path], videos, guard=AddressGuard())
    (again,) = submit([path], videos, guard=AddressGuard())
    assert first.told == f"Submitted as source video {first.video.id}: b"
    assert again.video == first.video
    assert f"is already source video {first.video.id}, waiting to be fetched" in again.told


def test_the_same_bytes_under_another_name_are_the_same_source_video(videos, footage):
    (footage / "copy.mp4").write_bytes((footage / "b.mp4").read_bytes())
    (footage / "other.mp4").write_bytes((footage / "b.mp4").read_bytes().upper())  # as long, but not the same
    done = submit([str(footage / name) for name in ("b.mp4", "copy.mp4", "other.mp4")], videos, guard=AddressGuard())
    assert [item.video.id for item in done] == [done[0].video.id, done[0].video.id, done[2].video.id]
    assert done[2].video.id != done[0].video.id
    assert str(footage / "b.mp4") in done[1].told


def test_another_file_under_the_same_path_is_another_source_video(videos, footage):
    path = footage / "b.mp4"
    (first,) = submit([str(path)], videos, guard=AddressGuard())
    lead_to_downloaded(videos, first.video.id, path)
    (same,) = submit([str(path)], videos, guard=AddressGuard())
    path.write_bytes(b"a new take")
    (other,) = submit([str(path)], videos, guard=AddressGuard())
    assert same.video.id == first.video.id
    assert other.video.id != first.video.id


def test_the_answer_to_an_address_that_is_known_shows_no_password(videos):
    address = "https://ada:hush@93.184.216.34/film.mp4?token=hush"
    submit([address], videos, guard=AddressGuard())
    (again,) = submit([address], videos, guard=AddressGuard())
    assert again.told.startswith("https://***@93.184.216.34/film.mp4?token=*** is already source video 1")
    assert sources(videos) == [address]


def test_what_failed_before_is_tried_again(videos, footage, monkeypatch):
    retry = videos.retry
    (first,) = submit([str(footage / "b.mp4")], videos, guard=AddressGuard())
    videos.set_state(first.video.id, SourceVideoState.DOWNLOADING)
    videos.record_failure(first.video.id, SourceVideoState.DOWNLOAD_FAILED, "made to fail", transient=False)
    (again,) = submit([str(footage / "b.mp4")], videos, guard=AddressGuard())
    assert (again.video.id, again.video.state, again.video.error) == (first.video.id, SourceVideoState.NEW, None)
    assert "tried again" in again.told
    videos.record_failure(first.video.id, SourceVideoState.DOWNLOAD_FAILED, "made to fail", transient=False)
    monkeypatch.setattr(videos, "retry", lambda video_id: (retry(video_id), retry(video_id)))  # a colleague was quicker
    (again,) = submit([str(footage / "b.mp4")], videos, guard=AddressGuard())
    assert (again.video.state, "tried again" in again.told) == (SourceVideoState.NEW, True)


def told_in(videos: SourceVideoStore, folder: Path, *named: str, objects: tuple[str, ...] = ()) -> list[str]:
    places = SubmitPlaces((folder,), objects)
    return [item.told for item in submit(named, videos, guard=AddressGuard(), places=places)]


def test_the_browser_learns_nothing_of_files_outside_its_folders(videos, footage, tmp_path):
    """What is not there and what is not allowed is refused with the same words, whatever leads to it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "keys.mp4").write_bytes(b"not yours")
    (footage / "out.mp4").symlink_to(tmp_path / "secret" / "keys.mp4")
    (footage / "out").symlink_to(tmp_path / "secret")
    named = [
        str(tmp_path / "secret" / "keys.mp4"),
        str(tmp_path / "secret" / "gone.mp4"),
        str(tmp_path / "secret"),
        str(footage / ".." / "secret" / "keys.mp4"),
        str(footage / "out.mp4"),
        str(footage / "out" / "keys.mp4"),
        str(footage / "out" / "gone.mp4"),
        str(footage / "gone.mp4"),
        f"{footage}x",
        "/dev/null",
        "/" + "x" * 5000,
        "a\x00b",
        "keys.mp4",
    ]
    told = told_in(videos, footage, *named)
    assert {words.removeprefix(name) for words, name in zip(told, named, strict=True)} == {
        " cannot be submitted from the browser: there is no such file in a folder that HEATERS_SUBMIT_FOLDERS names. "
        "Upload the file on this page, or submit it on the server with heaters submit"
    }
    assert sources(videos) == []


def test_from_an_allowed_folder_the_browser_submits_what_lies_in_it_by_its_own_path(videos, footage, tmp_path):
    (tmp_path / "other.mp4").write_bytes(b"outside")
    (footage / "link.mp4").symlink_to(footage / "b.mp4")
    (footage / "out.mp4").symlink_to(tmp_path / "other.mp4")
    told_in(videos, footage, str(footage / "link.mp4"), str(footage))
    assert sources(videos) == [str(footage / name) for name in ("b.mp4", "a_1.MOV", "day 2/c.mkv", "day 2/deeper/d.webm")]
    assert {video.confined_to for video in videos.load_all()} == {str(footage)}


def test_the_browser_reaches_only_the_places_of_buckets_that_are_named(videos, footage):
    allowed = ("s3://footage/incoming/",)
    named = ["s3://footage/incoming/a.mp4", "s3://footage/incomingx/a.mp4", "s3://other/a.mp4", "s3://footage/incoming/../x.mp4"]
    told = told_in(videos, footage, *named, objects=allowed)
    assert told[0].startswith("Submitted as")
    assert all("cannot be submitted from the browser" in words for words in told[1:])
    assert sources(videos) == ["s3://footage/incoming/a.mp4"]
    assert told_in(videos, footage, "file:///etc/passwd", objects=allowed) == told_in(videos, footage, "file:///etc/passwd")


@pytest.mark.parametrize("swapped", ["the file", "its folder", "a folder above"])
def test_a_file_that_is_swapped_for_a_link_after_it_was_submitted_is_not_read(videos, footage, tmp_path, swapped):
    secret = tmp_path / "secret" / "deeper"
    secret.mkdir(parents=True)
    (secret / "d.webm").write_bytes(b"not yours")
    file = footage / "day 2" / "deeper" / "d.webm"
    told_in(videos, footage, str(file))
    (video,) = videos.load_all()
    place, target = {
        "the file": (file, secret / "d.webm"),
        "its folder": (file.parent, secret),
        "a folder above": (file.parent.parent, secret.parent),
    }[swapped]
    place.rename(tmp_path / "moved away")
    place.symlink_to(target)
    (tmp_path / "work").mkdir()
    with pytest.raises(ForbiddenSourceError, match="is now reached through a link"):
        Downloader(guard=AddressGuard()).fetch(video.source, tmp_path / "work", confined_to=video.confined_to)
    assert list((tmp_path / "work").iterdir()) == []
    with pytest.raises(ForbiddenSourceError):
        local_sha256(file, confined_to=video.confined_to)


def lead_to_downloaded(videos: SourceVideoStore, source_video_id: int, path: Path) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    videos.set_state(source_video_id, SourceVideoState.DOWNLOADING)
    facts = {"original_bytes": path.stat().st_size, "content_sha256": sha256, "original_filepath": f"originals/video_{source_video_id}.mp4"}
    videos.set_state(source_video_id, SourceVideoState.DOWNLOADED, **facts)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.mp4", "there is no file or folder"),
        ("pipe.mp4", "pipe.mp4 is a named pipe, not an ordinary file"),
        ("nothing", "nothing has no video files"),
        ("", "a source cannot be empty"),
        ("ftp://example.org/a.mp4", "cannot be a source"),
        ("file:///etc/passwd", "cannot be a source"),
        ("file:/etc/passwd", "cannot be a source"),
        ("s3://bucket", "write s3://bucket/key"),
        ("http://127.0.0.1:8000/a.mp4", "a loopback address"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://localhost/", "localhost may not be fetched"),
    ],
)
def test_a_source_that_is_refused_does_not_keep_the_others_out(videos, footage, monkeypatch, name, words):
    (footage / "nothing").mkdir()
    os.mkfifo(footage / "pipe.mp4")
    monkeypatch.chdir(footage)
    refused, taken = submit([name, "b.mp4"], videos, guard=AddressGuard())
    assert refused.refused
    assert words in refused.told
    assert not taken.refused
    assert sources(videos) == [str(footage / "b.mp4")]


def test_a_file_that_is_no_video_is_taken_in_to_fail_where_an_operator_sees_it(videos, footage):
    (footage / "empty.mp4").touch()
    (done,) = submit([str(footage / "empty.mp4")], videos, guard=AddressGuard())
    assert done.video.state is SourceVideoState.NEW


def test_a_name_that_is_not_utf8_is_refused_and_the_others_are_taken(videos, footage):
    Path(os.fsdecode(os.fsencode(footage) + b"/ab\xff.mp4")).write_bytes(b"video")
    done = submit([str(footage), os.fsdecode(b"/films/caf\xe9.mp4")], videos, guard=AddressGuard())
    assert [one.told for one in done if one.refused] == [
        f"{footage}/ab\\xff.mp4: its name is not UTF-8 and cannot be stored; rename the file",
        "there is no file or folder /films/caf\\xe9.mp4 on this machine",
    ]
    assert len(sources(videos)) == 4


def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_taken(videos, footage, monkeypatch):
    (footage / "shut").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("/shut"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = submit([str(footage)], videos, guard=AddressGuard())
    assert [one.told for one in done if one.refused] == [f"{footage}/shut cannot be read: Permission denied; nothing in it was submitted"]
    assert len(sources(videos)) == len(done) - 1 == 4


def test_what_is_no_ordinary_file_in_a_folder_is_left_out_and_told(videos, footage):
    os.mkfifo(footage / "pipe.mp4")
    (footage / "gone.mp4").symlink_to(footage / "nowhere.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(footage / "heard.mp4"))
    done = submit([str(footage)], videos, guard=AddressGuard())
    assert [one.told for one in done if one.refused] == [
        f"{footage}/heard.mp4 is a socket, not an ordinary file; it was left out",
        f"{footage}/pipe.mp4 is a named pipe, not an ordinary file; it was left out",
    ]
    assert len(sources(videos)) == 4
    only = footage / "only"
    only.mkdir()
    os.mkfifo(only / "pipe.mp4")
    (told,) = submit([str(only)], videos, guard=AddressGuard())
    assert told.told == f"{only}/pipe.mp4 is a named pipe, not an ordinary file; it was left out"
    (only / "pipe.mp4").rename(footage / "pipe_2.mp4")
    (only / "link.mp4").symlink_to(footage / "pipe.mp4")
    (told,) = submit([str(only)], videos, guard=AddressGuard(), places=SubmitPlaces((only.resolve(),), ()))
    assert "pipe" not in told.told, "a browser learns nothing of what lies behind a link"
    assert "has no video files" in told.told


def test_a_path_that_cannot_be_looked_at_is_refused_and_the_others_are_taken(videos, footage, monkeypatch):
    def may_not_be_searched(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    too_long = f"/{'x' * 300}.mp4"
    with monkeypatch.context() as closed:
        closed.setattr(Path, "is_dir", may_not_be_searched)
        (shut,) = submit(["/closed/a.mp4"], videos, guard=AddressGuard())
    assert shut.told == "/closed/a.mp4 cannot be read: Permission denied"
    refused, taken = submit([too_long, str(footage / "b.mp4")], videos, guard=AddressGuard())
    assert refused.told == f"{too_long} cannot be read: File name too long"
    assert not taken.refused


# Files of one size: told apart by a fingerprint of samples, read whole only where that agrees

LARGE = 3 * 1024 * 1024


def large_file(path: Path, *, hidden: bytes = b"", end: bytes = b"") -> Path:
    """A file of LARGE bytes. hidden: bytes at a place that no sample reads; end: its last bytes."""
    with path.open("wb") as file:
        file.truncate(LARGE)
        file.seek(70_000)
        file.write(hidden)
        file.seek(LARGE - len(end))
        file.write(end)
    return path


def test_files_of_one_size_that_differ_in_a_sample_are_not_read_whole(videos, tmp_path):
    done = submit([str(large_file(tmp_path / f"{n}.mp4", end=b"%d" % n)) for n in range(5)], videos, guard=AddressGuard())
    assert len({item.video.id for item in done}) == 5
    assert [video.source_sha256 for video in videos.load_all()] == [None] * 5


def test_files_whose_samples_agree_are_the_same_only_when_all_their_bytes_are(videos, tmp_path):
    names = {"one": b"1", "two": b"2", "one again": b"1", "three": b"3", "two again": b"2"}
    done = submit(
        [str(large_file(tmp_path / f"{name}.mp4", hidden=hidden)) for name, hidden in names.items()], videos, guard=AddressGuard()
    )
    one, two, one_again, three, two_again = (item.video.id for item in done)
    assert (one_again, two_again) == (one, two)
    assert len({one, two, three}) == 3
    kept = {Path(video.source).stem: video.source_sha256 for video in videos.load_all()}
    assert kept == {name: hashlib.sha256((tmp_path / f"{name}.mp4").read_bytes()).hexdigest() for name in ("one", "two", "three")}


def test_files_are_the_same_across_all_that_are_looked_up_together(videos, tmp_path, monkeypatch):
    """Two at a time: each file meets its like among those before it, those beside it, and those that had a row already."""
    monkeypatch.setattr("resources.sources.submission._AT_ONCE", 2)
    (known,) = submit([str(large_file(tmp_path / "0 known.mp4", hidden=b"k"))], videos, guard=AddressGuard())
    hidden = {"1 a": b"a", "2 a": b"a", "3 b": b"b", "4 known": b"k", "5 a": b"a", "6 b": b"b", "7 c": b"c"}
    for name, written in hidden.items():
        large_file(tmp_path / f"{name}.mp4", hidden=written)
    done = submit([str(tmp_path)], videos, guard=AddressGuard())
    assert [Path(one.source).stem for one in done] == ["0 known", *hidden]
    ids = {Path(one.source).stem: one.video.id for one in done}
    assert ids["4 known"] == ids["0 known"] == known.video.id
    assert ids["2 a"] == ids["5 a"] == ids["1 a"]
    assert ids["6 b"] == ids["3 b"]
    assert [Path(video.source).stem for video in videos.load_all()] == ["0 known", "1 a", "3 b", "7 c"]
    assert done[2].told == (
        f"{tmp_path}/2 a.mp4 is already source video {ids['1 a']} ({tmp_path}/1 a.mp4), waiting to be fetched: nothing to do"
    )
    assert done[1].told == f"Submitted as source video {ids['1 a']}: 1 a"


def test_files_that_cannot_be_read_and_addresses_keep_their_places_among_the_others(videos, tmp_path, monkeypatch):
    def read_whole(path: Path, *, confined_to: str | None = None) -> str:
        if path.name == "broken.mp4":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return local_sha256(path, confined_to=confined_to)

    monkeypatch.setattr("resources.sources.file_identity.local_sha256", read_whole)
    names = [str(large_file(tmp_path / f"{name}.mp4")) for name in ("one", "broken", "two")]
    asked = ["https://example.org/talk", names[0], "gopher://example.org/x", names[1], names[2], "s3://bucket/film.mp4", "/not/there.mp4"]
    done = submit(asked, videos, guard=AddressGuard(allow_private=True))
    assert [one.source for one in done] == asked
    assert [place for place, one in enumerate(done) if one.refused] == [2, 6]
    assert done[4].video.id == done[1].video.id
    assert sources(videos) == ["https://example.org/talk", names[0], names[1], "s3://bucket/film.mp4"]
    again = submit(asked, videos, guard=AddressGuard(allow_private=True))
    assert [one.video and one.video.id for one in again] == [one.video and one.video.id for one in done]
    assert [one.told for one in again if one.refused] == [one.told for one in done if one.refused]


def test_what_failed_before_is_tried_again_once_however_often_it_is_submitted(videos, tmp_path):
    paths = [str(large_file(tmp_path / f"{name}.mp4", hidden=b"1")) for name in ("one", "two", "three")]
    (first,) = submit(paths[:1], videos, guard=AddressGuard())
    videos.record_failure(first.video.id, SourceVideoState.DOWNLOAD_FAILED, "the disk was full", transient=False)
    again, same = submit(paths[1:], videos, guard=AddressGuard())
    assert again.told == f"{paths[1]} is already source video {first.video.id} ({paths[0]}), which has failed; it is tried again"
    assert same.told == f"{paths[2]} is already source video {first.video.id} ({paths[0]}), waiting to be fetched: nothing to do"


def test_what_somebody_else_adds_meanwhile_is_found(videos, footage):
    asked, done = ["https://93.184.216.34/a.mp4", str(footage / "b.mp4"), str(footage / "a_1.MOV")], []
    waiting = threading.Thread(target=lambda: done.extend(submit(asked, videos, guard=AddressGuard())))
    copy = Path(shutil.copy(footage / "b.mp4", footage.parent))
    with videos.database.turn(submission._ADDING):
        waiting.start()
        while not somebody_waits(videos.database):
            assert waiting.is_alive()
        theirs = [videos.add(asked[0], "a"), videos.add(str(copy), "b", **file_identity(copy).columns())]
    waiting.join()
    assert [one.video.id for one in done[:2]] == [one.id for one in theirs]
    assert sources(videos) == [asked[0], str(copy), asked[2]]


def test_a_process_that_stands_still_while_it_adds_rows_does_not_hold_up_others_for_long(videos, monkeypatch):
    monkeypatch.setattr(submission, "_PATIENCE_SECONDS", 0.05)
    with videos.database.turn(submission._ADDING):
        (done,) = submit(["https://93.184.216.34/a.mp4"], videos, guard=AddressGuard())
    assert not done.refused


def test_a_file_that_is_fetched_by_now_is_found_by_its_bytes_and_one_like_it_is_not(videos, tmp_path):
    path = large_file(tmp_path / "a.mp4", hidden=b"1")
    (first,) = submit([str(path)], videos, guard=AddressGuard())
    lead_to_downloaded(videos, first.video.id, path)
    path.unlink()
    same, other = submit(
        [str(large_file(tmp_path / "b.mp4", hidden=b"1")), str(large_file(tmp_path / "c.mp4", hidden=b"2"))], videos, guard=AddressGuard()
    )
    assert same.video.id == first.video.id
    assert other.video.id != first.video.id


def test_a_file_that_changed_since_it_was_submitted_is_compared_as_it_is_now(videos, tmp_path):
    changed = large_file(tmp_path / "a.mp4", hidden=b"1")
    (first,) = submit([str(changed)], videos, guard=AddressGuard())
    large_file(changed, hidden=b"2")
    old, now = submit(
        [str(large_file(tmp_path / "b.mp4", hidden=b"1")), str(large_file(tmp_path / "c.mp4", hidden=b"2"))], videos, guard=AddressGuard()
    )
    assert old.video.id != first.video.id
    assert now.video.id == first.video.id


def test_rows_of_an_older_heaters_have_no_fingerprint_and_are_compared_all_the_same(videos, tmp_path):
    waiting, fetched = (videos.add(str(large_file(tmp_path / f"{name}.mp4", end=name.encode())), name) for name in ("waiting", "fetched"))
    lead_to_downloaded(videos, fetched.id, tmp_path / "fetched.mp4")
    copies = [str(large_file(tmp_path / f"{name} copy.mp4", end=name.encode())) for name in ("waiting", "fetched")]
    assert [item.video.id for item in submit(copies, videos, guard=AddressGuard())] == [waiting.id, fetched.id]


# Parts of folders and of buckets


def test_patterns_choose_what_of_a_folder_is_submitted(videos, footage):
    def taken(**choice) -> list[str]:
        done = submit([str(footage)], videos, guard=AddressGuard(), choice=FolderChoice(**choice))
        return [item.source.removeprefix(f"{footage}/") for item in done if not item.refused]

    assert taken(recursive=False) == ["a_1.MOV", "b.mp4"]
    assert taken(include=("*.mkv", "*.MOV")) == ["a_1.MOV", "day 2/c.mkv"]
    assert taken(exclude=("deeper", "b.*")) == ["a_1.MOV", "day 2/c.mkv"]
    (refused,) = submit([str(footage)], videos, guard=AddressGuard(), choice=FolderChoice(include=("*.avi",)))
    assert "has no video files of those that are wanted" in refused.told


def test_a_title_and_an_own_id_belong_to_one_video_and_not_to_each_of_a_folder(videos, footage):
    facts = SourceFacts(external_id="17", licence="CC0", tags=("sea",))
    *taken, told = submit([Wanted(str(footage), "Harbour", facts)], videos, guard=AddressGuard())
    assert [item.video.title for item in taken] == ["a 1", "b", "c", "d"]
    kept = FactsStore(videos.database)
    assert [kept.load(item.video.id) for item in taken] == [SourceFacts(licence="CC0", tags=("sea",))] * 4
    assert told.told.startswith(f"{footage} has 4 videos, so the title and own id were left out: they belong to one video.")
    assert told.refused
    (footage / "one").mkdir()
    (footage / "one" / "x.mp4").write_bytes(b"x")
    (alone,) = submit([Wanted(str(footage / "one"), "Harbour", facts)], videos, guard=AddressGuard())
    assert (alone.video.title, kept.load(alone.video.id)) == ("Harbour", facts)


def test_what_heaters_keeps_below_a_folder_is_left_out(videos, footage):
    own = own_folders(Settings(home=footage / "day 2"))
    for name in ("objects/review_proxies/video_1_proxy.mp4", "uploads/x.mp4", "review_cache/y.mp4"):
        (footage / "day 2" / name).parent.mkdir(parents=True, exist_ok=True)
        (footage / "day 2" / name).write_bytes(name.encode())
    (footage.parent / "linked").symlink_to(footage)
    for folder in (footage, footage.parent / "linked" / "day 2"):
        submit([str(folder)], videos, guard=AddressGuard(), own_folders=own)
    assert sources(videos) == [str(footage / name) for name in ("a_1.MOV", "b.mp4", "day 2/c.mkv", "day 2/deeper/d.webm")]
    (refused,) = submit([str(footage / "day 2" / "objects")], videos, guard=AddressGuard(), own_folders=own)
    assert "Heaters keeps its own files in" in refused.told
    for places in (None, SubmitPlaces((footage,), ())):
        (refused,) = submit([str(footage / "day 2" / "uploads" / "x.mp4")], videos, guard=AddressGuard(), own_folders=own, places=places)
        assert "is a file that Heaters itself keeps; a copy of it in another folder can be submitted" in refused.told
    named = ["s3://ours/originals/video_1.mp4", "s3://ours/incoming/a.mp4", "s3://theirs/originals/video_1.mp4"]
    own_key, beside, elsewhere = submit(named, videos, guard=AddressGuard(), own_bucket="ours")
    assert "is an object that Heaters itself keeps" in own_key.told
    assert [beside.refused, elsewhere.refused] == [False, False]


def test_a_prefix_and_a_pattern_of_a_bucket_stand_for_its_videos(videos, buckets):
    bucket = buckets.new_bucket()
    for key in ("day 1/a.mp4", "day 1/notes.txt", "day 1/deeper/b.MOV", "day 2/c.mkv", "day 1/.hidden.mp4"):
        buckets.client.put_object(Bucket=bucket, Key=key, Body=b"x")

    def keys(*named: str, **options) -> list[str]:
        listing = listing_of(Settings(s3_endpoint_url=buckets.url))
        done = submit([f"s3://{bucket}{one}" for one in named], videos, guard=AddressGuard(), list_objects=listing, **options)
        return [item.source.removeprefix(f"s3://{bucket}/") if not item.refused else item.told for item in done]

    assert keys("/day 1/") == ["day 1/a.mp4", "day 1/deeper/b.MOV"]
    assert keys("/day 1/", choice=FolderChoice(recursive=False)) == ["day 1/a.mp4"]
    assert keys("/day*.m*") == ["day 1/a.mp4", "day 2/c.mkv"]
    assert keys("/*", choice=FolderChoice(exclude=("deeper",))) == ["day 1/a.mp4", "day 2/c.mkv"]
    assert "has no videos (.mp4" in keys("/day 3/")[0]
    for key in ("day 4/a\tb.mp4", "day 4/a\u202eb.mp4", "day 4/c.mp4"):
        buckets.client.put_object(Bucket=bucket, Key=key, Body=b"x")
    taken, told = keys("/day 4/")
    assert taken == "day 4/c.mp4"
    assert "2 videos were left out" in told
    assert r"'day 4/a\tb.mp4', 'day 4/a\u202eb.mp4'; give the object another key" in told
    buckets.client.delete_object(Bucket=bucket, Key="day 4/c.mp4")
    (told,) = keys("/day 4/")
    assert "2 videos were left out" in told
    assert "cannot have a *" in keys("*")[0]
    places = SubmitPlaces((), (f"s3://{bucket}/day 1/",))
    assert keys("/day 1/*", places=places) == ["day 1/a.mp4", "day 1/deeper/b.MOV"]
    for outside in ("/", "/day*", "/day 2/", "/day 1/../day 2/"):
        (told,) = keys(outside, places=places)
        assert "cannot be submitted from the browser" in told
    (missing,) = submit(
        ["s3://no-such-bucket-here/x/"], videos, guard=AddressGuard(), list_objects=listing_of(Settings(s3_endpoint_url=buckets.url))
    )
    assert missing.told == "s3://no-such-bucket-here/x/ cannot be listed: there is no bucket no-such-bucket-here"


def test_an_object_that_was_replaced_is_a_new_source_video_once(videos, buckets):
    bucket = buckets.new_bucket()
    address = f"s3://{bucket}/film.mp4"

    def put(content: bytes) -> None:
        buckets.client.put_object(Bucket=bucket, Key="film.mp4", Body=content)

    def submitted(named: str) -> tuple[int, str]:
        listing = listing_of(Settings(s3_endpoint_url=buckets.url))
        (done,) = submit([named], videos, guard=AddressGuard(), list_objects=listing)
        return done.video.id, done.told

    def fetched(video_id: int, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        for state in (SourceVideoState.DOWNLOADING, SourceVideoState.DOWNLOADED):
            videos.set_state(video_id, state)
        videos.update(video_id, original_filepath=f"originals/video_{video_id}.mp4", original_bytes=len(content), content_sha256=sha256)

    put(b"first")
    first, _ = submitted(address)
    put(b"first, longer before it was fetched")
    assert submitted(address)[0] == first
    fetched(first, b"first, longer before it was fetched")
    put(b"another film")
    second, told = submitted(address)
    assert second != first
    assert "The object was replaced since it was last submitted" in told
    assert submitted(f"s3://{bucket}/")[0] == second, "it still waits"
    fetched(second, b"another film")
    assert [submitted(named)[0] for named in (address, f"s3://{bucket}/")] == [second, second]

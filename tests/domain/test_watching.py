"""When a file of a watched place is taken."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.watching import FileState, KnownFile, SeenFile, Step, is_passed_over, is_temporary, step, with_number

A, T, TAKEN, REFUSED = FileState.ARRIVING, FileState.TEMPORARY, FileState.TAKEN, FileState.REFUSED


def known(state: FileState, *, size: int = 5, version: str = "1", seconds: float = 30.0) -> KnownFile:
    return KnownFile(state=state, byte_size=size, version=version, inode=7, seconds=seconds)


@pytest.mark.parametrize(
    ("before", "size", "is_object", "was_renamed", "then"),
    [
        (None, 5, False, False, Step.NOTE),
        (known(A), 5, False, False, Step.TAKE),
        (known(A, seconds=3), 5, False, False, Step.NOTHING),  # a look asked for by hand comes too soon
        (known(A, size=4), 5, False, False, Step.NOTE),
        (known(A, version="0"), 5, False, False, Step.NOTE),
        (None, 0, False, False, Step.NOTE),
        (known(A, size=0), 0, False, False, Step.NOTHING),
        (None, 5, True, False, Step.TAKE),
        (None, 5, False, True, Step.TAKE),
        (known(TAKEN), 5, False, True, Step.NOTHING),
        (known(REFUSED), 5, True, False, Step.NOTHING),
        (known(TAKEN, version="0"), 5, False, False, Step.NOTE),
        (known(TAKEN, version="0"), 5, True, False, Step.TAKE),
    ],
)
def test_a_file_is_taken_when_it_has_stopped_growing_and_once(
    before: KnownFile | None, size: int, is_object: bool, was_renamed: bool, then: Step
) -> None:
    seen = SeenFile(path="/in/a.mp4", byte_size=size, version="1", inode=7)
    assert step(seen, before, interval_seconds=30, is_object=is_object, was_renamed=was_renamed) is then


@pytest.mark.parametrize("name", ["a.mp4.part", "a.mp4.crdownload", "a.tmp", ".a.mp4", "~a.mp4", "A.MP4.PART", "notes.txt"])
def test_hidden_and_temporary_names_and_other_files_are_passed_over(name: str) -> None:
    assert is_passed_over(name)
    assert is_temporary(name) == (name != "notes.txt")
    assert not is_passed_over("a.part.mp4")


@pytest.mark.parametrize(("path", "other"), [("/a/b.mp4", "/a/b (2).mp4"), ("/a.d/b", "/a.d/b (2)"), ("b.c.mkv", "b.c (2).mkv")])
def test_a_taken_name_gets_a_number(path: str, other: str) -> None:
    assert with_number(path, 2) == other

"""Pictures that are shown several times in an even beat are known as repeats, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.repeats import Repeats
from resources.models.scores.learned import PictureFeatures

Frames = NDArray[np.uint8]
Flags = NDArray[np.bool_]
#: The pictures nearest to the ends of a beat, and to a cut that does not keep it, may be taken for new ones.
EDGE = 14


def moving(seed: int, pictures: int) -> Frames:
    """A picture of large parts that moves sideways by a pixel each time."""
    parts = np.random.default_rng(seed).integers(20, 220, (9, 60, 3))
    wide = np.repeat(np.repeat(parts, 3, axis=0), 3, axis=1).astype(np.uint8)
    return np.stack([wide[:, number : number + 48] for number in range(pictures)])


def shown(frames: Frames, times: tuple[int, ...]) -> tuple[Frames, Flags]:
    """Each picture so many times, in turn, and which of these frames are repeats."""
    which = np.repeat(np.arange(len(frames)), np.resize(times, len(frames)))
    return frames[which], np.diff(which, prepend=-1) == 0


def encoded(frames: Frames) -> Frames:
    """As after an encoder: no two frames are the same to the last bit."""
    noise = np.random.default_rng(3).integers(0, 2, frames.shape) * (np.random.default_rng(4).random(frames.shape) < 0.3)
    return np.asarray(np.clip(frames + noise, 0, 255), np.uint8)


def told(frames: Frames, *, at_once: int = 1000) -> tuple[Frames, Flags]:
    stream = Repeats()
    parts = [stream.feed(frames[at : at + at_once]) for at in range(0, len(frames), at_once)] + [stream.finish()]
    return np.concatenate([given for given, _ in parts]), np.concatenate([repeats for _, repeats in parts])


@pytest.mark.parametrize("times", [(2,), (3,), (2, 3)], ids=["25 as 50", "20 as 60", "24 as 60"])
def test_a_beat_of_repeats_is_felt_also_over_a_cut_and_after_an_encoder(times: tuple[int, ...]) -> None:
    frames, repeats = shown(np.concatenate([moving(1, 40), moving(2, 40)]), times)
    given, found = told(encoded(frames))
    assert np.array_equal(given, encoded(frames))
    assert np.array_equal(found[EDGE:-EDGE], repeats[EDGE:-EDGE])
    assert not found[~repeats].any()


@pytest.mark.parametrize("steps", [1, 7, 48])
def test_what_is_told_does_not_depend_on_how_the_frames_come(steps: int) -> None:
    frames, _ = shown(moving(1, 60), (2, 3))
    for one, other in zip(told(frames), told(frames, at_once=steps), strict=True):
        assert np.array_equal(one, other)


def test_pages_that_stand_stills_and_films_without_a_beat_have_no_repeats() -> None:
    random = np.random.default_rng(5)
    pages = np.repeat(random.integers(0, 255, (40, 27, 48, 3)).astype(np.uint8), random.integers(1, 5, 40), axis=0)
    for frames in (pages, np.repeat(moving(1, 1), 90, axis=0), moving(1, 90), shown(moving(1, 60), (1, 1, 1, 2))[0]):
        assert not told(frames)[1].any()
    assert [len(part) for part in (*Repeats().finish(), *Repeats().feed(frames[:0]))] == [0, 0, 0, 0]


def test_a_film_in_which_each_picture_is_shown_twice_looks_as_the_film_does() -> None:
    film = np.concatenate([moving(1, 60), moving(2, 60)])
    twice, repeats = shown(film, (2,))
    tables = []
    for frames in (film, twice):
        stream = PictureFeatures()
        stream.feed(frames)
        tables.append(stream.finish()[:2])
    (names, once), (_, again) = tables
    # In the first and the last pictures the beat is not felt yet, and 32 of them count for a feature.
    inner = slice(32 + EDGE, len(film) - 32 - EDGE)
    np.testing.assert_array_equal(again[~repeats][inner], once[inner])
    news = names.index("jump")
    assert not again[repeats][inner, news].any()
    assert int(again[:, news].argmax()) == 2 * int(once[:, news].argmax()) == 120

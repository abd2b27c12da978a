"""Examples to learn from: the places of a film that look like a cut, each with the label that the generator knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Features, Places, hard_places, stretches
from training.cut_fusion.films import Labels

IGNORED = -1
_STILL_DISTURBED = 90


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """rows: (k, names) float16. labels: (k,) 1 a boundary, 0 none, IGNORED. kinds: (k,) what is there: a transition's or a disturbance's.

    first, last: (k,), in frames from the beginning of the first film; the films stand one after another.
    """

    names: tuple[str, ...]
    rows: NDArray[np.float16]
    labels: NDArray[np.int8]
    kinds: NDArray[np.str_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def hard_examples(film: Labels, features: Features) -> Examples:
    """Right is the exact frame, wrong is two frames beside it. The frame beside it teaches nothing, nor what is in a gradual transition."""
    places = hard_places(features)
    labels = np.zeros(len(places.frames), np.int8)
    for one in film.transitions:
        reach = 1 if one.at_once else 2
        labels[(places.frames >= one.first - reach) & (places.frames <= one.last + reach)] = IGNORED
    for one in film.transitions:
        if one.at_once:
            labels[places.frames == one.frame] = 1
    return _examples(film, places, labels)


def stretch_examples(film: Labels, features: Features) -> Examples:
    """Right is a stretch at which there is any transition, hard ones too."""
    places = stretches(features)
    labels = np.zeros(len(places.frames), np.int8)
    for one in film.transitions:
        labels[(places.last + 2 >= one.first - 1) & (places.first - 1 <= one.last + 1)] = 1
    return _examples(film, places, labels)


def joined(parts: Sequence[Examples], lengths: Sequence[int]) -> Examples:
    """The examples of many films. lengths: of the films, in frames."""
    starts = np.cumsum([0, *lengths[:-1]])
    return Examples(
        parts[0].names,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.kinds for part in parts]),
        np.concatenate([part.first + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.last + start for part, start in zip(parts, starts, strict=True)]),
    )


def _examples(film: Labels, places: Places, labels: NDArray[np.int8]) -> Examples:
    for first, last in film.neutral:
        labels[(places.last >= first) & (places.first <= last)] = IGNORED
    kinds = [_kind(film, int(first), int(last), int(label)) for first, last, label in zip(places.first, places.last, labels, strict=True)]
    return Examples(places.names, places.rows.astype(np.float16), labels, np.array(kinds, dtype="<U16"), places.first, places.last)


def _kind(film: Labels, first: int, last: int, label: int) -> str:
    if label:
        return min(film.transitions, key=lambda one: max(one.first - last, first - one.last, 0)).kind if film.transitions else ""
    since = [(first - at, kind) for kind, at in film.disturbances if -3 <= first - at <= _STILL_DISTURBED or first <= at <= last]
    return min(since)[1] if since else film.style

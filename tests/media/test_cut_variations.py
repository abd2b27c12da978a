"""Labelled footage that is changed keeps its truth, and the detector finds the cuts of real films in it whatever was changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from heaters_dagster.domain.cut_kinds import SUDDEN_KINDS
from heaters_dagster.domain.cut_transitions import transitions_at
from resources.models.detectors.learned import DETECTOR
from resources.models.scores.learned import load_models
from training.cut_fusion.films import Labels, Transition
from training.cut_fusion.gathered import Gathered, gathered_from
from training.cut_fusion.robustness import by_learned
from training.cut_fusion.samples import VARIED, kept_scores, sample_takes
from training.cut_fusion.trial import Outcome, matched
from training.cut_fusion.variations import VARIATIONS, Take, as_shown, backwards, shots_of

HARD, DISSOLVE = Transition("hard", 40, 40, 40), Transition("dissolve", 85, 80, 90)


def plain_take(name: str, levels: tuple[int, int, int]) -> Take:
    """Frames 0..39 of one level, 40..79 of another, a dissolve 80..90, and a third level to 130."""
    first, second, third = levels
    shown = np.concatenate([np.full(40, first), np.full(40, second), np.linspace(second, third, 13)[1:-1], np.full(40, third)])
    frames = np.broadcast_to(shown.astype(np.uint8)[:, None, None, None], (131, 54, 96, 3)).copy()
    return Take(Path(name), frames, Labels(name, (HARD, DISSOLVE), neutral=((0, 9),)), 25.0)


def test_labels_follow_the_frames_that_are_left() -> None:
    labels = plain_take("a", (0, 100, 200)).labels
    halved = as_shown(labels, np.arange(0, 131, 2))
    assert halved.transitions == (Transition("hard", 20, 20, 20), Transition("dissolve", 43, 40, 45))
    assert halved.neutral == ((0, 4),)
    doubled = as_shown(labels, np.repeat(np.arange(131), 2))
    assert doubled.transitions == (Transition("hard", 80, 80, 80), Transition("dissolve", 170, 160, 181))
    seconds = as_shown(labels, np.arange(0, 131, 25))
    assert seconds.transitions == (Transition("hard", 2, 2, 2), Transition("hard", 4, 4, 4))


def test_backwards_each_shot_begins_where_it_ended() -> None:
    (turned,) = backwards([plain_take("a", (0, 100, 200))])
    dissolve, hard = turned.labels.transitions
    assert (dissolve.first, dissolve.last) == (40, 50)
    assert turned.frames[hard.frame - 1].mean() == 100
    assert turned.frames[hard.frame].mean() == 0
    assert turned.labels.neutral == ((121, 130),)


def test_shots_are_the_parts_without_transitions() -> None:
    shots = shots_of([plain_take("a", (20, 100, 200))])
    assert [(shot.frames.min(), shot.frames.max(), len(shot.frames)) for shot in shots] == [(100, 100, 40), (200, 200, 40)]


@pytest.mark.parametrize("name", [name for name in VARIATIONS if name.startswith("joined")])
def test_shots_that_are_joined_anew_change_at_their_labels_alone(name: str) -> None:
    takes = [plain_take("a", (10, 100, 220)), plain_take("b", (60, 160, 30))]
    (made,) = VARIATIONS[name](takes)
    levels = made.frames.mean((1, 2, 3))
    changes = np.flatnonzero(np.abs(np.diff(levels)) > 0.5) + 1
    allowed = np.zeros(len(levels) + 1, bool)
    for one in made.labels.transitions:
        allowed[one.first : one.last + 2] = True
        if one.kind == "hard":
            assert one.frame in changes
    assert len(made.labels.transitions) > 10
    assert allowed[changes].all()


@cache
def films() -> dict[str, list[Gathered]]:
    takes, scores = sample_takes(), kept_scores()
    return {name: list(_films(name, takes, scores[name])) for name in VARIED}


def _films(name: str, takes: list[Take], scores: np.ndarray) -> Iterator[Gathered]:
    at = 0
    for take in VARIATIONS[name](takes):
        film = take.film
        yield gathered_from(film.labels, film.frames, scores[at : at + len(film.frames)])
        at += len(film.frames)
    assert at == len(scores)


def test_the_cuts_of_the_sample_films_are_found_at_their_frames_and_are_hard() -> None:
    for film, expected in zip(films()["as it is"], ([52, 122, 158, 221, 309, 715, 788], [44, 137]), strict=True):
        sure = [one for one in by_learned(film, load_models()) if one.confidence >= DETECTOR.default_threshold]
        assert [one.frame for one in sure] == expected
        frames, confidences = (np.array(column) for column in zip(*((one.frame, one.confidence) for one in sure), strict=True))
        assert {one.kind for one in transitions_at(film.features, frames, confidences, load_models().transitions)} <= set(SUDDEN_KINDS)


#: Hard cuts that it does not see, of the nine: known weaknesses.
MISSED = {"dark": {"hard": 1}, "half the rate": {"hard": 1}}


@pytest.mark.parametrize("name", VARIED)
def test_what_is_found_does_not_depend_on_light_rate_or_direction(name: str) -> None:
    outcome = Outcome()
    for film in films()[name]:
        outcome.add(matched(film.labels, by_learned(film, load_models()), DETECTOR.default_threshold))
    assert (dict(outcome.missed), dict(outcome.false)) == (MISSED.get(name, {}), {})

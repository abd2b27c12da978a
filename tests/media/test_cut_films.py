"""The generator of labelled films, and the stream of features: what is learned must be right, and the same as what is computed later."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from heaters_dagster.domain.cut_features import REACH, picture_features
from heaters_dagster.domain.cut_fusion import FLASH, PAGE, WIPE
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.flashes import Calmed
from heaters_dagster.domain.going_on import SPACING, looks_of
from heaters_dagster.domain.repeats import Repeats
from resources.models.scores.learned import PictureFeatures
from training.cut_fusion.disturbances import DISTURBANCES
from training.cut_fusion.examples import IGNORED, hard_examples, stretch_examples
from training.cut_fusion.films import AT_ONCE, STYLES, Film, Labels, Transition, film
from training.cut_fusion.gathered import gathered_from, load_folds, save_fold
from training.cut_fusion.shots import Frames, Sources, fold_of, invented_sources, photo_shot
from training.cut_fusion.transitions import GRADUAL
from training.cut_fusion.trial import matched

SOURCES = invented_sources(1)


def made(number: int, style: str, sources: Sources = SOURCES) -> Film:
    return film(7, number, sources, about_frames=160, style=style)


@pytest.mark.parametrize("style", STYLES)
def test_the_same_seed_makes_the_same_film_and_every_label_lies_in_it(style: str) -> None:
    one, again, other = made(1, style), made(1, style, invented_sources(1)), made(2, style)
    np.testing.assert_array_equal(one.frames, again.frames)
    assert one.labels == again.labels == Labels.from_json(one.labels.to_json())
    assert one.frames.shape != other.frames.shape or (one.frames != other.frames).any()
    assert one.frames.dtype == np.uint8
    assert one.frames.shape[1:] == (27, 48, 3)
    for each in (one, other):
        assert (style == "one shot") == (not each.labels.transitions)
        for transition in each.labels.transitions:
            assert 0 < transition.first <= transition.frame <= transition.last + 1 <= len(each.frames)
            assert transition.kind not in AT_ONCE or transition.first == transition.frame == transition.last


def test_a_jump_cut_goes_on_with_the_same_scene() -> None:
    films = [film(7, number, SOURCES, about_frames=160, style="alike") for number in range(12)]
    jumps = [(each.frames, one.frame) for each in films for one in each.labels.transitions if one.kind == "jump"]
    assert len(jumps) > 5
    means = [frames.astype(int).mean((1, 2)) for frames, _ in jumps]
    colours = [np.abs(mean[frame] - mean[frame - 1]).max() for mean, (_, frame) in zip(means, jumps, strict=True)]
    assert np.median(colours) < 25


def test_the_range_of_a_gradual_transition_is_what_can_be_seen_of_it() -> None:
    """Before and after it the film shows one shot alone, which changes less from frame to frame than a shot into another."""
    for number in range(30):
        one = film(7, number, SOURCES, about_frames=160, style="feature")
        for transition in one.labels.transitions:
            if transition.kind in ("dissolve", "wipe", "push") and transition.last - transition.first > 3:
                before, after = (
                    one.frames[place].astype(int) for place in (transition.first - 1, min(transition.last + 1, len(one.frames) - 1))
                )
                inside = one.frames[transition.frame].astype(int)
                assert min(np.abs(inside - before).mean(), np.abs(inside - after).mean()) > 0.5


def plain(level: int, frames: int = 24) -> Frames:
    return np.full((frames, 54, 96, 3), level, np.uint8)


@pytest.mark.parametrize("kind", GRADUAL)
def test_a_gradual_transition_begins_with_the_old_shot_and_ends_with_the_new_one(kind: str) -> None:
    for seed in range(12):
        mixed = GRADUAL[kind][0](np.random.default_rng(seed), plain(60), plain(180))
        assert mixed.shape == (24, 54, 96, 3)
        assert abs(float(mixed[0].mean()) - 60) < abs(float(mixed[0].mean()) - 180)
        assert abs(float(mixed[-1].mean()) - 180) < abs(float(mixed[-1].mean()) - 60)


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_disturbance_changes_the_shot_from_its_frame_on_and_no_earlier(kind: str) -> None:
    changed = False
    for seed in range(6):
        rng = np.random.default_rng(seed)
        before = photo_shot(rng, SOURCES.photos["photo 1"], 60, pace=1.5)
        frames = before.copy()
        DISTURBANCES[kind][0](rng, frames, 20, SOURCES)
        if kind != "letterbox":  # whose bars may have been there until then
            np.testing.assert_array_equal(frames[:20], before[:20])
        changed |= bool((frames != before).any())
    assert changed


def test_examples_are_right_at_the_frame_of_a_cut_alone(tmp_path: Path) -> None:
    one = made(3, "feature")
    scores = np.zeros((len(one.frames), 2), np.float32)
    for transition in one.labels.transitions:
        scores[transition.first - 1 : transition.last + 1] = 0.9
    kept = gathered_from(one.labels, one.frames, scores)
    for fold in range(5):
        save_fold(tmp_path / f"fold{fold}_00000.npz", [kept, kept])
    again = load_folds(tmp_path)[3][1]
    assert again.labels == one.labels
    np.testing.assert_array_equal(again.pictures, kept.pictures)
    np.testing.assert_array_equal(again.scores, kept.scores)
    hard, runs = hard_examples(again.labels, again.features), stretch_examples(again.labels, again.features)
    cuts = {each.frame for each in one.labels.transitions if each.at_once}
    assert cuts
    assert set(hard.first[hard.labels == 1]) <= cuts
    assert not cuts & set(hard.first[hard.labels == 0])
    assert set(hard.labels) <= {0, 1, IGNORED}
    assert (runs.labels == 1).all()
    assert set(hard.kinds[hard.labels == 1]) <= set(AT_ONCE)


def test_one_boundary_counts_for_one_transition() -> None:
    one = Labels("feature", (Transition("hard", 50, 50, 50), Transition("dissolve", 105, 100, 110)))
    outcome = matched(one, [Boundary(51, 0.9), Boundary(52, 0.8), Boundary(104, 0.7), Boundary(109, 0.6), Boundary(150, 0.3)], 0.5)
    assert (dict(outcome.found), dict(outcome.missed), dict(outcome.false)) == ({"hard": 1, "dissolve": 1}, {}, {"nothing (feature)": 1})
    assert matched(one, [], 0.5).missed == {"hard": 1, "dissolve": 1}


def test_a_source_is_in_one_fold_always() -> None:
    assert [fold_of(name) for name in ("vizdoom_map01", "opencv-doc_vtest")] == [fold_of("vizdoom_map01"), fold_of("opencv-doc_vtest")]
    assert {fold_of(f"photo {number}") for number in range(60)} == set(range(5))


@pytest.mark.parametrize("steps", [(1,), (37, 0, 256), (700,)])
def test_features_are_the_same_however_the_frames_come(steps: tuple[int, ...]) -> None:
    frames = np.concatenate([made(number, "feature").frames for number in (1, 2, 3)])
    calmed = Calmed()
    (most, flashes), (rest, _) = calmed.feed(frames), calmed.finish()
    calm = np.concatenate([most, rest])
    beat = Repeats()
    repeats = np.concatenate([beat.feed(calm)[1], beat.finish()[1]])
    new = calm[~repeats]
    names, expected = picture_features(np.concatenate([np.repeat(new[:1], REACH, axis=0), new, np.repeat(new[-1:], REACH, axis=0)]))
    stream, at, turn = PictureFeatures(), 0, 0
    while at < len(frames):
        stream.feed(frames[at : at + steps[turn % len(steps)]])
        at, turn = at + steps[turn % len(steps)], turn + 1
    told, streamed, looks = stream.finish()
    np.testing.assert_array_equal(looks, looks_of(calm[::SPACING]))
    assert told == (*names, FLASH, WIPE, PAGE)
    assert streamed[:, -3].sum() == flashes.sum()
    np.testing.assert_allclose(streamed[~repeats, :-3], expected.astype(np.float16).astype(np.float32), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("noise", "most_bytes"), [(0, 50), (40, 212)])
def test_a_frame_of_a_long_video_takes_few_bytes_and_one_that_stands_still_fewer(noise: int, most_bytes: int) -> None:
    frames = np.random.default_rng(0).integers(100, 101 + noise, (1024, 27, 48, 3)).astype(np.uint8)
    tracemalloc.start()
    try:
        stream = PictureFeatures()
        stream.feed(frames)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(3):
            stream.feed(frames)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / (3 * len(frames)) < most_bytes

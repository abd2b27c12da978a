from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.detector import CHAPTER, Boundary
from heaters_dagster.domain.errors import InvalidMediaError, SettingsError
from heaters_dagster.domain.scenes import CutClip, CutSettings, boundaries, cut_list, cut_settings
from heaters_dagster.registries import DETECTORS

BY_HAND = Transition(CutKind.HAND)


def column(length: int, peaks: Mapping[int, float] | None = None, rest: float = 0.0) -> NDArray[np.float32]:
    scores = np.full(length, rest, np.float32)
    for frame, score in (peaks or {}).items():
        scores[frame] = score
    return scores


def frames(found: tuple[Boundary, ...]) -> list[int]:
    return [one.frame for one in found]


DETECTOR = {name: DETECTORS.load(name) for name in DETECTORS.built_in}


@pytest.mark.parametrize(("last_of_old_shot", "run"), [(30, 1), (30, 2), (30, 3)])
def test_a_short_transition_of_the_network_ends_with_the_old_shot(last_of_old_shot: int, run: int) -> None:
    scores = column(60, dict.fromkeys(range(last_of_old_shot - run + 1, last_of_old_shot + 1), 0.9))
    (found,) = boundaries({"transnetv2": scores}, DETECTOR["transnetv2"], 0.35)
    assert found.frame == 31
    assert found.confidence == pytest.approx(0.9)


def test_a_dissolve_is_one_boundary_in_its_middle_as_sure_as_its_highest_score() -> None:
    scores = column(60, dict.fromkeys(range(20, 30), 0.4) | {26: 0.8})
    (found,) = boundaries({"transnetv2": scores}, DETECTOR["transnetv2"], 0.35)
    assert found.frame == 25
    assert found.confidence == pytest.approx(0.8)


def test_a_transition_at_the_last_frame_is_no_boundary() -> None:
    assert boundaries({"transnetv2": column(60, {59: 0.9})}, DETECTOR["transnetv2"], 0.35) == ()


def test_a_higher_threshold_never_finds_what_a_lower_one_does_not_suspect() -> None:
    rng = np.random.default_rng(7)
    scores = {"transnetv2": rng.random(500, np.float32) ** 6}
    found = [len(boundaries(scores, DETECTOR["transnetv2"], threshold)) for threshold in (0.5, 0.7, 0.9, 0.999)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_a_jump_in_content_begins_a_shot_at_its_highest_frame() -> None:
    found = boundaries({"content": column(60, {20: 28.0, 21: 40.0, 40: 27.0})}, DETECTOR["content"], 27.0)
    assert frames(found) == [21, 40]
    assert found[1].confidence == pytest.approx(0.5)
    assert 0.5 < found[0].confidence < 1.0


def test_the_first_frame_begins_no_shot() -> None:
    assert boundaries({"content": column(60, {0: 200.0})}, DETECTOR["content"], 27.0) == ()


def test_the_adaptive_detector_finds_a_cut_in_calm_and_none_in_constant_motion() -> None:
    assert frames(boundaries({"content": column(60, {30: 40.0}, rest=2.0)}, DETECTOR["adaptive"], 3.0)) == [30]
    assert boundaries({"content": column(60, {30: 40.0}, rest=30.0)}, DETECTOR["adaptive"], 3.0) == ()


def test_the_adaptive_detector_wants_some_change_even_where_nothing_moves() -> None:
    assert frames(boundaries({"content": column(60, {20: 14.9, 40: 15.0})}, DETECTOR["adaptive"], 3.0)) == [40]


def test_the_adaptive_ratio_is_that_of_pyscenedetect() -> None:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    rng = np.random.default_rng(3)
    content = (rng.random(80) ** 4 * 120).astype(np.float32)
    content[40:50] = 0
    content[45] = 60

    class Recorded(AdaptiveDetector):  # type: ignore[misc]
        def _calculate_frame_score(self, timecode: FrameTimecode, frame: NDArray[np.uint8]) -> float:
            return float(content[timecode.frame_num])

    detector = Recorded(min_scene_len=0)
    picture = np.zeros((2, 2, 3), np.uint8)
    theirs = [cut.frame_num for n in range(80) for cut in detector.process_frame(FrameTimecode(n, 25.0), picture)]
    ratio = scenes.adaptive_ratio(content)
    assert theirs == np.flatnonzero(ratio >= 3.0).tolist()
    assert len(theirs) > 3


def test_a_dark_stretch_between_pictures_is_a_boundary_and_dark_ends_are_none() -> None:
    brightness = column(100, rest=90.0)
    brightness[:10] = brightness[95:] = 1.0
    brightness[40:50] = 3.0
    brightness[70:72] = 11.0
    found = boundaries({"brightness": brightness}, DETECTOR["threshold"], 12.0)
    assert frames(found) == [45, 71]
    assert found[0].confidence > found[1].confidence


def test_fused_cuts_where_the_network_only_suspects_but_the_picture_jumps() -> None:
    suspicion = column(100, {30: 0.25, 60: 0.25, 80: 0.1})
    jumps = column(100, {31: 60.0, 81: 60.0}, rest=1.0)
    assert frames(boundaries({"transnetv2": suspicion, "content": jumps}, DETECTOR["fused"], 0.35)) == [31]
    assert boundaries({"transnetv2": suspicion}, DETECTOR["transnetv2"], 0.35) == ()


def test_fused_takes_the_exact_frame_from_the_jump_and_is_surer_where_both_agree() -> None:
    network, jumps = column(100, {30: 0.6, 70: 0.6}), column(100, {32: 60.0}, rest=1.0)
    found = boundaries({"transnetv2": network, "content": jumps}, DETECTOR["fused"], 0.35)
    assert frames(found) == [32, 71]
    assert found[0].confidence > found[1].confidence == pytest.approx(0.6)


def test_an_unknown_detector_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="'eyes' is not a detector; write one of: adaptive, content"):
        DETECTORS.load("eyes")


@pytest.mark.parametrize(
    ("threshold", "min_clip_frames", "says"), [(0.0, 2, "above 0"), (float("nan"), 2, "above 0"), (0.3, 0, "at least 1 frame")]
)
def test_settings_that_cannot_cut_are_refused(threshold: float, min_clip_frames: int, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        cut_settings(DETECTOR["transnetv2"], threshold=threshold, min_clip_frames=min_clip_frames)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("learned", 1),
        ("transnetv2", 1),
        ("fused", 1),
        ("histogram", 2),
        ("adaptive", 255),
        ("content", 255),
        ("threshold", 255),
    ],
)
def test_a_threshold_above_every_score_of_its_detector_is_refused(name: str, most: float) -> None:
    detector = DETECTORS.load(name)
    assert cut_settings(detector, threshold=most, min_clip_frames=2).threshold == most
    with pytest.raises(
        SettingsError, match=rf"threshold {most + 0.5:g} of {name}: write a number above 0 and at most {most} \(its default"
    ):
        cut_settings(detector, threshold=most + 0.5, min_clip_frames=2)


def test_without_a_threshold_the_detectors_own_is_used() -> None:
    assert cut_settings(DETECTOR["adaptive"], threshold=None, min_clip_frames=2) == CutSettings("adaptive", 3.0, 2)


def test_a_video_without_a_cut_is_one_clip_without_a_confidence() -> None:
    assert cut_list([], 100, 2) == (CutClip(0, 100, None),)


def test_a_clip_is_as_sure_as_the_weaker_of_its_boundaries_and_ends_of_the_video_do_not_count() -> None:
    assert cut_list([Boundary(30, 0.9), Boundary(60, 0.4)], 100, 2) == (CutClip(0, 30, 0.9), CutClip(30, 60, 0.4), CutClip(60, 100, 0.4))


def test_of_boundaries_too_near_each_other_the_surest_stays() -> None:
    close = [Boundary(30, 0.5), Boundary(34, 0.9), Boundary(38, 0.6)]
    assert [clip.start_frame for clip in cut_list(close, 100, 5)] == [0, 34]
    assert [clip.start_frame for clip in cut_list(close, 100, 4)] == [0, 30, 34, 38]


def test_a_video_shorter_than_the_shortest_clip_is_one_clip() -> None:
    assert cut_list([Boundary(3, 1.0)], 6, 10) == (CutClip(0, 6, None),)


@given(
    frame_count=st.integers(1, 400),
    found=st.lists(st.builds(Boundary, st.integers(0, 420), st.floats(0, 1)), max_size=40),
    min_clip_frames=st.integers(1, 60),
)
def test_whatever_was_found_the_clips_cover_every_frame_once_and_none_is_too_short(
    frame_count: int, found: list[Boundary], min_clip_frames: int
) -> None:
    clips = cut_list(found, frame_count, min_clip_frames)
    assert [frame for clip in clips for frame in range(clip.start_frame, clip.end_frame)] == list(range(frame_count))
    assert all(clip.end_frame - clip.start_frame >= min(min_clip_frames, frame_count) for clip in clips)
    known = {one.frame for one in found}
    assert all(clip.start_frame in known for clip in clips[1:])


@given(found=st.lists(st.builds(Boundary, st.integers(1, 99), st.floats(0, 1)), max_size=20, unique_by=lambda one: one.frame))
def test_with_a_shortest_clip_of_one_frame_every_boundary_is_a_cut(found: list[Boundary]) -> None:
    assert [clip.start_frame for clip in cut_list(found, 100, 1)] == [0, *sorted(one.frame for one in found)]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.lists(st.floats(0, 255, width=32), min_size=50, max_size=50))
def test_scores_come_back_from_the_file_to_three_digits(chances: list[float], differences: list[float]) -> None:
    scores = {"transnetv2": np.array(chances, np.float32), "content": np.array(differences[: len(chances)], np.float32)}
    stored = scenes.decoded(scenes.encoded("fused", scores))
    assert (stored.detector, stored.frame_count, stored.settings, stored.boundaries) == ("fused", len(chances), None, ())
    for name, scores_before in scores.items():
        np.testing.assert_allclose(stored.scores[name], scores_before, rtol=1e-3, atol=1e-6)
        assert stored.scores[name].dtype == np.float32


def test_cutting_what_was_stored_gives_the_same_cuts_every_time() -> None:
    """0.35001 becomes 0.35010 or 0.34985 as a float16: deciding before and after storing would differ."""
    scores = {"transnetv2": column(60, {frame: 0.3499 + frame * 1e-5 for frame in range(0, 60, 2)})}
    once = scenes.decoded(scenes.encoded("transnetv2", scores)).scores
    twice = scenes.decoded(scenes.encoded("transnetv2", once)).scores
    assert boundaries(once, DETECTOR["transnetv2"], 0.35) == boundaries(twice, DETECTOR["transnetv2"], 0.35)


def test_the_file_says_what_was_found_and_by_which_settings() -> None:
    settings, found = CutSettings("content", 27.0, 2), (Boundary(12, 0.75), Boundary(40, 0.5))
    data = scenes.encoded("content", {"content": column(60)}, settings=settings, boundaries=found)
    stored = scenes.decoded(data)
    assert (stored.settings, stored.boundaries) == (settings, found)
    assert json.loads(data)["boundaries"] == [[12, 0.75], [40, 0.5]]


def test_the_scores_of_two_hours_fit_in_a_megabyte() -> None:
    assert len(scenes.encoded("transnetv2", {"transnetv2": np.random.default_rng(0).random(216_000, np.float32)})) < 1_000_000


def test_stored_scores_say_for_which_detectors_they_are_enough() -> None:
    stored = scenes.decoded(scenes.encoded("adaptive", {"content": column(10)}))
    assert [name for name in DETECTOR if stored.has_scores_for(DETECTOR[name])] == ["adaptive", "content"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.update(version=99),
        lambda document: document.update(frame_count=61),
        lambda document: document.pop("detector"),
        lambda document: document.update(scores={}),
        lambda document: document["scores"]["content"].update(type="float64"),
        lambda document: document["scores"]["content"].update(base64="not base64!"),
        lambda document: document.update(settings={"detector": "content"}),
        lambda document: document.update(boundaries=[1, 2]),
    ],
)
def test_a_file_that_is_not_whole_is_refused(damage: object) -> None:
    document = json.loads(scenes.encoded("content", {"content": column(60)}))
    damage(document)  # type: ignore[operator]
    with pytest.raises(InvalidMediaError, match="not a scenes file"):
        scenes.decoded(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_scenes_file_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMediaError, match="not a scenes file"):
        scenes.decoded(data)


@pytest.mark.parametrize("scores", [{}, {"content": column(0)}, {"content": column(5), "transnetv2": column(6)}])
def test_columns_that_do_not_belong_together_are_not_stored(scores: dict[str, NDArray[np.float32]]) -> None:
    with pytest.raises(InvalidMediaError, match="columns of"):
        scenes.encoded("fused", scores)


def test_what_a_detector_of_another_package_gives_is_put_in_order() -> None:
    found = (Boundary(40, 3.0), Boundary(0, 0.5), Boundary(12, np.float32(0.25)), Boundary(60, 0.9))
    detector = replace(DETECTOR["content"], boundaries=lambda scores, threshold: found)
    assert boundaries({"content": column(60)}, detector, 1.0) == (Boundary(12, 0.25), Boundary(40, 1.0))


def test_a_detector_whose_streams_do_not_make_its_columns_is_named() -> None:
    with pytest.raises(SettingsError, match="the detector content has no scores content: the streams that it opens must make them"):
        boundaries({"brightness": column(60)}, DETECTOR["content"], 1.0)


def test_chapters_begin_at_the_nearest_frame_by_the_times_of_the_frames() -> None:
    """On variable frame rate; times of chapters are rounded to milliseconds, up or down."""
    times = np.array([0.0, 0.041667, 0.083333, 0.5, 0.516667, 0.65])
    starts = [0.0, 0.042, 0.083, 0.49, 0.52, 0.64, 0.65, 99.0]
    assert scenes.chapter_frames(starts, times) == (1, 2, 3, 4)
    assert scenes.chapter_frames([0.041], times) == (1,)
    assert scenes.chapter_frames([], times) == ()


def test_chapters_are_cuts_before_what_a_detector_finds_beside_them() -> None:
    found = scenes.with_chapters((Boundary(12, 0.9), Boundary(30, 0.6), Boundary(41, 0.8)), [12, 40])
    assert found == (Boundary(12, 1.0, CHAPTER), Boundary(30, 0.6), Boundary(40, 1.0, CHAPTER), Boundary(41, 0.8))
    assert scenes.cut_list(found, 60, 5) == (
        scenes.CutClip(0, 12, None), scenes.CutClip(12, 30, 0.6, BY_HAND),
        scenes.CutClip(30, 40, 0.6), scenes.CutClip(40, 60, None, BY_HAND)
    )  # fmt: skip
    settings = CutSettings("content", 27.0, 5, (12, 40))
    data = scenes.encoded("content", {"content": column(60)}, settings=settings, boundaries=found)
    assert json.loads(data)["boundaries"][0] == [12, 1.0, "chapter"]
    stored = scenes.decoded(data)
    assert (stored.settings, stored.boundaries) == (settings, found)
    known = scenes.told_boundaries(replace(stored, settings=None, boundaries=()), settings.to_json(), lambda name: None)
    assert known == (Boundary(12, 1.0, CHAPTER), Boundary(40, 1.0, CHAPTER)), "known while the file is written, without the detector"


def test_kind_and_range_of_a_boundary_are_kept_in_the_scenes_file() -> None:
    dissolve, fade = Transition(CutKind.DISSOLVE, 8, 15), Transition(CutKind.FADE, 36, 39)
    found = (Boundary(12, 0.75, transition=dissolve), Boundary(20, 0.6), Boundary(40, 0.5, transition=fade))
    data = scenes.encoded("content", {"content": column(60)}, boundaries=scenes.with_chapters(found, [40]))
    assert json.loads(data)["boundaries"] == [[12, 0.75], [20, 0.6], [40, 1.0, "chapter"]], "as older programs read them"
    assert scenes.decoded(data).boundaries == (*found[:2], Boundary(40, 1.0, CHAPTER, fade))


def test_a_range_of_another_packages_detector_ends_with_the_video_and_touches_its_boundary() -> None:
    found = (
        Boundary(3, 0.9, transition=Transition(CutKind.FADE, np.int64(0), np.int64(4))),
        Boundary(20, 0.9, transition=Transition(CutKind.WIPE, 25, 30)),
        Boundary(40, 0.9, transition=Transition(CutKind.HARD, 38, 42)),
        Boundary(50, 0.9, transition=Transition(CutKind.DISSOLVE, 45, 70)),
        Boundary(55, 0.9, transition=Transition(CutKind.END)),
    )
    detector = replace(DETECTOR["content"], boundaries=lambda scores, threshold: found)
    told = [one.transition for one in boundaries({"content": column(60)}, detector, 1.0)]
    dissolve = Transition(CutKind.DISSOLVE, 45, 59)
    assert told == [Transition(CutKind.FADE, 0, 4), Transition(CutKind.WIPE), Transition(CutKind.HARD), dissolve, None]
    json.dumps([one and one.to_json() for one in told])


def test_a_clip_knows_the_cut_at_which_it_begins_with_a_range_that_ends_at_the_next_cut() -> None:
    found = (
        Boundary(20, 0.9, transition=Transition(CutKind.DISSOLVE, 12, 29)),
        Boundary(22, 0.1, transition=Transition(CutKind.HARD)),
        Boundary(40, 0.8, transition=Transition(CutKind.FADE, 15, 47)),
        Boundary(50, 0.7),
    )
    clips = scenes.cut_list(found, 60, 5)
    assert [(clip.start_frame, clip.transition) for clip in clips] == [
        (0, None),
        (20, Transition(CutKind.DISSOLVE, 12, 29)),
        (40, Transition(CutKind.FADE, 20, 47)),
        (50, None),
    ]

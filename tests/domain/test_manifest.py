"""Manifests: what they prove, and that they survive the way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.manifest import ExportManifest, KeyframeManifest

EXPORT = ExportManifest(
    source_video_id=3,
    clip_id=12,
    cut_point_version=2,
    profile="stream_copy",
    key="final_clips/video_3_clip_012.mp4",
    start_frame=100,
    end_frame=148,
    frame_count=48,
    first_frame_hash="aa",
    last_frame_hash="bb",
    proxy_first_frame_hash="aa",
    proxy_last_frame_hash="bb",
    payload_sha256="cc",
    duration_seconds=2.002,
    audio_offset_seconds=-0.0131,
    byte_size=12345,
    file_sha256="dd",
)
STILL = KeyframeManifest(
    source_video_id=3,
    clip_id=12,
    cut_point_version=2,
    key="keyframes/video_3_clip_012_mid.jpg",
    tag="mid",
    frame_number=124,
    frame_hash="ee",
    width=160,
    height=120,
    byte_size=999,
)


def test_a_stream_copy_with_the_frames_of_the_proxy_has_no_problems() -> None:
    assert EXPORT.problems(exact=True) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frame_count": 47}, "the file has 47 frames, the clip 48"),
        ({"first_frame_hash": "xx"}, "the file's first frame is not frame 100 of the proxy"),
        ({"last_frame_hash": "xx"}, "the file's last frame is not frame 147 of the proxy"),
    ],
)
def test_what_differs_from_the_proxy_is_named(change: dict[str, object], problem: str) -> None:
    assert replace(EXPORT, **change).problems(exact=True) == [problem]


def test_a_file_that_was_encoded_again_may_have_other_pictures_but_not_another_number_of_them() -> None:
    encoded = replace(EXPORT, profile="delivery", first_frame_hash="xx", last_frame_hash="yy")
    assert encoded.problems(exact=False) == []
    assert replace(encoded, frame_count=49).problems(exact=False) == ["the file has 49 frames, the clip 48"]


def test_a_manifest_of_before_transitions_were_left_out_can_be_read() -> None:
    added = {"clip_start_frame", "clip_end_frame", "left_out"}
    old = {name: value for name, value in EXPORT.to_json().items() if name not in added}
    assert ExportManifest.from_json(old) == EXPORT
    dissolve = {"first_frame": 40, "last_frame": 45, "kind": "dissolve", "range": [34, 45]}
    trimmed = replace(EXPORT, clip_start_frame=10, clip_end_frame=50, left_out=(dissolve,))
    assert ExportManifest.from_json(json.loads(json.dumps(trimmed.to_json()))) == trimmed


def test_manifests_survive_the_way_through_json() -> None:
    assert ExportManifest.from_json(json.loads(json.dumps(EXPORT.to_json()))) == EXPORT
    assert KeyframeManifest.from_json(json.loads(json.dumps(STILL.to_json()))) == STILL


def test_what_is_no_manifest_is_refused_by_what_it_lacks() -> None:
    with pytest.raises(InvalidMediaError, match="lacks audio_offset_seconds, byte_size, clip_id, "):
        ExportManifest.from_json({"frame_count": 3})
    with pytest.raises(InvalidMediaError, match="KeyframeManifest"):
        KeyframeManifest.from_json({})

"""Object keys: their forms, and that none leaves the store."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain import keys
from heaters_dagster.domain.errors import InvalidKeyError
from heaters_dagster.domain.stages import CLIP_STAGES


def test_the_forms_of_all_keys():
    assert keys.original_key(12, ".MP4") == "originals/video_12.mp4"
    assert keys.gold_master_key(12) == "gold_masters/video_12_master.mkv"
    assert keys.proxy_key(12) == "review_proxies/video_12_proxy.mp4"
    assert keys.final_clip_key(12, 7) == "final_clips/video_12_clip_007.mp4"
    assert keys.final_clip_key(12, 1234) == "final_clips/video_12_clip_1234.mp4"
    assert keys.keyframe_key(12, 7, "midpoint") == "keyframes/video_12_clip_007_midpoint.jpg"
    assert keys.frame_index_key(12) == "metadata/video_12_keyframes.json"
    assert keys.scenes_key(12) == "metadata/video_12_scenes.json"
    assert keys.subtitle_key(12, 3, "pt-BR", ".vtt") == "subtitles/video_12_03_pt-br.vtt"
    assert keys.subtitle_key(12, 3, None, ".srt") == "subtitles/video_12_03_und.srt"
    assert keys.thumbnail_key(12) == "thumbnails/video_12.jpg"
    assert keys.given_subtitle_key(12, "pt-BR", ".vtt", "ab" * 32) == f"subtitles/video_12_given_pt-br_{'ab' * 16}.vtt"
    assert keys.given_thumbnail_key(12, "ab" * 32) == f"thumbnails/video_12_given_{'ab' * 16}.jpg"
    with pytest.raises(InvalidKeyError, match="subtitles has keys of its own"):
        keys.artifact_key("subtitles", 12, 7, ".vtt")
    assert keys.looks_key(12) == "metadata/video_12_looks.bin"
    assert keys.artifact_key("loudness", 12, 7, ".json") == "loudness/video_12_clip_007.json"
    with pytest.raises(InvalidKeyError, match="export has keys of its own"):
        keys.artifact_key("export", 12, 7, ".mp4")


def test_every_key_begins_with_one_of_the_prefixes():
    made = [keys.original_key(1, ""), keys.gold_master_key(1), keys.proxy_key(1), keys.scenes_key(1)]
    made += [keys.subtitle_key(1, 1, None, ".vtt"), keys.thumbnail_key(1), keys.final_clip_key(1, 1), keys.keyframe_key(1, 1, "a")]
    made += [
        keys.artifact_key(stage.artifact, 1, 1, ".json") for stage in CLIP_STAGES if stage.artifact not in {None, "export", "keyframe"}
    ]
    assert [key.partition("/")[0] + "/" for key in made] == list(keys.PREFIXES)
    assert keys.frame_index_key(1).startswith(keys.PREFIXES)


@pytest.mark.parametrize("extension", ["", "mp4", ".", "./x", ".mp4/../..", ".m p", ".toolongsuffix", ".mp4\n", ".é"])
def test_an_extension_that_is_none_is_left_out(extension):
    assert keys.original_key(1, extension) == "originals/video_1"


@pytest.mark.parametrize("tag", ["", "a b", "../x", "A", "a_b", "a\n"])
def test_a_keyframe_tag_is_plain(tag):
    with pytest.raises(InvalidKeyError, match="lower-case letters and digits only"):
        keys.keyframe_key(1, 1, tag)


@given(st.integers(min_value=1, max_value=2**63), st.integers(min_value=1, max_value=2**31), st.text(max_size=12))
def test_every_key_that_is_made_passes_the_check(video, sequence, extension):
    made = [
        keys.original_key(video, extension),
        keys.gold_master_key(video),
        keys.proxy_key(video),
        keys.final_clip_key(video, sequence),
        keys.keyframe_key(video, sequence, "p25"),
        keys.frame_index_key(video),
        keys.scenes_key(video),
    ]
    assert [keys.checked_key(key) for key in made] == made


@given(st.text())
def test_a_checked_key_stays_below_the_store(text):
    try:
        key = keys.checked_key(text)
    except InvalidKeyError:
        return
    assert posixpath.normpath(posixpath.join("/store", key)) == f"/store/{key}"
    assert not any(part.startswith(".") for part in key.split("/"))


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "..", "a/../b", "a/.b", "a\\b", "a b", "a\x00", "a\n", "~/a", "a" * 513])
def test_what_is_no_key(key):
    with pytest.raises(InvalidKeyError, match="is not an object key"):
        keys.checked_key(key)

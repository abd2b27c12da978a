from __future__ import annotations

import pytest

from heaters_dagster.domain import keys
from heaters_dagster.domain.audit import lost_keys, orphan_keys, remedy, source_video_of_key


@pytest.mark.parametrize(
    "key",
    [
        keys.original_key(12, ".mp4"),
        keys.original_key(12, ""),
        keys.gold_master_key(12),
        keys.proxy_key(12),
        keys.frame_index_key(12),
        keys.scenes_key(12),
        keys.final_clip_key(12, 3),
        keys.keyframe_key(12, 3, "midpoint"),
    ],
)
def test_every_key_of_ours_names_its_source_video(key: str) -> None:
    assert source_video_of_key(key) == 12


def test_a_key_that_is_none_of_ours_names_no_source_video() -> None:
    assert source_video_of_key("notes/video_12.txt") is None


def test_what_no_row_speaks_of_is_an_orphan() -> None:
    stored = ["originals/video_1.mp4", "final_clips/video_1_clip_001.mp4", "notes.txt"]
    assert orphan_keys(stored, known={"originals/video_1.mp4"}, at_work=set()) == ["final_clips/video_1_clip_001.mp4", "notes.txt"]


def test_what_a_stage_still_to_come_will_store_again_is_no_orphan_but_a_clip_without_its_row_is() -> None:
    stored = ["review_proxies/video_1_proxy.mp4", "final_clips/video_1_clip_001.mp4"]
    assert orphan_keys(stored, known=set(), at_work={1}) == ["final_clips/video_1_clip_001.mp4"]


def test_what_a_row_needs_and_nobody_stored_is_lost() -> None:
    needed = {"originals/video_1.mp4": "source video 1", "final_clips/video_1_clip_001.mp4": "clip 5"}
    assert lost_keys({"originals/video_1.mp4"}, needed) == [
        "final_clips/video_1_clip_001.mp4 of clip 5 is gone from the store: restore it from the versions of the bucket or a copy of the "
        "store, or type heaters retry 1, which lets it be made again from the proxy"
    ]


def test_what_to_do_depends_on_what_is_lost_and_of_other_keys_nothing_is_said() -> None:
    for key, ends in (
        ("originals/video_7.mp4", "or type heaters refetch 7"),
        ("gold_masters/video_7_master.mkv", "or type heaters retry 7, which lets it be made again from the original"),
        ("metadata/video_7_keyframes.json", "or type heaters retry 7, which lets it be made again from the original"),
        ("keyframes/video_7_clip_001_mid.jpg", "or type heaters retry 7, which lets it be made again from the proxy"),
        ("subtitles/video_7_01_en.vtt", ": restore it from the versions of the bucket or a copy of the store"),
    ):
        assert remedy(key).endswith(ends), key
    assert remedy("incoming/film.mp4") == ""

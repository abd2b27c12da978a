"""What objects say of themselves."""

from __future__ import annotations

from heaters_dagster.domain import keys
from heaters_dagster.domain.object_headers import cache_control, content_type

HASH = "0123456789abcdef" * 4


def test_every_kind_of_object_has_its_media_type() -> None:
    assert content_type(keys.proxy_key(1)) == "video/mp4"
    assert content_type(keys.gold_master_key(1)) == "video/x-matroska"
    assert content_type(keys.original_key(1, ".MOV")) == "video/quicktime"
    assert content_type(keys.frame_index_key(1)) == "application/json"
    assert content_type(keys.keyframe_key(1, 2, "mid")) == "image/jpeg"
    assert content_type(keys.subtitle_key(1, 1, "de", ".vtt")) == "text/vtt"
    assert content_type(keys.looks_key(1)) == content_type(keys.original_key(1, "")) == "application/octet-stream"


def test_only_a_key_that_names_its_bytes_may_be_used_without_asking_again() -> None:
    """All other keys get other bytes when what is under them is made anew."""
    always = {
        keys.given_thumbnail_key(1, HASH),
        keys.given_subtitle_key(1, "pt-BR", ".vtt", HASH),
        keys.given_subtitle_key(1, None, ".srt", HASH),
    }
    asks = {
        keys.proxy_key(1), keys.original_key(1, ".mp4"), keys.gold_master_key(1), keys.final_clip_key(1, 2), keys.keyframe_key(1, 2, "mid"),
        keys.frame_index_key(1), keys.scenes_key(1), keys.looks_key(1), keys.subtitle_key(1, 1, "de", ".vtt"), keys.thumbnail_key(1),
    }  # fmt: skip
    assert {cache_control(key) for key in always} == {"private, max-age=31536000, immutable"}
    assert {cache_control(key) for key in asks} == {"private, no-cache"}

"""Costs by a price table, and what the eager design would have stored."""

import pytest

from heaters_dagster.domain.costs import GIB, JobTime, Prices, Storage, Stored, StoredVideo, eager_design, honest_words, size_words
from heaters_dagster.domain.errors import BadRequestError
from resources.files.price_table import read_prices

PRICES = read_prices()
FILM = StoredVideo(1, "film", "2026-11", 60.0, 1_500, GIB)


def stored(*objects: tuple[str, int, str]) -> Storage:
    storage = Storage(PRICES)
    for key, byte_size, storage_class in objects:
        storage.add(key, byte_size, storage_class)
    return storage


VIRTUAL = (
    ("originals/video_1.mp4", GIB, "STANDARD"),
    ("gold_masters/video_1_master.mkv", 8 * GIB, "GLACIER"),
    ("review_proxies/video_1_proxy.mp4", 4 * GIB, "STANDARD"),
    ("final_clips/video_1_clip_001.mp4", GIB // 2, "STANDARD"),
    ("subtitles/video_1_01_en.vtt", 10, "STANDARD"),
)


def test_a_gib_of_standard_costs_its_list_price_and_a_cold_object_what_is_stored_with_it() -> None:
    assert PRICES.month(Stored(1, GIB), "STANDARD") == pytest.approx(0.023)
    cold = PRICES.month(Stored(1000, 0), "GLACIER")
    assert cold == pytest.approx(1000 * (32_768 * 0.0036 + 8_192 * 0.023) / GIB)
    assert PRICES.month(Stored(1, GIB), "EXPRESS_ONEZONE") is None


def test_small_objects_of_a_class_with_a_least_size_are_charged_as_that_size() -> None:
    storage = stored(("keyframes/video_1_clip_001_50.jpg", 1_000, "STANDARD_IA"))
    assert storage.byte_size == 1_000
    assert storage.month_price == pytest.approx(131_072 / GIB * 0.0125)


def test_sums_are_by_kind_class_and_source_video() -> None:
    storage = stored(*VIRTUAL)
    assert storage.of_kind("proxies") == 4 * GIB
    assert storage.kinds_of_video(1) == {
        "originals": GIB, "gold masters": 8 * GIB, "proxies": 4 * GIB, "exports": GIB // 2, "subtitles": 10,
    }  # fmt: skip
    assert storage.of_videos([1]) == (storage.byte_size, pytest.approx(storage.month_price))
    assert storage.of_videos([2]) == (0, 0.0)
    assert stored(("originals/video_1.mp4", 5, "EXPRESS_ONEZONE")).unpriced == ["EXPRESS_ONEZONE"]


def test_the_eager_design_has_a_file_for_every_clip_and_a_tile_for_every_frame() -> None:
    waiting = StoredVideo(2, "not cut yet", "2026-11", 0.0, 0, 500)
    eager = eager_design([FILM, waiting], 7, PRICES)
    assert (eager.originals, eager.clips, eager.sprites, eager.stills) == (GIB + 500, GIB, 1_500 * 6_000, 7)
    assert eager.month_price == pytest.approx(eager.byte_size / GIB * 0.023)


def test_the_words_say_where_the_virtual_design_costs_more_bytes_and_where_less() -> None:
    eager = eager_design([FILM], 0, PRICES)
    words = honest_words(stored(*VIRTUAL), eager)
    assert words[0].startswith("The virtual design stores 6.7 times the bytes of the eager design: 14.5 GB against 2.2 GB")
    assert "It costs more bytes for gold masters: 8.6 GB, 8.0 times the originals; the eager design has none." in words
    assert "It costs more bytes for proxies: 4.3 GB, 4.0 times the originals; the eager design has none." in words
    assert "It saves bytes for clips: only approved ones have a file, 536.9 MB instead of 1.1 GB." in words
    assert words[-1] == "In money it is more: 0.16 against 0.05 USD a month."
    lean = honest_words(stored(("originals/video_1.mp4", GIB, "STANDARD")), eager)
    assert lean[0].startswith("The eager design would have stored 2.0 times the bytes")
    assert honest_words(stored(), eager_design([], 0, PRICES)) == []


def test_a_price_table_that_lacks_something_says_what() -> None:
    for wrong, told in (({}, "lacks 'eager'"), ([], "cannot be read"), ({"eager": {}, "machine_hour": {}}, "lacks 'name'")):
        with pytest.raises(BadRequestError, match=told):
            Prices.from_json(wrong)


def test_seconds_of_a_machine_are_told_for_an_hour_of_video() -> None:
    assert JobTime("ingest", 2, 30.0, 120.0).seconds_per_hour == 900.0
    assert JobTime("ingest", 0, 0.0, 0.0).seconds_per_hour is None
    assert [size_words(size) for size in (10, 12_345_678, 1.5e9, 2e12)] == ["0.0 kB", "12.3 MB", "1.5 GB", "2.0 TB"]

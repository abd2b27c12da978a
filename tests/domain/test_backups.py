"""Names of backups, which are kept, and what keys of newer files tell."""

from datetime import UTC, datetime, timedelta

from heaters_dagster.domain.backups import Keep, NumbersInUse, backup_name, is_backup_name, made_at, next_number, numbers_in_use

NIGHT = datetime(2026, 11, 27, 2, 13, tzinfo=UTC)


def test_a_name_says_when_it_was_made_and_names_in_order_are_backups_in_order() -> None:
    assert backup_name(NIGHT) == "20261127T021300Z"
    assert made_at("20261127T021300Z") == NIGHT
    assert not any(map(is_backup_name, ["20261327T021300Z", "20261127T021300", "about.json", ""]))


def test_of_two_years_of_nights_the_newest_of_days_weeks_and_months_are_kept() -> None:
    nights = [NIGHT - timedelta(days=day) for day in range(730)]
    names = [backup_name(night) for night in nights]
    kept = sorted(set(names) - set(Keep(daily=7, weekly=4, monthly=12).outdated(names)), reverse=True)
    days = [name[4:8] for name in kept]
    assert days[:7] == ["1127", "1126", "1125", "1124", "1123", "1122", "1121"]  # 2026-11-27 is a Friday
    assert days[7:] == ["1115", "1108", "1031", "0930", "0831", "0731", "0630", "0531", "0430", "0331", "0228", "0131", "1231"]


def test_thinning_out_again_deletes_nothing_more_and_the_newest_always_stays() -> None:
    names = [backup_name(NIGHT - timedelta(hours=7 * hour)) for hour in range(200)]
    keep = Keep(daily=3, weekly=2, monthly=2)
    kept = set(names) - set(keep.outdated(names))
    assert keep.outdated(kept) == []
    assert Keep(daily=0, weekly=0, monthly=0).outdated(names) == sorted(names)[:-1]
    assert Keep(daily=1, weekly=0, monthly=0).outdated(["another thing", names[0]]) == []


def test_numbers_in_keys_are_found_for_source_videos_and_clips() -> None:
    keys = [
        "originals/video_12.mp4",
        "final_clips/video_3_clip_007.mp4",
        "keyframes/video_3_clip_012_50.jpg",
        "metadata/video_3_scenes.json",
    ]
    assert numbers_in_use(keys) == NumbersInUse(12, {3: 12})
    assert numbers_in_use([]) == NumbersInUse(0, {})


def test_numbers_of_source_videos_go_on_at_the_next_thousand() -> None:
    assert [next_number(greatest) for greatest in (0, 12, 999, 1000, 1001)] == [1001, 1001, 1001, 2001, 2001]

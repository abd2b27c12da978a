"""Exports without the transitions at their ends: exactly the frames and the sound between them, and made again when a range changes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from assets.clip_stage import ClipRun
from assets.exports import export_due, export_problems
from assets.keyframes import keyframe_due
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.keys import final_clip_key, proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.states import ClipState
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from tests.media_files import barcode_video, file_frame_hashes
from tests.pipeline_rows import reviews
from tests.proxy_files import local_copy, stored_video
from tests.sound_sync import assert_in_sync

DISSOLVE, FADE = Transition(CutKind.DISSOLVE, 34, 45), Transition(CutKind.FADE, 92, 107)


class Trimming:
    """A source video of 140 frames whose approved clips are cut at frame 40, a dissolve, and at frame 100, a fade."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
        self.database, self.objects, self.folder = database, objects, folder
        self.work, self.clips, self.exports = WorkFolder(folder / "work"), ClipStore(database), ExportStore(database)
        source = barcode_video(folder / "source.mp4", frames=140, size=(96, 64))
        self.video = stored_video(source, folder, database=database, objects=objects, cuts=(40, 100)).id
        self.review = reviews(database)
        self.review.edit_cut(self.video, 40, DISSOLVE, reviewer="ada")
        self.review.edit_cut(self.video, 100, FADE, reviewer="ada")
        self.hashes = list(file_frame_hashes(local_copy(objects, proxy_key(self.video), folder)))

    def clip(self, sequence: int) -> Clip:
        return self.clips.load_live(self.video)[sequence - 1]

    def run(self, **options: Any) -> ClipRun[ExportManifest]:
        return export_due(self.video, database=self.database, objects=self.objects, work=self.work, **options)

    def manifest(self, sequence: int, profile: str) -> ExportManifest:
        made = self.exports.of_clips([self.clip(sequence).id])[self.clip(sequence).id]
        return ExportManifest.from_json(next(one.manifest for one in made if one.profile == profile))

    def shown(self, sequence: int, profile: str) -> tuple[int, int]:
        """[first, end) of the frames of the proxy that the file of a stream copy has, by the hashes of all its frames."""
        file = local_copy(self.objects, self.manifest(sequence, profile).key, self.folder)
        found = list(file_frame_hashes(file))
        first = self.hashes.index(found[0])
        assert found == self.hashes[first : first + len(found)]
        return first, first + len(found)


@pytest.fixture
def trimming(database: Database, object_store: ObjectStore, tmp_path: Path) -> Trimming:
    return Trimming(database, object_store, tmp_path)


def test_a_file_without_transitions_has_exactly_the_frames_and_the_sound_between_them(trimming: Trimming) -> None:
    for clip in trimming.clips.load_live(trimming.video):
        trimming.exports.request(clip.id, "stream_copy_trimmed")
    trimming.exports.request(trimming.clip(2).id, "delivery_trimmed")
    assert not trimming.run().failed
    assert [trimming.shown(sequence, "stream_copy_trimmed") for sequence in (1, 2, 3)] == [(0, 34), (46, 92), (108, 140)]
    assert [trimming.shown(sequence, "stream_copy") for sequence in (1, 2, 3)] == [(0, 40), (40, 100), (100, 140)]
    manifest = trimming.manifest(2, "stream_copy_trimmed")
    assert (manifest.start_frame, manifest.end_frame, manifest.frame_count) == (46, 92, 46)
    assert (manifest.clip_start_frame, manifest.clip_end_frame) == (40, 100)
    assert list(manifest.left_out) == [
        {"first_frame": 40, "last_frame": 45, "kind": "dissolve", "range": [34, 45]},
        {"first_frame": 92, "last_frame": 99, "kind": "fade", "range": [92, 107]},
    ]
    assert (manifest.first_frame_hash, manifest.last_frame_hash) == (trimming.hashes[46], trimming.hashes[91])
    assert manifest.key == final_clip_key(trimming.video, 2, "stream_copy_trimmed") != trimming.clip(2).clip_filepath
    assert trimming.manifest(2, "stream_copy").left_out == ()
    assert trimming.manifest(2, "delivery_trimmed").frame_count == 46
    for profile in ("stream_copy_trimmed", "delivery_trimmed"):
        made = trimming.manifest(2, profile)
        assert export_problems(made, objects=trimming.objects, work=trimming.work) == []
        file = local_copy(trimming.objects, made.key, trimming.folder)
        assert_in_sync(file, time_of_frame=lambda number: number / 24, silent=1)


@pytest.mark.folder
def test_another_range_makes_the_files_without_transitions_anew_and_no_others(trimming: Trimming) -> None:
    trimming.exports.request(trimming.clip(1).id, "stream_copy_trimmed")
    trimming.exports.request(trimming.clip(2).id, "stream_copy_trimmed")
    trimming.run()
    assert trimming.run().made == ()
    trimming.review.edit_cut(trimming.video, 40, Transition(CutKind.WIPE, 34, 45), reviewer="ada")
    assert trimming.run().made == (), "the frames are the same"
    for change, shown in (
        (lambda: trimming.review.edit_cut(trimming.video, 40, Transition(CutKind.WIPE, 34, 50), reviewer="ada"), [(0, 34), (51, 92)]),
        (lambda: trimming.review.edit_cut(trimming.video, 40, Transition(CutKind.WIPE, 30, 50), reviewer="ada"), [(0, 30), (51, 92)]),
        (lambda: trimming.review.undo("ada"), [(0, 34), (51, 92)]),
        (lambda: trimming.review.edit_cut(trimming.video, 100, Transition(CutKind.HARD), reviewer="ada"), [(0, 34), (51, 100)]),
    ):
        before = [trimming.shown(sequence, "stream_copy_trimmed") for sequence in (1, 2)]
        change()
        made = {(one.clip_id, one.profile) for one in trimming.run().made}
        changed = {trimming.clip(sequence).id for sequence in (1, 2) if before[sequence - 1] != shown[sequence - 1]}
        assert made == {(clip_id, "stream_copy_trimmed") for clip_id in changed}
        assert [trimming.shown(sequence, "stream_copy_trimmed") for sequence in (1, 2)] == shown
    assert len(list(trimming.objects.list("final_clips/"))) == 5, "one file of each kind for each clip"


@pytest.mark.folder
def test_the_setting_makes_every_file_without_transitions_and_stills_of_what_is_in_it(trimming: Trimming) -> None:
    trimming.run()
    whole = [(one.clip_id, one.profile) for one in trimming.run(trims=True).made]
    assert len(whole) == 3, "what was made with them is made again, each under the key that it had"
    assert [trimming.shown(sequence, "stream_copy") for sequence in (1, 2, 3)] == [(0, 34), (46, 92), (108, 140)]
    assert trimming.run(trims=True).made == ()
    stills = keyframe_due(
        trimming.video, database=trimming.database, objects=trimming.objects, strategy="multi", percentages=(0.0, 100.0)
    ).made
    mine = [one for one in stills if one.clip_id == trimming.clip(2).id]
    assert [one.frame_number for one in mine] == [46, 91]
    assert [one.frame_hash for one in mine] == [trimming.hashes[46], trimming.hashes[91]]
    trimming.review.edit_cut(trimming.video, 100, Transition(CutKind.FADE, 80, 107), reviewer="ada")
    assert [one.clip_id for one in trimming.run(trims=True).made] == [trimming.clip(2).id]
    assert trimming.shown(2, "stream_copy") == (46, 80)
    trimming.run()
    assert [trimming.shown(sequence, "stream_copy") for sequence in (1, 2, 3)] == [(0, 40), (40, 100), (100, 140)]


@pytest.mark.folder
def test_a_clip_that_would_be_empty_is_refused_in_words_until_its_ranges_are_corrected(trimming: Trimming) -> None:
    trimming.review.edit_cut(trimming.video, 100, Transition(CutKind.FADE, 46, 107), reviewer="ada")
    trimming.exports.request(trimming.clip(2).id, "stream_copy_trimmed")
    clip = trimming.clip(2)
    assert list(trimming.run().failed) == [clip.id]
    clip = trimming.clip(2)
    assert clip.state is ClipState.EXPORTED, "its first file is there"
    (refused,) = [one for one in trimming.exports.of_clips([clip.id])[clip.id] if one.profile == "stream_copy_trimmed"]
    told = "clip 2 of source has no frame outside of its transitions (dissolve of frames 34..45 and fade of frames 46..107"
    assert told in str(refused.error)
    trimming.run(trims=True)
    assert trimming.clip(2).state is ClipState.EXPORT_FAILED
    assert "heaters cuts set" in str(trimming.clip(2).error)
    trimming.review.edit_cut(trimming.video, 100, FADE, reviewer="ada")
    assert not trimming.run(trims=True).failed
    assert [trimming.shown(2, profile) for profile in ("stream_copy", "stream_copy_trimmed")] == [(46, 92)] * 2


@pytest.mark.folder
def test_clips_that_a_cut_makes_and_moves_are_trimmed_by_their_own_ranges(trimming: Trimming) -> None:
    trimming.run(trims=True)
    trimming.review.move_cut_point(trimming.video, 40, 46, reviewer="ada")
    trimming.review.add_cut_point(trimming.video, 70, reviewer="ada")
    made = trimming.clips.load_live(trimming.video)
    trimming.review.approve([clip.id for clip in made], reviewer="ada")
    trimming.run(trims=True)
    shown = [trimming.shown(place, "stream_copy") for place in range(1, 5)]
    assert shown == [(0, 34), (46, 70), (70, 92), (108, 140)]
    assert all(before[1] <= after[0] for before, after in pairwise(shown))

from dataclasses import dataclass, replace
from fractions import Fraction

import pytest

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cut_lists import CutListMedia, CutListSource
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from heaters_dagster.domain.states import ClipState
from heaters_dagster.registries import CUT_LIST_FORMATS

RATE = Fraction(24_000, 1001)
SOURCE = CutListSource(
    id=7,
    title="Märchen",
    media=CutListMedia(name="video_7_proxy.mp4", path="/media/video_7_proxy.mp4", length_frames=5000, audio_channels=2),
    frame_rate=RATE,
    width=1280,
    height=720,
)


@dataclass(frozen=True)
class Listed:
    id: int
    sequence: int
    start_frame: int
    end_frame: int
    state: ClipState = ClipState.EXPORTED
    confidence: float | None = 0.75
    grouped_with_clip_id: int | None = None
    clip_filepath: str | None = None
    transition: Transition | None = None

    @property
    def start_time_seconds(self) -> float:
        return float(self.start_frame / RATE)

    @property
    def end_time_seconds(self) -> float:
        return float(self.end_frame / RATE)


CLIPS = [Listed(1, 3, 0, 36), Listed(2, 12, 36, 2000, confidence=None), Listed(4, 1234, 2000, 5000, grouped_with_clip_id=2)]


def test_open_timeline_io_reads_back_the_same_frames() -> None:
    import opentimelineio as otio

    timeline = otio.adapters.read_from_string(CUT_LIST_FORMATS.load("otio").write(SOURCE, CLIPS), "otio_json")
    video, audio = timeline.tracks
    assert (video.kind, audio.kind, timeline.name) == ("Video", "Audio", SOURCE.title)
    assert [(c.source_range.start_time.to_frames(), c.source_range.duration.to_frames()) for c in video] == [
        (0, 36),
        (36, 1964),
        (2000, 3000),
    ]
    assert video[0].metadata["heaters"]["id"] == 1
    assert video[0].media_reference.target_url == "file:///media/video_7_proxy.mp4"
    assert video.range_of_child_at_index(2).start_time.to_frames() == 2000


def test_without_sound_there_is_no_audio_track() -> None:
    import opentimelineio as otio

    silent = replace(SOURCE, media=replace(SOURCE.media, audio_channels=0))
    assert len(otio.adapters.read_from_string(CUT_LIST_FORMATS.load("otio").write(silent, CLIPS), "otio_json").tracks) == 1


@pytest.mark.parametrize("kind", CUT_LIST_FORMATS.built_in)
def test_a_cut_list_without_clips_is_no_fault(kind: str) -> None:
    assert isinstance(CUT_LIST_FORMATS.load(kind).write(SOURCE, []), str)


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(BadRequestError, match=f"'aaf' is not a cut-list format; write one of: {', '.join(CUT_LIST_FORMATS.built_in)}"):
        CUT_LIST_FORMATS.load("aaf").write(SOURCE, CLIPS)


def test_facts_and_chapters_are_in_the_metadata() -> None:
    import opentimelineio as otio

    source = replace(SOURCE, facts=SourceFacts(licence="CC0", chapters=(Chapter("Begin", 0.0, 1.0),)))
    timeline = otio.adapters.read_from_string(CUT_LIST_FORMATS.load("otio").write(source, CLIPS), "otio_json")
    assert timeline.metadata["heaters"]["facts"] == {"licence": "CC0"}
    assert [clip.metadata["heaters"].get("chapter") for clip in timeline.tracks[0]] == ["Begin", None, None]

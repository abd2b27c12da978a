"""A cut list as the chapters of a video description: a line for each clip, with the time at which it begins."""

from __future__ import annotations

from collections.abc import Sequence

from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource


def chapters(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    return "".join(f"{_clock(clip.start_time_seconds)} {source.title}, part {number}\n" for number, clip in enumerate(clips, start=1))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


CUT_LIST_FORMAT = CutListFormat(name="chapters", title="chapters of a video description", suffix=".txt", write=chapters)

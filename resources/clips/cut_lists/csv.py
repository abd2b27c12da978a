"""Cut lists as CSV, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, events, verdict
from heaters_dagster.domain.fact_fields import DELIVERED, chapter_at, delivered

CSV_COLUMNS = (
    "id", "sequence", "name", "start_frame", "end_frame", "frame_count", "start_time_seconds", "end_time_seconds",
    "start_timecode", "end_timecode", "verdict", "state", "confidence", "grouped_with_clip_id", "clip_filepath",
    "chapter", "subtitles", "media", "reel", "head_handle_frames", "tail_handle_frames", *DELIVERED,
)  # fmt: skip


def csv_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """A header row of CSV_COLUMNS, then one row per clip (RFC 4180); an empty field means that the value is not known.

    start_frame, end_frame: of the clip. start_timecode, end_timecode: of its file, with the handles.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    known = delivered(source.facts)
    facts = [_plain(known.get(name)) for name in DELIVERED]
    for event in events(source, clips):
        clip = event.clip
        writer.writerow(
            [
                clip.id,
                clip.sequence,
                clip_name(source, clip),
                clip.start_frame,
                clip.end_frame,
                clip.end_frame - clip.start_frame,
                clip.start_time_seconds,
                clip.end_time_seconds,
                source.written(event.source_start),
                source.written(event.source_end),
                str(verdict(clip)),
                str(clip.state),
                clip.confidence,
                clip.grouped_with_clip_id,
                clip.clip_filepath,
                _plain(chapter_at(source.facts.chapters, clip.start_time_seconds)),
                _plain(source.said_in(clip)),
                _plain(event.media.path),
                _plain(event.media.reel),
                event.head,
                event.tail,
                *facts,
            ]
        )
    return text.getvalue()


def _plain(text: str | None) -> str | None:
    """A text that a stranger wrote: a spreadsheet would run one that begins as a formula does, so that gets an apostrophe before it."""
    return f"'{text}" if text and text[0] in "=+-@\t" else text


CUT_LIST_FORMAT = CutListFormat(name="csv", title="a table (RFC 4180)", suffix=".csv", write=csv_cut_list, in_zip=True)

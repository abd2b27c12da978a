"""The timecode of clips on the pages, at the times of the frame index."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.source_facts import Origin, SourceFacts
from resources.object_store.local import LocalObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_clocks import clocks_of
from review_app.service.views import clip_note
from tests.proxy_files import SOURCES, stored_video


def test_cards_begin_with_the_timecode_of_the_first_frame(database: Database, tmp_path: Path) -> None:
    objects = LocalObjectStore(tmp_path / "objects")
    late = stored_video(SOURCES["delayed"](tmp_path), tmp_path, database=database, objects=objects, cuts=(24,))
    without = stored_video(SOURCES["constant"](tmp_path), tmp_path, database=database, objects=objects)
    FactsStore(database).put(late.id, SourceFacts(start_timecode="09:59:59:00", reel="A001"), Origin.FILE)
    clocks = clocks_of([late.id, without.id], database=database)
    assert list(clocks) == [late.id]
    assert clocks[late.id].begins_seconds > 1, "its sound begins before its picture"
    first, second = ClipStore(database).load_live(late.id)
    assert clip_note(first, clocks[late.id]).startswith("09:59:59:00 · 1.0 s")
    assert clip_note(second, clocks[late.id]).startswith("10:00:00:00 · 1.0 s")

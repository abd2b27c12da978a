"""The heaters command: what it prints, how it ends, and that an error is a line or two."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import psycopg
import pytest
import typer
from dagster import DagsterInvariantViolationError
from dagster_postgres.utils import DagsterPostgresException, retry_pg_connection_fn
from PIL import Image
from sqlalchemy import func, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from heaters_dagster import cli
from heaters_dagster.commands import doctor
from heaters_dagster.commands import review as review_commands
from heaters_dagster.commands.process_due import RunDone
from heaters_dagster.commands.up.held import held_folder
from heaters_dagster.domain.bucket_rights import least_policy
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.errors import DiskFullError
from heaters_dagster.domain.keys import frame_index_key, scenes_key
from heaters_dagster.domain.progress import Progress, silent
from heaters_dagster.domain.quality import Picture, Quality
from heaters_dagster.domain.related import Relation
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.run_leases import SCHEDULER
from heaters_dagster.domain.scenes import CutSettings, encoded
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.subtitles import AUTOMATIC, Line, SubtitleFile
from heaters_dagster.settings import PROJECT_ROOT, Settings, load_settings
from resources.clips.cut_list_import import readable_formats
from resources.models.visual_descriptor import VisualDescriptor
from resources.object_store.interface import ObjectStore
from resources.postgres import embedded_postgres
from resources.postgres.clip_files import MadeObject
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.piece_store import PieceStore
from resources.postgres.related_tables import source_video_replacements
from resources.postgres.related_videos import RelatedVideos, link
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.stage_progress import KeptProgress
from resources.postgres.tables import stage_progress
from resources.postgres.transcript_store import TranscriptStore
from resources.upkeep.source_video_removal import rename_source_video
from tests import web_lists
from tests.buckets import BucketServer, standing_between
from tests.conftest import ASourceVideo, SomeClips
from tests.leased import held
from tests.media_files import barcode_video, barcodes, make_video
from tests.pipeline_rows import reviews
from tests.proxy_files import stored_video
from tests.web_server import WebServer

SCHEMA = json.loads((PROJECT_ROOT / "docs" / "json.schema.json").read_text())


def name_of(line: str) -> str:
    """The command in a command line: `cuts add`."""
    words = line.split()
    return " ".join(words[:2]) if words[0] in {"alerts", "cuts", "review", "sites"} else words[0]


def as_documented(line: str, printed: str) -> Any:
    """What a command printed with --json, when it is as docs/json.schema.json says."""
    name = name_of(line)
    document = json.loads(printed)
    jsonschema.validate(document, {**SCHEMA["commands"][name], "$defs": SCHEMA["$defs"]}, cls=jsonschema.Draft202012Validator)
    return document


class Heaters:
    """Runs command lines in this process against the test's database and home."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.error = ""

    def __call__(self, line: str, *more: str) -> tuple[int, str]:
        self._capsys.readouterr()
        code = cli.run([*line.split(), *more])
        printed = self._capsys.readouterr()
        self.error = printed.err
        return code, printed.out

    def json(self, line: str, *more: str) -> Any:
        code, printed = self(line, *more, "--json")
        assert code == 0, self.error
        return as_documented(line, printed)


@pytest.fixture
def heaters(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Heaters:
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEATERS_REVIEWER", "ada")
    load_settings.cache_clear()
    monkeypatch.setattr(cli.terminal, "out", cli.terminal.Console(highlight=False, width=200))
    monkeypatch.setattr(cli.terminal, "err", cli.terminal.Console(stderr=True, highlight=False, width=200))
    yield Heaters(capsys)
    load_settings.cache_clear()


@pytest.fixture
def video(tmp_path: Path, database: Database, object_store: ObjectStore) -> int:
    """A source video of 60 frames, cut at 20 and 40, with proxy and frame index."""
    source = barcode_video(tmp_path / "holiday.mp4", frames=60)
    return stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), approved=False).id


WRONG = [
    "",
    "nosuch",
    "clips",
    "clips abc",
    "search",
    "search words --like 1",
    "search x --limit 0",
    "review approve",
    "review approve 1 --video 1",
    "review approve --video 1",
    "cutlist 1 --format doc",
    "cutlist 1 --format fcpxml --fcpxml-version 1.7",
    "cutlist 1 --format edl --fcpxml-version 1.9",
    "recut 1 --detector eyes",
    "evaluate --detector eyes",
    "evaluate --threshold 0",
    "evaluate --csv eyes",
    "evaluate --csv sweep --json",
    "cutlist 1 --output .",
    "clips 99999999999999999999",
    "process 99999999999999999999",
    "cuts add 99999999999999999999 5",
    "review approve 99999999999999999999",
    "review group 99999999999999999999",
    "review history --video 99999999999999999999",
    "search --like 99999999999999999999",
    "export 99999999999999999999",
    "review approve 14 of Harbour",
    "review approve 3:",
    "review approve id:",
    "review approve 0",
    "search --like harbour",
    "retry --clip 3.14",
]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_ends_with_2(heaters: Heaters, line: str) -> None:
    assert heaters(line)[0] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("unsubscribe 99999999999999999999", "there is no subscription 99999999999999999999: write its number, as heaters subscriptions"),
        ("unsubscribe 0", "there is no subscription 0"),
        ("submit x.mp4 --most 0", "write a whole number of 1 or more, not 0"),
        ("submit x.mp4 --since 2026-02-30", "'2026-02-30' is no day: write it as 2026-01-31"),
        ("recut 3 --min-clip-frames -1", "write a whole number from 1 to 100,000, not -1"),
        ("status --most 0", "write a whole number from 1 to 100,000, not 0"),
        ("search x --limit 1001", "write a whole number from 1 to 1,000, not 1,001"),
        ("review history --limit 0", "write a whole number from 1 to 10,000, not 0"),
        ("refetch 3 --max-height 99999999999999999999", "write a whole number from 144 to 8,640, not"),
    ],
)
def test_a_number_out_of_its_range_is_said_with_the_range(heaters: Heaters, line: str, words: str) -> None:
    assert heaters(line)[0] == 2
    assert words in " ".join(heaters.error.replace("│", "").split())


@pytest.mark.parametrize("words", ["", " "])
def test_a_search_for_nothing_ends_with_2(heaters: Heaters, words: str) -> None:
    assert heaters("search", words)[0] == 2


def title_of(database: Database, clip: Clip) -> str:
    return SourceVideoStore(database).load(clip.source_video_id).title


def commands() -> dict[str, click.Command]:
    """Every command by its whole name: `cuts add`."""
    found: dict[str, click.Command] = {}
    waiting = [("", typer.main.get_command(cli.app))]
    for prefix, one in waiting:
        inner = getattr(one, "commands", None)
        waiting += [(f"{prefix} {name}".strip(), command) for name, command in (inner or {}).items()]
        if inner is None:
            found[prefix] = one
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself_with_an_example(heaters: Heaters, name: str) -> None:
    code, printed = heaters(f"{name} --help")
    assert code == 0
    assert f"Example: heaters {name}" in " ".join(printed.split())
    assert str(MAX_ID) not in printed


def with_json() -> set[str]:
    return {name for name, command in commands().items() if any("--json" in option.opts for option in command.params)}


def test_every_json_of_a_command_is_documented_and_no_property_of_it_is_left_out() -> None:
    assert with_json() == set(SCHEMA["commands"])
    jsonschema.Draft202012Validator.check_schema({"$defs": {**SCHEMA["$defs"], **SCHEMA["commands"]}})
    open_ones = {
        "details",
        "before",
        "after",
        "clips",
        "progress",
        "said_by",
        "limits",
        "health",
    }  # what their keys are is not for us to say, or depends on the rows
    for name, part in objects_in({**SCHEMA["$defs"], **SCHEMA["commands"]}):
        if "properties" in part:
            assert (part["additionalProperties"], set(part["required"])) == (False, set(part["properties"])), name
        else:
            assert name in open_ones


def objects_in(part: Any, name: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every description of an object in a schema, with the property or definition it stands under."""
    if isinstance(part, list):
        return [found for one in part for found in objects_in(one, name)]
    if not isinstance(part, dict):
        return []
    own = [(name, part)] if part.get("type") == "object" else []
    return own + [found for key, one in part.items() for found in objects_in(one, name if key in {"properties", "items", "anyOf"} else key)]


def test_the_version_is_told_in_both_ways(heaters: Heaters) -> None:
    code, printed = heaters("--version")
    assert (code, printed) == (0, f"heaters {heaters('version')[1]}")


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    program = "import sys; sys.argv = ['heaters']; from heaters_dagster.cli import main; main()"
    environment = {**os.environ, "_HEATERS_COMPLETE": "complete_bash", "COMP_WORDS": "heaters sta", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["status"], done.stderr


def test_a_shell_completes_source_videos_and_clips(settings: Settings, harbour: list[Clip]) -> None:
    program = "import sys; sys.argv = ['heaters']; from heaters_dagster.cli import main; main()"
    video = str(harbour[0].source_video_id)

    def offered(*words: str) -> list[str]:
        shell = {"_HEATERS_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["heaters", *words]), "COMP_CWORD": str(len(words))}
        environment = {**os.environ, **settings.to_environment(), **shell}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    clips = [f"{video}:{number}" for number in (3, 4, 2)]
    assert offered("status", video) == [video]
    assert offered("review", "approve", video) == clips
    assert offered("retry", "--clip", f"{video}:4") == [f"{video}:4"]
    assert offered("review", "approve", "9:1", video, ":", "4") == ["4"], "as bash parts words"


def test_clips_as_json_have_what_programs_need(heaters: Heaters, some_clips: SomeClips) -> None:
    made = some_clips(40, 70)
    rows = heaters.json(f"clips {made[0].source_video_id}")
    assert [(row["sequence"], row["start_frame"], row["end_frame"], row["state"]) for row in rows] == [
        (1, 0, 40, "pending_review"),
        (2, 40, 70, "pending_review"),
        (3, 70, 100, "pending_review"),
    ]
    assert set(rows[0]) >= {"id", "start_time_seconds", "end_time_seconds", "confidence", "clip_filepath"}


def test_status_as_json_has_what_programs_need(heaters: Heaters, a_source_video: ASourceVideo) -> None:
    failed = a_source_video(state=SourceVideoState.DOWNLOAD_FAILED, source="/videos/broken.mp4", title="broken")
    (row,) = heaters.json("status")
    assert (row["id"], row["source"], row["title"], row["state"]) == (failed.id, "/videos/broken.mp4", "broken", "download_failed")
    assert row["error"] == "made to fail"
    assert (row["frame_count"], row["site_waits"], row["quality"]) == (None, None, None)


def test_status_says_that_a_new_file_waits_for_a_word(heaters: Heaters, database: Database, a_source_video: ASourceVideo) -> None:
    old, new = a_source_video(title="Harbour"), a_source_video(title="Harbour anew", state=SourceVideoState.PREPROCESSED)
    ada = ReviewerStore(database).named("Ada")
    with database.begin() as connection:
        link(connection, new.id, old.id, Relation.REPLACES)
        connection.execute(source_video_replacements.insert().values(new_id=new.id, old_id=old.id, asked_by_user_id=ada.id))
    said = f"waits for a word from you: heaters replace {old.id}"
    assert said in " ".join(heaters(f"status {new.id}")[1].split())
    with database.begin() as connection:
        connection.execute(source_video_replacements.update().values(state="given_up"))
    assert said not in " ".join(heaters(f"status {new.id}")[1].split())


def test_status_says_what_a_download_waits_for_and_which_quality_came(heaters: Heaters, database: Database) -> None:
    video = SourceVideoStore(database).add("https://example.org/1", "Talk")
    SiteTurns(database, per_site=1, pause_seconds=0).refused("example.org", "its site answers 429", None)
    taken = Quality(offered=(Picture(height=2160), Picture(height=1080)), taken=Picture(height=1080), limit=1080, order="res:1080")
    FactsStore(database).put(video.id, SourceFacts(quality=taken.to_json()), Origin.SITE)
    (row,) = heaters.json("status")
    assert row["site_waits"].endswith("UTC (1 minute): its site answers 429")
    assert [one["height"] for one in row["quality"]["offered"]] == [2160, 1080]
    told = " ".join(heaters(f"status {video.id}")[1].split())
    assert "waiting to be fetched; waits until" in told
    assert "1080p of 2160p, 1080p: the best up to HEATERS_DOWNLOAD_MAX_HEIGHT=1080" in told


def test_status_says_once_which_videos_look_alike(heaters: Heaters, database: Database) -> None:
    videos = SourceVideoStore(database)
    ids = [videos.add(f"/films/{name}.mp4", name).id for name in ("A", "B", "C")]
    for newer, older in ((2, 1), (3, 1), (3, 2)):
        RelatedVideos(database).link(ids[newer - 1], ids[older - 1], Relation.LOOKS_ALIKE, alike=16, compared=16)
    heaters("status")
    assert [line for line in heaters.error.splitlines() if "same video" in line] == [
        "source video 1: May be the same video as each of the source videos 2, B; 3, C: same length, and their frames look alike",
        "source video 2: May be the same video as source video 3, C: same length, and of the frames that were compared 16 of 16 look alike",
    ]
    heaters(f"status {ids[2]}")
    assert ["source video 1, A" in heaters.error, "source video 2, B" in heaters.error] == [True, True], "one alone has all of its own"


def test_a_long_list_of_status_has_what_failed_and_the_newest_and_json_has_all(heaters: Heaters, database: Database) -> None:
    videos = SourceVideoStore(database)
    made = [videos.add(f"/films/{number}.mp4", f"Film {number}") for number in range(6)]
    videos.set_state(made[1].id, SourceVideoState.DOWNLOADING)
    videos.record_failure(made[1].id, SourceVideoState.DOWNLOAD_FAILED, "it is no video", transient=False)
    code, told = heaters("status --most 3")
    assert code == 0
    assert [number for number in range(6) if f"Film {number}" in told] == [1, 4, 5]
    assert "3 of 6 source videos (5 waiting to be fetched, 1 fetching failed)" in told
    assert "of 6 source videos" not in heaters("status")[1]
    assert [row["title"] for row in heaters.json("status")] == [video.title for video in made]


def test_without_source_videos_status_says_how_to_begin(heaters: Heaters) -> None:
    assert "heaters submit" in heaters("status")[1]


def test_submit_prints_ids_and_says_what_was_there_already(heaters: Heaters, tmp_path: Path) -> None:
    first = barcode_video(tmp_path / "a.mp4", frames=5)
    (tmp_path / "b.mp4").write_bytes(first.read_bytes())
    ids = heaters.json("submit", str(first), str(tmp_path / "b.mp4"))
    assert len(ids) == 1
    code, printed = heaters("submit", str(tmp_path / "b.mp4"))
    assert code == 0
    assert f"is already source video {ids[0]}" in printed


def test_submit_registers_the_partition_with_dagster(heaters: Heaters, settings: Settings, tmp_path: Path) -> None:
    from heaters_dagster.orchestration.instance import open_instance

    ids = heaters.json("submit", str(barcode_video(tmp_path / "a.mp4", frames=5)))
    with open_instance(settings) as instance:
        assert instance.get_dynamic_partitions("source_videos") == [str(ids[0])]


def test_watched_places_are_looked_at_and_listed(
    heaters: Heaters, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No place is watched. Name folders" in heaters("watched")[1]
    folder = tmp_path / "incoming"
    folder.mkdir()
    for name, value in (("HEATERS_WATCH", f"{folder},{tmp_path}/gone"), ("HEATERS_WATCH_SECONDS", "1")):
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    assert "Nobody has looked yet" in heaters("watched")[1]
    barcode_video(folder / "a.mp4", frames=5)
    assert f"{folder}: 1 file arriving" in heaters("watched", "--look")[1]
    gone, here = heaters.json("watched", "--look")
    assert (here["place"], here["taken"], here["arriving"], here["problem"]) == (str(folder), 1, 0, None)
    assert f"{tmp_path}/gone cannot be read" in gone["problem"]
    assert heaters("watched")[0] == 0
    assert f"{tmp_path}/gone cannot be read" in heaters.error
    (video,) = heaters.json("status")
    assert (video["source"], video["waits"]) == (str(folder / "a.mp4"), "")
    assert f"{tmp_path}/gone cannot be read" in heaters("status")[1] + heaters.error


def test_status_says_what_waits_for_room(heaters: Heaters, database: Database, a_source_video: ASourceVideo) -> None:
    video = a_source_video(state=SourceVideoState.DOWNLOADED)
    RoomWaitStore(database).put({video.id: [RoomWait("proxy", 12 * 10**9, 3 * 10**9), RoomWait("gold_master", 40 * 10**9, 0)]})
    told = heaters("status")[1]
    assert "waiting for a proxy; waits for room on the disk: needs 12 GB, 3 GB are free" in " ".join(told.split()), told
    assert heaters.json("status")[0]["waits"].startswith("waits for room on the disk: needs 12 GB, 3 GB are free; waits for room")


def test_status_says_that_a_stage_waits_for_its_turn(heaters: Heaters, a_source_video: ASourceVideo, database: Database) -> None:
    video = a_source_video(state=SourceVideoState.DOWNLOADED).id
    with ExitStack() as at_work:
        for stage in ("proxy", "gold_master"):
            at_work.enter_context(database.stage_lock(stage, video))
            report = at_work.enter_context(KeptProgress(database, video, stage, silent).at_work())
            report(Progress.begun(stage).waiting_for_turn("box"))
        listed = " ".join(heaters("status")[1].split())
        assert "waiting for a proxy; waits for its turn on box" in listed
        assert listed.count("waits for its turn on box") == 2, "the gold master has a column of its own"
        assert heaters.json(f"status {video}")[0]["working"].startswith("making the proxy, waits for its turn on box")


def test_status_says_which_stage_stands_still(heaters: Heaters, video: int, database: Database) -> None:
    told = Progress("exports", 3.0, 10.0, "clips", 60.0)
    with database.stage_lock("exports", video), KeptProgress(database, video, "exports", silent).at_work() as report:
        report(told)
        heaters("status")
        assert "no progress" not in heaters.error
        assert heaters.json(f"status {video}")[0]["working"] == "exporting clips: 30 %, about 2 min left"
        with database.begin() as connection:
            connection.execute(stage_progress.update().values(progressed_at=func.now() - timedelta(minutes=65)))
        heaters("status")
        assert f"source video {video}: exporting clips: 30 %, no progress for 1 h 5 min" in " ".join(heaters.error.split())
        (shown,) = heaters.json(f"status {video}")[0]["progress"].values()
        assert (shown["is_waiting"], round(shown["still_seconds"] / 60)) == (False, 65)


def test_status_says_why_a_long_video_goes_in_one_piece(heaters: Heaters, database: Database, a_source_video: ASourceVideo) -> None:
    video, why = a_source_video(state=SourceVideoState.DOWNLOADED), "its edit list hides 2 frames"
    PieceStore(database).forget(video.id, one_piece=why)
    told = " ".join(heaters(f"status {video.id}")[1].split())
    assert f"the proxy is made in one piece, by one machine, because {why}" in told
    assert heaters.json(f"status {video.id}")[0]["one_piece"] == why


def test_a_source_that_is_not_there_fails_and_the_others_are_taken(heaters: Heaters, tmp_path: Path, database: Database) -> None:
    code, _ = heaters("submit", str(tmp_path / "gone.mp4"), str(barcode_video(tmp_path / "a.mp4", frames=5)))
    assert code == 1
    assert f"there is no file or folder {tmp_path}/gone.mp4" in heaters.error
    assert len(SourceVideoStore(database).load_all()) == 1


def test_cuts_are_added_moved_and_removed_and_taken_back(heaters: Heaters, video: int) -> None:
    def starts() -> list[int]:
        return [row["start_frame"] for row in heaters.json(f"clips {video}")]

    heaters.json(f"cuts add {video} 30")
    assert starts() == [0, 20, 30, 40]
    heaters.json(f"cuts move {video} 30 33")
    heaters.json(f"cuts remove {video} 20")
    assert starts() == [0, 33, 40]
    for _ in range(3):
        assert heaters("review undo")[0] == 0
    assert starts() == [0, 20, 40]
    assert heaters("review redo")[0] == 0
    assert starts() == [0, 20, 30, 40]


def test_what_a_cut_is_can_be_said_listed_and_taken_back(heaters: Heaters, video: int) -> None:
    def told() -> list[tuple[object, ...]]:
        return [(cut["frame"], cut["kind"], cut["first_frame"], cut["last_frame"]) for cut in heaters.json(f"cuts list {video}")]

    assert told() == [(0, "end", None, None), (20, None, None, None), (40, None, None, None)]
    heaters.json(f"cuts set {video} 20 --kind dissolve --first 16 --last 23")
    heaters.json(f"cuts set {video} 20 --last 24")
    heaters.json(f"cuts set {video} 40 --kind hard")
    assert told()[1:] == [(20, "dissolve", 16, 24), (40, "hard", None, None)]
    assert [cut["frame"] for cut in heaters.json(f"cuts list {video} --kind hard --kind end")] == [0, 40]
    heaters.json(f"cuts set {video} 20 --no-range")
    assert told()[1] == (20, "dissolve", None, None)
    assert heaters("review undo")[0] == 0
    code, printed = heaters(f"cuts list {video}")
    assert (code, "dissolve" in printed, "16..24" in printed, "beginning of the file" in printed) == (0, True, True, True)
    for line, said in (
        (f"cuts set {video} 20 --first 21", "can begin at frames 0..20 and end at frames 19..39; it cannot be 21..24"),
        (f"cuts set {video} 40 --first 38", "give both --first and --last"),
        (f"cuts set {video} 0 --kind hard", "cuts of this source video lie at frames 1..59, not 0"),
        (f"cuts set {video} 25 --kind hard", "there is no cut at frame 25"),
        (f"cuts set {video} 40 --first 38 --last 41", "a hard cut has no transition, so the one at frame 40 cannot have the frames 38..41"),
    ):
        assert heaters(line)[0] == 1
        assert said in " ".join(heaters.error.split()), line
    assert heaters(f"cuts set {video} 20")[0] == 2
    assert heaters(f"cuts set {video} 20 --kind end")[0] == 2
    assert "'end' is not one of: hard, dissolve, fade, wipe, jump, hand" in " ".join(heaters.error.replace("│", " ").split())
    heaters.json(f"cuts set {video} 20 --kind jump")
    assert told()[1] == (20, "jump", None, None), "what becomes sudden loses its transition, as on the page"


def test_lists_say_the_timecode_of_the_camera_where_there_is_one(
    heaters: Heaters, video: int, database: Database, object_store: ObjectStore
) -> None:
    assert {(row["first_timecode"], row["last_timecode"]) for row in heaters.json(f"clips {video}")} == {(None, None)}
    assert "timecode" not in heaters(f"clips {video}")[1] + heaters("status")[1] + heaters(f"cuts list {video}")[1]
    facts = SourceFacts(start_timecode="23:59:59:12", timecode_rate="24", reel="A001")
    FactsStore(database).put(video, facts, Origin.FILE)
    first, last = ["23:59:59:12", "00:00:00:08", "00:00:01:04"], ["00:00:00:07", "00:00:01:03", "00:00:01:23"]
    rows = heaters.json(f"clips {video}")
    assert [row["first_timecode"] for row in rows] == first
    assert [row["last_timecode"] for row in rows] == last
    assert [row["timecode"] for row in heaters.json(f"cuts list {video}")] == first
    (row,) = heaters.json("status")
    assert (row["start_timecode"], row["reel"]) == (first[0], "A001")
    listed = list(csv.DictReader(io.StringIO(heaters(f"cutlist {video} --format csv --handles 5")[1])))
    assert [(row["first_timecode"], row["last_timecode"]) for row in listed] == list(zip(first, last, strict=True))
    assert listed[1]["start_timecode"] == "00:00:00:03", "with its handle"
    for line, words in ((f"clips {video}", [*first, *last]), ("status", [first[0], "A001"]), (f"cuts list {video}", first)):
        printed = heaters(line)[1]
        assert all(one in printed for one in words), line
    object_store.delete(frame_index_key(video))
    rows = heaters.json(f"clips {video}")
    assert [(row["first_timecode"], row["last_timecode"]) for row in rows] == [(one, None) for one in first]


def test_a_file_without_transitions_can_be_asked_for_where_frames_are_left(heaters: Heaters, video: int) -> None:
    heaters.json(f"review approve {video}:2")
    heaters.json(f"cuts set {video} 20 --kind dissolve --first 16 --last 23")
    (clip,) = heaters.json(f"export {video}:2 --profile delivery --trim-transitions")
    assert [(one["profile"], one["state"]) for one in clip["exports"]] == [("delivery_trimmed", "asked")]
    heaters.json(f"cuts set {video} 40 --kind fade --first 24 --last 41")
    assert heaters(f"export {video}:2 --trim-transitions")[0] == 1
    assert f"clip {video}:2 has no frame outside of its transitions (dissolve of frames 16..23 and fade" in " ".join(heaters.error.split())
    heaters.json(f"review approve {video}:1")
    assert heaters(f"export {video}:1 {video}:2 --trim-transitions")[0] == 1
    assert " ".join(heaters.error.split()).endswith("Nothing was asked for, not of the other clips either")
    heaters.json(f"cuts set {video} 20 --kind dissolve --first 0 --last 23")
    assert heaters(f"export {video}:1 {video}:2 --trim-transitions")[0] == 1
    said = " ".join(heaters.error.split())
    assert f"clip {video}:1 has no frame outside" in said
    assert said.endswith(f"heaters cuts set. So it is with {video}:2")
    assert [one["profile"] for clip in heaters.json(f"clips {video}")[:2] for one in clip["exports"]] == ["delivery_trimmed"], "no more"


def test_a_cut_outside_its_range_says_the_range(heaters: Heaters, video: int) -> None:
    code, printed = heaters(f"cuts move {video} 20 40")
    assert (code, printed) == (1, "")
    assert "cut at frame 20 can move to frames 1..39, not 40" in heaters.error
    assert len(heaters.error.strip().splitlines()) <= 2


def test_all_clips_of_a_video_are_approved_in_one_action(heaters: Heaters, video: int, database: Database) -> None:
    result = heaters.json(f"review approve --video {video} --all")
    assert [clip["state"] for clip in result["clips"]] == ["review_approved"] * 3
    assert heaters.json(f"review approve --video {video} --all") == []
    heaters("review undo")
    assert {clip.state for clip in ClipStore(database).load_live(video)} == {ClipState.PENDING_REVIEW}


@pytest.mark.parametrize(("action", "state"), [("approve", "review_approved"), ("skip", "review_skipped"), ("archive", "review_archived")])
def test_decisions_on_single_clips(heaters: Heaters, some_clips: SomeClips, action: str, state: str) -> None:
    one, two = some_clips(50)
    heaters.json(f"review {action} {one.id} {two.id}")
    assert [row["state"] for row in heaters.json(f"clips {one.source_video_id}")] == [state, state]


def test_group_joins_a_clip_with_the_one_before(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    one, two = some_clips(50)
    title = title_of(database, one)
    heaters.json(f"review archive {one.id} --as Grace")
    code, _ = heaters(f"review group {two.id} --as Ada")
    assert code == 1
    assert f"clip 1 of {title} was archived by Grace; a group would approve it" in heaters.error
    heaters.json("review undo --as Grace")
    heaters.json(f"review group {two.id}")
    rows = heaters.json(f"clips {one.source_video_id}")
    assert [(row["state"], row["grouped_with_clip_id"]) for row in rows] == [("review_approved", None), ("review_approved", one.id)]


@pytest.fixture
def harbour(a_source_video: ASourceVideo, some_clips: SomeClips, database: Database) -> list[Clip]:
    """The four clips of Harbour: no number is its id, and clip 1 is no longer in the cut list."""
    a_source_video()
    some_clips(20, 40)
    made = some_clips(50)
    rename_source_video(made[0].source_video_id, "Harbour", reviewer="ada", database=database)
    reviews(database).add_cut_point(made[0].source_video_id, 20, reviewer="ada")
    return [clip for clip in ClipStore(database).find(source_video_id=made[0].source_video_id) if clip.is_live]


@pytest.mark.parametrize(
    "called", ["{video}:3", "3 of Harbour", "clip 3 of Harbour", "3 of {video}. Harbour", "id:{id}", "{id}", "video_{video}_clip_003.mp4"]
)
def test_a_clip_is_called_on_the_command_line_as_on_the_pages(heaters: Heaters, harbour: list[Clip], called: str) -> None:
    clip = next(clip for clip in harbour if clip.sequence == 3)
    assert clip.id != clip.sequence
    argument = called.format(video=clip.source_video_id, id=clip.id)
    code, printed = heaters("review approve", argument)
    assert code == 0, heaters.error
    assert printed.startswith("approved: clip 3 of Harbour (action ")
    assert f"{clip.source_video_id}:3" in printed.splitlines()[2].split()
    assert [row["clip_numbers"] for row in heaters.json("review history --limit 1")] == [[3]]


def test_a_clip_is_called_by_its_number_in_everything_that_is_told(heaters: Heaters, harbour: list[Clip]) -> None:
    video = harbour[0].source_video_id
    assert [clip.sequence for clip in harbour] == [3, 4, 2]
    listed = [line.split()[0] for line in heaters(f"clips {video}")[1].splitlines()[1:]]
    assert listed == ["clip", f"{video}:3", f"{video}:4", f"{video}:2"]
    assert heaters(f"review approve {video}:1")[0] == 1
    assert heaters.error.startswith("heaters: clip 1 of Harbour is no longer in the cut list")
    assert "in its place: clips 3 and 4 of Harbour" in " ".join(heaters.error.split())
    assert heaters(f"search --like {video}:2")[0] == 1
    assert "clip 2 of Harbour has no embedding" in heaters.error
    assert heaters(f"export {video}:4")[0] == 1
    assert "clip 4 of Harbour is not approved (its state: waiting), so it is not exported" in heaters.error
    assert heaters(f"retry --clip {video}:4")[0] == 1
    assert "clip 4 of Harbour has not failed (its state: waiting), so there is nothing to retry" in heaters.error
    assert heaters(f"cuts remove {video} 30")[0] == 1
    assert "there is no cut at frame 30: clip 4 of Harbour has the frames 20..49" in heaters.error
    assert heaters(f"review skip {video}:3 {video}:4 {video}:2")[1].startswith("skipped: clips 3, 4 and 2 of Harbour (action ")
    assert heaters("review history")[1].splitlines()[1].rstrip().endswith(f"{video}. Harbour  clips 2, 3 and 4")
    assert heaters("review undo")[1].startswith("undid skipping: clips 3, 4 and 2 of Harbour (action ")
    assert f"{harbour[0].id}" not in heaters(f"clips {video}")[1].replace(":", " ").split()


def test_only_the_author_takes_a_decision_back(heaters: Heaters, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    heaters.json(f"review approve {clip.id} --as bob")
    assert heaters("review undo --as ada")[0] == 1
    assert heaters("review undo --as bob")[0] == 0


def test_a_skip_that_lands_while_all_clips_are_approved_stands(
    heaters: Heaters, some_clips: SomeClips, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = some_clips(30, 60)
    looked = review_commands._waiting

    def and_then_a_colleague_skips(settings: Settings, video: int) -> dict[int, int]:
        waiting = looked(settings, video)
        reviews(database).skip(second.id, reviewer="grace")
        return waiting

    monkeypatch.setattr(review_commands, "_waiting", and_then_a_colleague_skips)
    result = heaters.json(f"review approve --video {first.source_video_id} --all")
    assert [clip["id"] for clip in result["clips"]] == [first.id, third.id]
    states = [str(clip.state) for clip in ClipStore(database).load_live(first.source_video_id)]
    assert states == ["review_approved", "review_skipped", "review_approved"]
    assert f"Left alone: clip 2 of {title_of(database, first)} has changed, last by grace: its state is now skipped" in heaters.error


def test_a_verdict_that_a_named_decision_changes_is_told(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    (clip,) = some_clips()
    heaters.json(f"review skip {clip.id} --as grace")
    heaters.json(f"review approve {clip.id} --as ada")
    assert f"Clip 1 of {title_of(database, clip)} was skipped by grace before." in heaters.error
    heaters.json(f"review approve {clip.id} --as ada")
    assert heaters.error == ""


def test_the_command_line_never_decides_in_the_name_of_somebody_who_signs_in(heaters: Heaters, video: int, database: Database) -> None:
    clip = ClipStore(database).load_live(video)[0]
    grace = ReviewerStore(database).signed_in(oidc_subject="https://id.example|g-17", name="Grace")
    for line in (f"review skip {clip.id} --as Grace", f"cuts add {video} 30 --as Grace", "review undo --as Grace"):
        assert heaters(line)[0] == 0
        assert "decisions of the command line are stored under the name 'Grace (command line)'" in heaters.error
    heaters.json(f"review approve {clip.id}")
    names = {entry["reviewer"] for entry in heaters.json("review history")}
    assert names == {"Grace (command line)", "ada (command line)"}
    assert ReviewerStore(database).signed_in(oidc_subject="https://id.example|g-17", name="Grace").id == grace.id


def test_history_tells_who_did_what(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    (clip,) = some_clips()
    heaters.json(f"review skip {clip.id} --as bob")
    (entry,) = heaters.json("review history")
    assert (entry["reviewer"], entry["action"], entry["clip_ids"]) == ("bob", "skip", [clip.id])
    reviews(database).add_cut_point(clip.source_video_id, 20, reviewer="bob")
    heaters.json("review undo --as bob")
    assert [entry["action"] for entry in heaters.json("review history")] == ["undo", "add_cut_point", "skip"]
    newest, added, skipped = heaters("review history")[1].splitlines()[1:]
    assert "  undid adding a cut  " in newest
    assert "  added a cut  " in added
    assert "  skipped  " in skipped
    assert "  undid adding a cut  " in heaters("review history --limit 1")[1], "what it undid is not among the entries that are shown"
    assert "target_action" not in heaters.json("review history --limit 1")[0]
    assert heaters("review redo --as bob")[1].startswith("redid adding a cut: ")
    archived = ClipStore(database).load_live(clip.source_video_id)[-1]
    reviews(database).archive(archived.id, reviewer="bob")
    reviews(database).archive(archived.id, reviewer="bob", request_key="pressed twice on the page")
    assert heaters("review history --limit 1")[1].splitlines()[1].rstrip().endswith("  changed nothing")


def test_a_narrow_terminal_loses_no_column(heaters: Heaters, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch) -> None:
    (clip,) = some_clips(frame_count=200_000)
    for line, headings in ((f"clips {clip.source_video_id}", 2), ("status", 1)):
        wide = " ".join(heaters(line)[1].splitlines()[headings:]).split()
        with monkeypatch.context() as narrow:
            narrow.setattr(cli.terminal, "out", cli.terminal.Console(highlight=False, width=40))
            assert set(wide) <= set(heaters(line)[1].split())


def test_the_lines_of_a_cell_stay_below_each_other(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.terminal, "out", cli.terminal.Console(width=40))
    cli.terminal.show_record(
        [cli.terminal.Column("tags", "tags")], {"tags": "title: Harbour at night\nencoder: Lavf63.1.102\nminor_version: 512"}
    )
    assert capsys.readouterr().out.splitlines() == [
        "tags  title: Harbour at night",
        "      encoder: Lavf63.1.102",
        "      minor_version: 512",
    ]


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
@pytest.mark.parametrize(("line", "code"), [("version", 0), ("clips 1", 2)])
def test_a_caller_may_close_what_it_does_not_read(closed: str, line: str, code: int) -> None:
    program = "from heaters_dagster.cli import main; main()"
    descriptor = {"stdout": 1, "stderr": 2}[closed]
    shell = ["/bin/sh", "-c", f'"$@" {descriptor}>&-', "sh", sys.executable, "-c", program, *line.split()]
    done = subprocess.run(shell, capture_output=True, text=True, env={**os.environ, "APP_ENV": "nowhere"}, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_standard_input_is_an_empty_one(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "argv", ["heaters", "submit", "-"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert not sys.stdin.isatty(), "what asks a person finds nobody"


def test_a_terminal_of_60_columns_breaks_no_word(heaters: Heaters, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "the address does not answer; when it does again, heaters retry starts it once more"
    video = SourceVideoStore(database).add("/films/a.mp4", "Interviews from the northern harbour in November")
    SourceVideoStore(database).record_failure(video.id, SourceVideoState.DOWNLOAD_FAILED, told, transient=False)
    monkeypatch.setattr(cli.terminal, "out", cli.terminal.Console(highlight=False, width=60))
    for line in ("status", f"status {video.id}"):
        lines = heaters(line)[1].splitlines()
        assert max(map(len, lines)) <= 60
        assert set(f"{video.title} {told} fetching failed".split()) <= set(" ".join(lines).split())


def test_one_source_video_is_told_whole(heaters: Heaters, video: int, database: Database) -> None:
    SourceVideoStore(database).add_warning(video, "its sound begins late")
    SourceVideoStore(database).add("/films/other.mp4", "other")
    code, printed = heaters(f"status {video}")
    assert code == 0
    assert "3 waiting" in printed
    assert "other" not in printed
    assert "its sound begins late" in heaters.error
    assert [row["id"] for row in heaters.json(f"status {video}")] == [video]


def test_what_comes_next_depends_on_whether_up_runs(
    heaters: Heaters, settings: Settings, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = barcode_video(tmp_path / "a.mp4", frames=5)
    assert "Next: heaters process, or heaters up" in heaters(f"submit {film}")[1]
    held(database, SCHEDULER, host="desk-7")
    assert "Next: nothing to type. desk-7 does the scheduling, so the work goes on" in heaters(f"submit {film}")[1]
    held(database, SCHEDULER, host="desk-7", state="lost")
    assert "Next: heaters process, or heaters up" in heaters(f"submit {film}")[1]
    with monkeypatch.context() as patch:
        patch.setenv("HEATERS_BROKER_URL", "redis://127.0.0.1:1/0")
        load_settings.cache_clear()
        told = heaters(f"submit {film}")[1]
        assert "Next: heaters up, on the machine that is to give the work to the workers; no machine does that now" in told
    load_settings.cache_clear()
    with held_folder(replace(settings, review_port=8599)):
        told = heaters(f"submit {film}")[1]
        assert "heaters up goes on with the work; watch it at http://127.0.0.1:8599\n" in told, "not the port of here"
        assert heaters("up")[0] == 1
        assert "use that one, at http://127.0.0.1:8599, or end it" in heaters.error


def test_an_undo_says_how_to_do_it_again(heaters: Heaters, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    assert "to undo it: heaters review undo" in heaters(f"review approve {clip.id}")[1]
    assert "to do it again: heaters review redo" in heaters("review undo")[1]
    assert "to undo it: heaters review undo" in heaters("review redo")[1]


def test_approving_what_is_approved_is_no_decision(heaters: Heaters, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    heaters.json(f"review approve {clip.id}")
    assert heaters.json(f"review approve {clip.id}")["action_id"] is None
    assert "approved: nothing to do, the clips are in this state already." in heaters(f"review approve {clip.id}")[1]
    assert len(heaters.json("review history")) == 1


def test_a_clip_that_nothing_is_like_is_told_apart_from_one_that_is_not_there(heaters: Heaters, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    assert heaters("search --like 99")[0] == 1
    assert "there is no clip id:99" in heaters.error
    assert heaters(f"search --like {clip.id}")[0] == 1
    assert "has no embedding: its state is waiting" in heaters.error


def test_retry_of_many_asks_first(heaters: Heaters, database: Database, some_clips: SomeClips) -> None:
    clips = some_clips(*range(10, 100, 8), state=ClipState.EXPORT_FAILED)
    assert heaters("retry")[0] == 2
    assert f"{len(clips)} clips (export failed)" in heaters.error
    assert {clip.state for clip in ClipStore(database).load_live(clips[0].source_video_id)} == {ClipState.EXPORT_FAILED}
    assert len(heaters.json("retry --yes")) == len(clips)


def test_retry_puts_what_failed_back(heaters: Heaters, a_source_video: ASourceVideo) -> None:
    failed = a_source_video(state=SourceVideoState.PREPROCESS_FAILED)
    assert heaters("retry")[0] == 0
    (row,) = heaters.json("status")
    assert (row["id"], row["state"], row["error"]) == (failed.id, "downloaded", None)
    assert "Nothing has failed" in heaters("retry")[1]


def test_single_clips_are_retried_by_their_ids(heaters: Heaters, some_clips: SomeClips) -> None:
    one, two, three = some_clips(30, 60, state=ClipState.EXPORT_FAILED)
    assert len(heaters.json(f"retry --clip {one.id} --clip {three.id}")) == 2
    assert [row["state"] for row in heaters.json(f"clips {two.source_video_id}")] == ["review_approved", "export_failed", "review_approved"]


def test_the_status_says_why_clips_failed_each_reason_once(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    clips = some_clips(20, 40, 60, 80, state=ClipState.EXPORTING)
    reasons = ("the disk is full", "no such frame", "the disk is full", "the clock is wrong", "no picture")
    for clip, reason in zip(clips, reasons, strict=True):
        ClipStore(database).fail(clip.id, EXPORTS, reason, transient=False)
    (row,) = heaters.json("status")
    assert (row["error"], row["clip_errors"][0]) == (None, {"error": "the disk is full", "clips": 2})
    assert {one["error"]: one["clips"] for one in row["clip_errors"][1:]} == dict.fromkeys(set(reasons) - {"the disk is full"}, 1)
    for line in ("status", f"status {row['id']}"):
        told = " ".join(heaters(line)[1].split())
        assert "the disk is full (2 clips); no picture (1 clip); no such frame (1 clip); 1 other reason" in told
    listed = heaters(f"clips {row['id']}")[1]
    assert listed.startswith("The same reason for 2 clips: the disk is full\n")
    assert (listed.count("the disk is full"), listed.count("the reason above"), listed.count("no picture")) == (1, 2, 1)
    reviews(database).skip(clips[0].id, reviewer="ada")
    assert {"error": "the disk is full", "clips": 1} in heaters.json("status")[0]["clip_errors"]


def test_further_exports_can_be_asked_for_and_are_listed(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    (clip,) = some_clips(state=ClipState.EXPORTED)
    (row,) = heaters.json(f"export {clip.id} --profile delivery")
    assert (row["export_profile"], row["state"], row["clip_filepath"]) == ("stream_copy", "exported", clip.clip_filepath)
    exact = {"profile": "stream_copy", "state": "done", "key": clip.clip_filepath, "byte_size": 1000, "error": None}
    assert row["exports"] == [{"profile": "delivery", "state": "waiting", "key": None, "byte_size": None, "error": None}, exact]
    exports, key = ExportStore(database), f"final_clips/video_{clip.source_video_id}_clip_001_delivery.mp4"
    assert exports.claim(clip.id, "delivery", key)
    exports.fail(clip.id, "delivery", "the disk is full", transient=False)
    assert "delivery: the disk is full" in heaters(f"clips {clip.source_video_id}")[1]
    told = " ".join(heaters("status")[1].split())
    assert "1 with another export failed" in told
    assert "the disk is full (1 clip)" in told
    assert heaters(f"retry --clip {clip.id}")[0] == 0
    assert exports.claim(clip.id, "delivery", key)
    assert exports.finish(clip.id, "delivery", clip.cut_point_version, MadeObject(key, 7, {}))
    (row,) = heaters.json(f"clips {clip.source_video_id}")
    assert row["exports"] == [{"profile": "delivery", "state": "done", "key": key, "byte_size": 7, "error": None}, exact]
    printed = heaters(f"clips {clip.source_video_id}")[1]
    assert all(one in printed for one in (key, str(clip.clip_filepath)))
    assert heaters.json(f"export {key}")[0]["id"] == clip.id, "the name of any of its files names the clip"
    assert heaters(f"export {clip.id} --profile tape")[0] == 2


def test_the_cut_list_comes_in_every_format(heaters: Heaters, video: int, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(heaters(f"cutlist {video}")[1])))
    assert [row["start_frame"] for row in rows] == ["0", "20", "40"]
    for form in ("ale", "edl", "fcp7xml", "fcpxml", "otio"):
        target = tmp_path / f"cuts.{form}"
        assert heaters(f"cutlist {video} --format {form} --output {target}")[0] == 0
        assert target.stat().st_size > 0
    before = tmp_path / "before.csv"
    before.write_text("the list of yesterday")
    os.link(before, tmp_path / "cuts.csv")
    (tmp_path / "newest.csv").symlink_to("cuts.csv")
    assert heaters(f"cutlist {video} --output {tmp_path / 'newest.csv'}")[0] == 0
    assert [row["start_frame"] for row in csv.DictReader((tmp_path / "cuts.csv").open())] == ["0", "20", "40"]
    assert before.read_text() == "the list of yesterday", "a list that is ended while it is written leaves the one before it whole"
    assert not list(tmp_path.glob(".*.part"))


def test_a_cut_list_names_the_files_that_the_editor_has(heaters: Heaters, video: int, database: Database) -> None:
    def rows(options: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(heaters(f"cutlist {video} {options}")[1])))

    videos = SourceVideoStore(database)
    videos.update(video, original_filepath=f"originals/video_{video}.mp4", source="/cards/A001/C003 h\u00e4fen.mov")
    assert {row["media"] for row in rows("--media-root /Volumes/Footage")} == {"/Volumes/Footage/C003 h\u00e4fen.mov"}
    assert {row["media"] for row in rows("--media proxy --media-root file:///D:/Footage")} == {f"D:/Footage\\video_{video}_proxy.mp4"}
    handled = rows("--handles 5")
    assert [(row["head_handle_frames"], row["tail_handle_frames"]) for row in handled] == [("0", "5"), ("5", "5"), ("5", "0")]
    assert heaters(f"review skip {video}:2")[0] == 0
    assert [(row["verdict"], row["start_frame"]) for row in rows("--only skipped")] == [("skipped", "20")]
    assert len(rows("--only pending --only skipped --gaps keep")) == 3
    for options, told in (
        ("--only archived", f"source video {video} has no archived clip"),
        ("--media clips", f"source video {video} has no clip with an exported file"),
        ("--media master", f"the gold master of source video {video} is not stored"),
        ("--media-root https://cdn.example/x?signature=1", "is no folder as an editing program's machine sees it"),
    ):
        assert heaters(f"cutlist {video} {options}")[0] == 1
        assert told in heaters.error
    videos.update(video, source="https://example.org/watch?v=1")
    assert {row["media"] for row in rows("--media-root /x")} == {f"/x/video_{video}.mp4"}, "a download has no other name"


def test_cut_lists_have_the_timecode_and_the_reel_of_the_original(heaters: Heaters, video: int, tmp_path: Path) -> None:
    assert heaters(f"facts {video} --timecode 10:00:00:00 --reel A001R2_1234")[0] == 0
    events = [line for line in heaters(f"cutlist {video} --format edl")[1].splitlines() if re.match(r"\d{3}  ", line)]
    assert [line.split()[1] for line in events] == ["A001R2_1"] * 3
    assert [line.split()[4:6] for line in events] == [
        ["10:00:00:00", "10:00:00:20"], ["10:00:00:20", "10:00:01:16"], ["10:00:01:16", "10:00:02:12"]
    ]  # fmt: skip
    proxy = [line for line in heaters(f"cutlist {video} --format edl --media proxy")[1].splitlines() if re.match(r"\d{3}  ", line)]
    assert proxy[0].split()[4] == "00:00:00:00", "this proxy has no timecode, and a program finds a file only at its own"
    for form, head in (("edl", "TITLE"), ("fcpxml", 'version="1.8"'), ("fcpxml --fcpxml-version 1.13", 'version="1.13"'), ("otio", "{")):
        target = tmp_path / f"list.{form.split()[0]}"
        assert heaters(f"cutlist {video} --format {form} -o {target}")[0] == 0
        assert head in target.read_text()[:200]
        assert heaters.json(f"cuts import {video} {target} --dry-run")["cuts"] == [20, 40]


def test_a_companion_file_fits_the_list_of_a_variable_rate(
    heaters: Heaters, video: int, tmp_path: Path, database: Database, object_store: ObjectStore
) -> None:
    import opentimelineio as otio

    source = barcode_video(tmp_path / "phone.mp4", frames=60, vfr=True)
    varies = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), approved=False).id
    assert heaters(f"cutlist {varies}")[0] == 0
    assert "phone has a variable frame rate" in heaters.error
    assert heaters(f"cutlist {varies} --format otio --companion -o {tmp_path / 'cuts.otio'}")[0] == 0
    assert "variable frame rate" not in heaters.error
    timeline = otio.adapters.read_from_file(str(tmp_path / "cuts.otio"))
    shown = barcodes(tmp_path / "cuts_constant_rate.mp4")
    for clip, (first, last) in zip(timeline.video_tracks()[0], ((0, 19), (20, 39), (40, 59)), strict=True):
        assert clip.media_reference.target_url.endswith("/cuts_constant_rate.mp4")
        start, length = (time.to_frames() for time in (clip.source_range.start_time, clip.source_range.duration))
        assert (shown[start], shown[start + length - 1]) == (first, last)
    assert heaters.json(f"cuts import {varies} {tmp_path / 'cuts.otio'} --dry-run")["cuts"] == [20, 40]
    assert heaters(f"cutlist {varies} --companion -o {tmp_path / 'gone' / 'cuts.otio'}")[0] == 1
    unwritten = tmp_path.resolve() / "gone" / "cuts_constant_rate.mp4"
    assert heaters.error == f"heaters: {unwritten}: No such file or directory: make its folder, or name another\n"
    assert heaters(f"cutlist {varies} --companion")[0] == 2
    without_clips = SourceVideoStore(database).add("/films/new.mp4", "new").id
    assert heaters(f"cutlist {without_clips} --companion -o {tmp_path / 'new.csv'}")[0] == 1
    assert "has no clips yet" in heaters.error
    assert heaters(f"cutlist {video} --companion -o {tmp_path / 'constant.csv'}")[0] == 0
    assert "has a constant rate, so there is no companion file" in heaters.error
    # Every seventh frame is missing: all frames have their own numbers at the average of 150/7 too, which no program knows.
    left = [n / 25 for n in range(70) if n % 7 != 3]
    source = barcode_video(tmp_path / "dropped.mp4", frames=60, times=left)
    dropped = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), approved=False).id
    events = [line for line in heaters(f"cutlist {dropped} --format edl")[1].splitlines() if re.match(r"\d{3}  ", line)]
    assert "dropped has a variable frame rate: the list counts at the constant rate 25" in heaters.error
    assert [round(left[frame] * 25) for frame in (20, 40)] == [23, 47]
    assert [line.split()[4] for line in events] == ["00:00:00:00", "00:00:00:23", "00:00:01:22"]


def test_only_formats_that_can_be_read_are_offered_for_import(heaters: Heaters) -> None:
    said = " ".join(heaters("cuts import --help")[1].replace("\u2502", " ").split())
    assert f"{', '.join(one.name for one in readable_formats())}; or one that an installed package adds" in said


def test_cuts_of_another_program_are_imported(heaters: Heaters, video: int, database: Database, tmp_path: Path) -> None:
    def starts() -> list[int]:
        return [clip.start_frame for clip in ClipStore(database).load_live(video)]

    for form in ("edl", "fcpxml", "otio", "csv"):
        assert heaters(f"cutlist {video} --format {form} -o {tmp_path / form}.{form}")[0] == 0
        told = heaters.json(f"cuts import {video} {tmp_path / form}.{form}")
        assert (told["format"], told["cuts"], told["kept_clips"], told["action_id"]) == (form, [20, 40], 3, None)
    head = "Scene Number,Start Frame,End Frame,Start Time (seconds),End Time (seconds)"
    (tmp_path / "scenes.csv").write_text(f"{head}\n1,1,30,x,x\n2,31,60,x,x\n")
    assert heaters(f"review skip {video}:2")[0] == 0
    seen = heaters.json(f"cuts import {video} {tmp_path / 'scenes.csv'} --dry-run")
    assert (seen["added"], seen["removed"], seen["action_id"]) == ([30], [20, 40], None)
    assert seen["clips_with_decisions_replaced"] == [f"{video}:2"]
    assert starts() == [0, 20, 40]
    printed = heaters(f"cuts import {video} {tmp_path / 'scenes.csv'} --dry-run")[1]
    assert "1 cut: 1 added, 2 removed; 0 clips stay as they are." in " ".join(printed.split())
    (tmp_path / "one.csv").write_text(f"{head}\n1,1,20,x,x\n2,21,60,x,x\n")
    printed = heaters(f"cuts import {video} {tmp_path / 'one.csv'} --dry-run")[1]
    assert "1 cut: 0 added, 1 removed; 1 clip stays as it is." in " ".join(printed.split())
    assert heaters(f"cuts import {video} {tmp_path / 'scenes.csv'}")[0] == 1
    assert "with a decision would be replaced" in heaters.error
    assert heaters(f"cuts import {video} {tmp_path / 'scenes.csv'} --force")[0] == 0
    assert starts() == [0, 30]
    undone = heaters("review undo")[1]
    assert undone.startswith("undid importing the cuts of a list: ")
    assert [undone.split().count(word) for word in ("replaced", "archived", "skipped", "waiting")] == [2, 0, 1, 2]
    assert starts() == [0, 20, 40]
    kept = heaters.json(f"cuts import {video} {tmp_path / 'scenes.csv'} --keep --force")
    assert (kept["cuts"], kept["removed"]) == ([20, 30, 40], [])
    (tmp_path / "bad.edl").write_text("001  AX  V  C  00:00:00:00 00:09:00:00 01:00:00:00 01:09:00:00\n")
    assert heaters(f"cuts import {video} {tmp_path / 'bad.edl'}")[0] == 1
    assert heaters.error.startswith("heaters: bad.edl: line 1: 00:09:00.000 lies outside the source video")
    (tmp_path / "cuts.txt").write_text("a")
    for name, data, told in (("none.edl", b" \n", "the file is empty"), ("bytes.edl", b"\0\1", "the file is no text")):
        (tmp_path / name).write_bytes(data)
        assert heaters(f"cuts import {video} {tmp_path / name}")[0] == 1
        assert heaters.error.startswith(f"heaters: {name}: {told}")
    os.mkfifo(tmp_path / "pipe.edl")
    assert heaters(f"cuts import {video} {tmp_path / 'pipe.edl'}")[0] == 1, "it is not waited for"
    assert heaters.error == f"heaters: {tmp_path / 'pipe.edl'} is a named pipe, not an ordinary file; name a file\n"
    assert heaters(f"facts {video} --set-subtitles en={tmp_path / 'pipe.edl'}")[0] == 1
    assert "is a named pipe, not an ordinary file" in heaters.error
    (tmp_path / "premiere.xml").write_text('<?xml version="1.0"?>\n<!DOCTYPE xmeml>\n<xmeml version="5"/>')
    for place, told in (("premiere.xml", "Final Cut Pro 7 XML, as Premiere writes it, cannot be read"), ("", "so it is no FCPXML bundle")):
        assert heaters(f"cuts import {video} {tmp_path / place}")[0] == 1
        assert told in heaters.error
    assert heaters(f"cuts import {video} {tmp_path / 'cuts.txt'}")[0] == 1
    assert "choose one with --format (csv, edl, fcpxml, otio)" in heaters.error


@pytest.mark.parametrize(
    "line",
    [
        "review history --video 99",
        "search words --video 99",
        "clips 99",
        "review approve 99",
        "cuts add 99 5",
        "search --like 99",
        "recut 99",
        "cutlist 99",
        "export 99",
        "process 99",
        "retry 99",
        "retry --clip 99",
        "review approve id:99",
        "review approve 99:1",
        "search --like 1:99",
        "export video_99_clip_001.mp4",
    ],
)
def test_what_is_not_there_is_said_in_a_line(heaters: Heaters, line: str) -> None:
    assert heaters(line)[0] == 1
    assert "99" in heaters.error
    assert "Traceback" not in heaters.error


def test_a_setting_that_cannot_be_used_is_wrong_usage(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATERS_DETECTOR", "eyes")
    load_settings.cache_clear()
    assert heaters("status")[0] == 2
    assert "HEATERS_DETECTOR='eyes'" in heaters.error


def test_a_database_that_is_down_is_said_in_a_line(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATERS_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    load_settings.cache_clear()
    assert heaters("status")[0] == 1
    assert "does not answer" in heaters.error


def test_a_file_that_cannot_be_written_is_said_in_a_line(heaters: Heaters, video: int) -> None:
    assert heaters(f"cutlist {video} -o /nonexistent/x.csv")[0] == 1
    assert heaters.error == "heaters: /nonexistent/x.csv: No such file or directory: make its folder, or name another\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DagsterPostgresException("too many retries for DB connection"), "the database cannot be used: too many retries"),
        (OperationalError("select 1", {}, Exception("server closed the connection\nmore")), "server closed the connection"),
        (DagsterInvariantViolationError("no such run\nmore"), "Dagster: no such run"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
    ],
)
def test_what_breaks_outside_is_said_in_a_line(heaters: Heaters, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    def breaks(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("heaters_dagster.commands.process_due.process_due", breaks)
    assert heaters("process")[0] == 1
    assert told in heaters.error
    assert len(heaters.error.strip().splitlines()) == 1


def test_the_tries_to_reach_a_database_that_is_down_are_not_told_one_by_one(heaters: Heaters, caplog: pytest.LogCaptureFixture) -> None:
    heaters("version")
    with pytest.raises(DagsterPostgresException):
        retry_pg_connection_fn(_no_database, retry_limit=1, retry_wait=0)
    logging.warning("something else")
    assert caplog.messages == ["something else"]


def _no_database() -> None:
    raise OperationalError("connect", {}, Exception("no such server"))


def test_a_defect_of_ours_keeps_its_traceback(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heaters_dagster.commands.process_due.process_due", None)
    with pytest.raises(TypeError):
        heaters("process")


def test_a_home_that_cannot_be_used_is_said_before_anything_is_taken_in(
    heaters: Heaters, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = barcode_video(tmp_path / "a.mp4", frames=5)
    monkeypatch.setenv("HEATERS_HOME", str(film / "home"))
    load_settings.cache_clear()
    for command in (f"submit {film}", "process"):
        assert heaters(command)[0] == 1
        assert f"{film}/home" in heaters.error
        assert "Not a directory" in heaters.error
    assert SourceVideoStore(database).load_all() == []


def test_a_source_video_is_cut_again_with_the_detector_that_is_named(heaters: Heaters, video: int, database: Database) -> None:
    def cut_by() -> tuple[str, float]:
        settings = SourceVideoStore(database).load(video).scene_settings
        assert settings is not None
        return settings["detector"], settings["threshold"]

    def said(line: str) -> str:
        return " ".join(" ".join((heaters(line)[1], heaters.error)).split())

    uncut = f"nothing was cut with the threshold 250 of content, whose default is 27; if it has cuts: heaters recut {video} --threshold 27"
    hint = "Decisions that this has retired: heaters review undo brings them back."
    assert len(heaters.json(f"recut {video} --detector content --threshold 250")) == 1
    assert f"source video {video}: {uncut}" in " ".join(heaters.error.split())
    assert cut_by() == ("content", 250.0)
    assert heaters.json("status")[0]["warnings"] == [uncut]
    assert f"Note: {uncut}" in said(f"status {video}")
    listed = said("status")
    assert f"Source video {video} has notes: heaters status {video} shows them." in listed, "the list names them, and repeats none"
    assert "nothing was cut" not in listed
    assert "waiting" in heaters(f"recut {video} --min-clip-frames 5")[1]
    assert "nothing was cut" not in heaters.error
    assert "notes" not in said("status")
    assert cut_by() == ("content", 27.0)
    assert hint not in said(f"recut {video} --force"), "there was no decision"
    heaters.json(f"review approve --video {video} --all")
    assert heaters(f"recut {video}")[0] == 1
    assert "To cut all the same: --force" in heaters.error
    assert hint not in said(f"recut {video} --force --min-clip-frames 5"), "the cuts are the same, so the decisions stay"
    assert hint in said(f"recut {video} --force --threshold 0.1")
    anew = heaters.json(f"recut {video} --force --threshold 0.1")
    assert len(anew) > 1
    assert {row["state"] for row in anew} == {"pending_review"}


def test_evaluate_says_what_reviewers_did_and_which_threshold_is_better(
    heaters: Heaters, video: int, object_store: ObjectStore, database: Database
) -> None:
    """`content` cuts at 20 and 40; a person removes the cut at 40, whose score is lower."""
    assert "has a decision yet" in heaters("evaluate --detector content")[1]
    assert (heaters("evaluate 99")[0], "there is no source video 99" in heaters.error) == (1, True)
    column = np.zeros(60, np.float32)
    column[[20, 40]] = 80.0, 30.0
    settings = CutSettings("content", 27.0, 2)
    object_store.put_bytes(scenes_key(video), encoded("content", {"content": column}, settings=settings))
    SourceVideoStore(database).update(video, scene_settings=settings.to_json())
    heaters.json(f"cuts remove {video} 40")
    heaters.json(f"review approve --video {video} --all")
    told = heaters.json("evaluate --detector content --compare")
    assert (told["precision"], told["recall"], told["removed"], told["kept"]) == (0.5, 1.0, 1, 1)
    assert (told["best_threshold"], told["saved_corrections"]) == (32.0, 1)
    assert told["as_cut"][0]["cut_by"] == "content at 27"
    assert {row["detector"]: row["source_videos"] for row in told["compared"]}["content"] == 1
    (place,) = [row for row in told["look_at"] if row["frame"] == 40 and row["why"] == "reviewed"]
    assert (place["verdict"], place["is_cut"], place["page"].endswith(f"/?clip={place['clip_id']}")) == ("removed", True, True)
    code, printed = heaters("evaluate --detector content --compare")
    assert code == 0, heaters.error
    for words in ("would have saved 1 of 1 correction", "By threshold", "fewest corrections", "as cut by content at 27", f"{video}:"):
        assert words in printed
    compared = list(csv.DictReader(io.StringIO(heaters("evaluate --detector content --csv compared")[1])))
    assert len(compared) > 1
    assert {row["detector"] for row in compared} == {row["detector"] for row in told["compared"]}, (
        "the table of all detectors needs no --compare beside it"
    )
    rows = list(csv.DictReader(io.StringIO(heaters("evaluate --detector content --csv sweep")[1])))
    assert {row["threshold"]: row["corrections"] for row in rows}["32.0"] == "0"
    assert heaters("evaluate --detector transnetv2")[1].count("1 source video left out") == 1


def test_the_answer_of_a_search_names_the_model(heaters: Heaters, some_clips: SomeClips, database: Database) -> None:
    one, two = some_clips(50, state=ClipState.EMBEDDING)
    for clip in (one, two):
        vector = np.full(VisualDescriptor().dimensions, 0.5, np.float32)
        EmbeddingStore(database).finish_embedding(
            clip.id,
            version=clip.cut_point_version,
            model=VisualDescriptor.model,
            strategy="multi",
            vector=vector / np.linalg.norm(vector),
        )
    FactsStore(database).put(one.source_video_id, SourceFacts(start_timecode="10:00:00:00", timecode_rate="25"), Origin.FILE)
    (hit,) = heaters.json(f"search --like {one.id}")
    assert (hit["clip_id"], hit["model"]) == (two.id, VisualDescriptor.model)
    assert hit["first_timecode"] == f"10:00:{int(two.start_time_seconds):02d}:00"
    assert "built-in visual descriptor" in heaters.error


def test_down_does_not_stop_what_is_not_ours_to_stop(heaters: Heaters) -> None:
    assert heaters("down") == (0, "HEATERS_DATABASE_URL is set: Heaters did not start that Postgres, so it does not stop it.\n")


def test_down_stops_the_embedded_postgres_but_not_under_a_running_up(
    heaters: Heaters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEATERS_DATABASE_URL")
    load_settings.cache_clear()
    assert "was not running" in heaters("down")[1]
    embedded_postgres.ensure_running(settings.postgres_folder, durable=False)
    try:
        with held_folder(settings):
            assert heaters("down")[0] == 1
            assert "end heaters up with Ctrl-C" in heaters.error
        assert embedded_postgres.status(settings.postgres_folder).running
        assert "has stopped" in heaters("down")[1]
        assert not embedded_postgres.status(settings.postgres_folder).running
    finally:
        embedded_postgres.remove(settings.postgres_folder)


def test_what_lets_into_sites_is_read_from_files_or_unseen_and_not_printed(
    heaters: Heaters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("\ufeff# Netscape HTTP Cookie File\n.vimeo.com\tTRUE\t/\tTRUE\t1900000000\tsession\tM4rked\n", "utf-8")
    assert heaters("sites list") == (0, "Nothing is stored for any site. heaters sites sign-in --help says how to sign in.\n")
    code, printed = heaters("sites sign-in https://vimeo.com/1", str(cookies))
    assert code == 0
    assert "Heaters signs in to vimeo.com with 1 cookie, of which the last ends on 2030-03-17." in printed
    assert f"Heaters no longer needs {cookies}. Delete it" in " ".join(printed.split())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Referer: https://example.org/\nX-Api-Key: M4rked\n")))
    assert "2 headers over https: Referer, X-Api-Key." in heaters("sites headers vimeo.com -")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"http://ada:M4rked@proxy.example.org:3128\n")))
    assert heaters("sites proxy example.org")[0] == 0
    rows = heaters.json("sites list")
    assert [(row["site"], row["cookies"], row["ends_on"], row["headers"], row["proxy"], row["changed_by"]) for row in rows] == [
        ("example.org", None, None, None, True, "ada (command line)"),
        ("vimeo.com", "1 cookie", "2030-03-17", "Referer, X-Api-Key", False, "ada (command line)"),
    ]
    assert "M4rked" not in printed + heaters("sites list")[1] + str(rows)
    assert "Forgotten for vimeo.com: headers." in heaters("sites forget vimeo.com --only headers")[1]
    assert heaters("sites forget nowhere.example")[0] == 1
    assert "nothing is stored for nowhere.example" in heaters.error
    cookies.write_bytes(b"M4rked\xff")
    assert heaters("sites sign-in vimeo.com", str(cookies))[0] == 1
    assert ("this is no cookies file: it is not a text in UTF-8" in heaters.error, "M4rked" in heaters.error) == (True, False)
    assert heaters("sites sign-in vimeo.com", str(tmp_path / "none.txt"))[0] == 1
    cookies.write_text("gopher://x")
    assert heaters("sites proxy example.org", str(cookies))[0] == 1
    assert "a proxy is written http://host:3128 or http://user:password@host:3128; it may begin with" in " ".join(heaters.error.split())


def test_the_doctor_goes_on_when_postgres_refuses_in_its_own_words(postgres_url: str) -> None:
    address = make_url(postgres_url).set(database="no_such_database").render_as_string(hide_password=False)
    found = doctor._finding("database", True, lambda: str(psycopg.connect(address)))
    assert (found.ok, 'database "no_such_database" does not exist' in found.told, "\n" in found.told) == (False, True, False)
    with pytest.raises(ZeroDivisionError):
        doctor._finding("database", True, lambda: str(1 / 0))


@pytest.mark.slow
def test_the_doctor_looks_at_everything_and_tells_no_secret(
    heaters: Heaters, monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore
) -> None:
    monkeypatch.setenv("HEATERS_SECRET_KEY", "hush" * 4)
    monkeypatch.setenv("HEATERS_EMBEDDING_MODEL", "/no/such/model")
    load_settings.cache_clear()
    object_store.put_bytes("originals/video_9.mp4", b"of no source video")
    code, printed = heaters("doctor --json")
    findings = {finding["what"]: finding for finding in as_documented("doctor", printed)}
    assert code == 1
    assert {what for what, finding in findings.items() if not finding["ok"]} - {"disk", "web sites"} == {"embedding model", "stored data"}
    assert "originals/video_9.mp4" in findings["stored data"]["told"]
    assert "HEATERS_SECRET_KEY=(set)" in findings["settings"]["told"]
    told = r"yt-dlp of 20\d\d-\d\d-\d\d, \d+ days old \(to renew it, type make update-ytdlp\); the solver of YouTube's challenges works"
    assert re.match(told, findings["web sites"]["told"])
    assert findings["plug-ins of yt-dlp"]["told"] == "none is used (HEATERS_YTDLP_PLUGINS is not set)"
    assert findings["sign-ins"]["told"] == "nothing is stored for any site"
    assert findings["sessions"]["ok"]
    assert "are allowed" in findings["connections"]["told"]
    assert "hush" not in printed


def test_a_store_that_does_not_answer_is_said_before_a_patient_client_waits_for_it(
    heaters: Heaters, buckets: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_between(buckets) as between:
        between.before = lambda asked: None  # every connection is cut
        monkeypatch.setenv("S3_DEV_BUCKET_NAME", buckets.new_bucket())
        monkeypatch.setenv("HEATERS_S3_ENDPOINT_URL", between.url)
        load_settings.cache_clear()
        for command in ("backup --list", "backup", "backup --check", "restore", "report", "storage setup --check"):
            between.asked.clear()
            assert heaters(command)[0] == 1, command
            assert "the store cannot be reached" in " ".join(heaters.error.split()), command
            assert [asked.method for asked in between.asked] == ["GET"] * 2, command


def test_a_bucket_is_set_up_after_a_question_and_the_doctor_looks_at_it(
    heaters: Heaters, buckets: BucketServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = buckets.new_bucket()
    assert heaters("storage setup --check")[0] == 2
    assert "Name a bucket in S3_DEV_BUCKET_NAME or S3_BUCKET_NAME" in " ".join(heaters.error.split())
    monkeypatch.setenv("S3_DEV_BUCKET_NAME", bucket)
    monkeypatch.setenv("HEATERS_S3_ENDPOINT_URL", buckets.url)
    load_settings.cache_clear()
    code, printed = heaters("storage setup --check")
    assert code == 1
    assert f"s3://{bucket} (APP_ENV=development)" in printed
    assert "is not blocked in every way" in printed
    assert heaters("storage setup")[0] == 1
    assert "add --yes to change it" in heaters.error
    before = doctor.about_the_bucket(load_settings())
    assert [(finding.what, finding.ok) for finding in before] == [
        ("browsers and the bucket", True),  # the server lets any page read while it has no rules
        ("links of the CDN", True),
        ("bucket", False),
        ("rights in the bucket", True),
        ("conditional writes", True),
    ]
    assert "To set it, type: heaters storage setup" in before[2].told
    assert heaters("storage setup --yes")[0] == 0
    assert "Nothing has to be changed." in heaters("storage setup --check")[1]
    assert [finding.ok for finding in doctor.about_the_bucket(load_settings())] == [True] * 5
    monkeypatch.setenv("HEATERS_BACKUP_TO", "s3://vault/nightly")
    load_settings.cache_clear()
    backups = json.loads(heaters("storage policy")[1])["Statement"][-1]
    assert backups["Resource"] == ["arn:aws:s3:::vault/nightly/backups/*"]
    assert {"s3:PutObject", "s3:GetObject", "s3:DeleteObject"} <= set(backups["Action"])
    monkeypatch.delenv("HEATERS_BACKUP_TO")
    load_settings.cache_clear()
    policy = json.loads(heaters("storage policy")[1])
    assert policy == least_policy(bucket)
    assert json.dumps(policy) in before[3].told
    setting_up = json.loads(heaters("storage policy --setup")[1])
    assert "s3:PutLifecycleConfiguration" in setting_up["Statement"][0]["Action"]
    assert buckets.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.parametrize("threshold", ["inf", "nan", "-1"])
def test_a_threshold_that_cannot_cut_leaves_the_cuts_as_they_are(
    heaters: Heaters, video: int, object_store: ObjectStore, threshold: str
) -> None:
    before = object_store.info(scenes_key(video))
    assert heaters(f"recut {video} --threshold {threshold}")[0] == 2
    assert "write a number above 0" in heaters.error
    assert object_store.info(scenes_key(video)) == before
    assert [row["start_frame"] for row in heaters.json(f"clips {video}")] == [0, 20, 40]


def test_a_threshold_above_every_score_of_the_detector_is_refused_and_changes_nothing(heaters: Heaters, video: int) -> None:
    for command in (f"recut {video} --detector learned --threshold 5", f"evaluate {video} --detector learned --threshold 5"):
        assert heaters(command)[0] == 2
        assert "threshold 5 of learned: write a number above 0 and at most 1 (its default is 0.5)" in " ".join(heaters.error.split())
    assert [row["start_frame"] for row in heaters.json(f"clips {video}")] == [0, 20, 40]


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seconds with one cut, at frame 24, of a size that is worth a note; and settings that are quick to process it with."""
    monkeypatch.setenv("HEATERS_DETECTOR", "adaptive")
    monkeypatch.setenv("HEATERS_EMBEDDING_MODEL", "/no/such/model")
    load_settings.cache_clear()
    return make_video(tmp_path / "film.mp4", frames=48, scenes=(24,), size=(161, 121), pixel_format="yuv444p")


def test_a_files_name_cannot_command_the_terminal(heaters: Heaters, database: Database) -> None:
    SourceVideoStore(database).add("/films/a.mp4", "a\x1b[2J\u202eb :smile: [red]")
    assert "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b :smile: [red]" in heaters("status")[1]
    assert heaters("submit", "/no/\x1b[2J.mp4")[0] == 1
    assert "there is no file or folder /no/\N{REPLACEMENT CHARACTER}[2J.mp4" in heaters.error


def test_process_says_of_each_run_that_it_has_ended_when_it_has(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    def process_due(settings: object, *, ended: Callable[[RunDone], None], **options: object) -> None:
        ended(RunDone("ingest", 7, ("proxy",), 1.0, None, "run"))
        raise DiskFullError("no room left")

    monkeypatch.setattr("heaters_dagster.commands.process_due.process_due", process_due)
    assert heaters("process") == (1, "source video 7: proxy done in 1.0 s\n")
    assert heaters("process --json") == (1, "")


def test_an_interrupted_process_says_what_becomes_of_its_work(heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("heaters_dagster.commands.process_due.process_due", interrupted)
    assert heaters("process") == (130, "")
    assert "does the interrupted work again" in heaters.error


@pytest.fixture
def web(tmp_path: Path, heaters: Heaters, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server that Heaters may look at, with a page of two videos."""
    monkeypatch.setenv("HEATERS_ALLOW_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("HEATERS_DOWNLOAD_PAUSE_SECONDS", "0")
    load_settings.cache_clear()
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").running() as server:
        server.answers["/page.html"] = web_lists.page("/1.mp4", "/2.mp4", title="Two films")
        yield server


@pytest.mark.slow
def test_process_takes_a_submitted_file_to_review_and_every_command_tells_of_it_as_documented(
    heaters: Heaters, film: Path, tmp_path: Path, web: WebServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.mp4").write_text("these are notes, not a video\n" * 100)
    good, bad = heaters.json("submit", str(film), str(tmp_path / "notes.mp4"))
    code, printed = heaters(f"process {good}")
    assert code == 0, heaters.error
    assert f"source video {good}, film: source_video, proxy, keyframe_offsets, virtual_clips done in " in printed
    assert "2 runs in " in printed
    note = "film: pictures of 161x121 pixels: the proxy shows 160x120 of them"
    assert f"source video {good}, {note}" in " ".join(heaters.error.split())
    assert [(row["start_frame"], row["state"]) for row in heaters.json(f"clips {good}")] == [(0, "pending_review"), (24, "pending_review")]

    code, printed = heaters("process --json")
    assert code == 1
    assert [(run["job"], run["source_video_id"]) for run in as_documented("process", printed)] == [("ingest", bad)]
    assert "notes.mp4 is not a video" in heaters.error
    assert "161x121" not in heaters.error, "nothing was done to that file"
    assert heaters("process") == (0, "Nothing is due.\n")
    monkeypatch.setenv("HEATERS_EMBEDDING_FALLBACK", "true")
    load_settings.cache_clear()
    (tmp_path / "headers.txt").write_text("Referer: https://example.org/")
    assert heaters("sites headers example.org", str(tmp_path / "headers.txt"))[0] == 0
    monkeypatch.setenv("HEATERS_WATCH", str(tmp_path / "incoming"))
    load_settings.cache_clear()
    told = {"submit": [good, bad]}
    make_video(film, frames=24)  # another file under the name of the first
    looks = {"looks_filepath": "metadata/looks.bin", "duration_seconds": 9.0, "frame_seconds": 0.04, "sample": bytes(range(16)) * 16}
    for video in (good, bad):
        RelatedVideos(database).keep_looks(video, **looks)
    for line in (
        f"cuts add {good} 10",
        f"cuts move {good} 10 12",
        f"cuts set {good} 12 --kind dissolve --first 10 --last 13",
        f"cuts list {good}",
        f"cuts remove {good} 12",
        f"review group {good}:2",
        "review undo",
        "review redo",
        f"process {good}",
        f"clips {good}",
        f"search --like {good}:2",
        f"export {good}:2 --profile delivery",
        f"review skip {good}:2",
        f"review archive {good}:2",
        f"review approve {good}:2",
        "review history",
        f"recut {good} --force --threshold 1",
        f"retry {bad}",
        "watched --look",
        "status",
        f"subscribe {web.url}/page.html --only-new",
        "subscriptions --look",
        "unsubscribe 1",
        f"facts {good}",
        f"dismiss {good} {bad}",
        f"refetch {good} --dry-run",
        f"replace {good} --give-up",
        f"rename {good} Harbour",
        f"delete {good} --yes",
        "doctor",
        "sites list",
        "alerts list",
        "migrate",
        "health review",
        "backup",
        "report",
    ):
        told[name_of(line)] = as_documented(line, heaters(f"{line} --json")[1])
    # Tests of their own compare these with the schema; restore needs an empty database, its test is that of backups.
    assert {*told, "restore", "evaluate", "cuts import"} == with_json(), "a command that prints JSON belongs in this list too"
    assert all(told.values()), "an empty list proves nothing"


@pytest.mark.slow
def test_the_demo_takes_a_file_all_the_way(heaters: Heaters, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = cli.terminal.Console(width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(cli.terminal, "out", console)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []

    def ctrl_d(question: str, **options: object) -> bool:
        asked.append(question)
        raise typer.Abort

    monkeypatch.setattr("typer.confirm", ctrl_d)
    code, printed = heaters("demo", str(film))
    assert code == 0, heaters.error
    assert asked == ["Start it now?"], "Ctrl-D there is a no, and no failure of make demo"
    headings, *rows = printed.partition("ready for review")[2].splitlines()[1:4]
    assert headings.split() == ["clip", "frames", "from", "to", "state", "file"], "a table, also in a terminal of 80 columns"
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert "The demo uses the built-in visual descriptor instead" in heaters.error
    assert "film: pictures of 161x121 pixels" in " ".join(heaters.error.split())
    (row,) = heaters.json("status")
    assert (row["state"], row["clips"], row["error"]) == ("scenes_detected", {"embedded": 2}, None)
    for clip in heaters.json(f"clips {row['id']}"):
        assert clip["clip_filepath"] in printed


def test_the_demo_says_why_a_file_is_no_video(heaters: Heaters, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("these are notes, not a video\n" * 100)
    assert heaters("demo /dev/null")[0] == 1
    assert "/dev/null is a device, not an ordinary file" in heaters.error
    for _ in range(2):
        code, printed = heaters(f"demo {notes}")
        assert code == 1
        assert "notes.mp4 is not a video: it holds text" in heaters.error
        assert "the demo has run before" not in printed


def test_the_program_as_installed_answers_quickly_and_without_dagster() -> None:
    """`--help` must not pay for Dagster, torch or Streamlit."""
    script = (
        "import sys; from heaters_dagster import cli; cli.run(['--help']); heavy = {'dagster', 'torch', 'streamlit', 'sqlalchemy', 'av'}"
    )
    script += "; print(sorted(heavy & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT, env={**os.environ, "COLUMNS": "120"}
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0:00.000"), (59.9994, "0:59.999"), (59.9996, "1:00.000"), (3599.9999, "1:00:00.000"), (3723.4565, "1:02:03.456")],
)
def test_a_time_never_shows_sixty_seconds(seconds: float | None, shown: str) -> None:
    assert cli.terminal.clock_time(seconds) == shown


def test_status_says_once_that_nothing_can_be_stored(
    heaters: Heaters, database: Database, buckets: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET_NAME", "none-such")
    monkeypatch.setenv("HEATERS_S3_ENDPOINT_URL", buckets.url)
    for number in range(3):
        SourceVideoStore(database).add(f"/films/{number}.mp4", "film")
    code, _ = heaters("status")
    assert code == 0
    assert " ".join(heaters.error.split()).count("nothing can be stored: there is no bucket none-such") == 1
    assert heaters("process")[0] == 1
    assert "3 runs are due but were not begun" in " ".join(heaters.error.split())


def test_a_source_video_gets_another_title_and_is_deleted_with_everything(
    heaters: Heaters, video: int, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heaters(f"rename {video}", "Talk [1080p] [/b]") == (0, f"Source video {video} is now called Talk [1080p] [/b].\n")
    assert heaters(f"clips {video}")[1].startswith("Talk [1080p] [/b] (ready for review)")
    assert heaters(f"rename {video}", "Harbour at night") == (0, f"Source video {video} is now called Harbour at night.\n")
    assert heaters(f"delete {video}")[0] == 2, "nobody can be asked"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    answers = iter(["Holiday"])
    monkeypatch.setattr("typer.confirm", lambda *words, **options: True)
    monkeypatch.setattr("typer.prompt", lambda *words, **options: next(answers))
    assert heaters(f"delete {video}")[0] == 1
    assert "that is not the title: nothing was deleted" in heaters.error
    assert len(heaters.json(f"clips {video}")) == 3
    gone = heaters.json(f"delete {video} --yes")
    assert (gone["title"], gone["clips"]) == ("Harbour at night", 3)
    assert list(object_store.list()) == []
    assert heaters.json("status") == []
    assert heaters(f"clips {video}")[0] == 1
    assert f"source video {video} (Harbour at night) was deleted" in heaters.error
    assert [entry["action"] for entry in heaters.json(f"review history --video {video}")] == ["delete", "rename", "rename"]
    assert heaters(f"delete {video + 7} --yes")[0] == 1


def test_status_says_which_exports_wait_for_the_gold_master(heaters: Heaters, video: int, database: Database) -> None:
    reviews(database).approve([clip.id for clip in ClipStore(database).load_live(video)[:2]], reviewer="ada")
    assert "gold master is made" not in heaters("status")[1]
    heaters(f"export {ClipStore(database).load_live(video)[0].id} --profile gold_master")
    assert f"{video}: 1 approved clip is exported as soon as the gold master is made" in " ".join(heaters("status")[1].split())


def test_facts_are_shown_changed_and_taken_back(heaters: Heaters, video: int, database: Database) -> None:
    lines = (Line(0.5, 61.25, "The harbour"), Line(61.25, 70.0, "at night"))
    subtitles = SubtitleFile("site", "en-GB", "English", ".vtt", b"", lines)
    TranscriptStore(database).replace_subtitles(video, [(f"subtitles/video_{video}_01_en-gb.vtt", subtitles)])
    FactsStore(database).put(video, SourceFacts(uploader="Grace [/b]", tags=("sea",), description="By the sea"), Origin.SITE)
    FactsStore(database).put(video, SourceFacts(container_tags={"encoder": "Lavf"}), Origin.FILE)
    changed = heaters.json(f"facts {video} --add-tag pier --licence CC0 --chapter", "0:01 Begin", "--chapter", "1:02:03.5 The end")
    assert changed["facts"]["tags"] == ["sea", "pier"]
    assert changed["facts"]["chapters"][1] == {"title": "The end", "start_seconds": 3723.5, "end_seconds": None}
    by_person = dict.fromkeys(("tags", "licence", "chapters"), "person")
    assert changed["said_by"] == {"uploader": "site", "description": "site", "container_tags": "file", **by_person}
    assert changed["subtitles"] == [
        {
            "language": "en-GB",
            "name": "English",
            "kind": "subtitle",
            "origin": "site",
            "lines": 2,
            "key": f"subtitles/video_{video}_01_en-gb.vtt",
        }
    ]
    (status,) = heaters.json(f"status {video}")
    assert status["known"] == changed
    for line in (f"facts {video}", f"status {video}"):
        printed = heaters(line)[1]
        for words in ("Grace [/b]", "sea, pier", "CC0", "en-GB (English): 2 lines", "The end", "By the sea", "encoder: Lavf"):
            assert words in printed, (line, words)
    (printed,) = heaters.json(f"facts {video} --subtitles en")
    assert (printed["kind"], printed["lines"][1]) == ("subtitle", {"start_seconds": 61.25, "end_seconds": 70.0, "text": "at night"})
    assert "1:01.250" in heaters(f"facts {video} --subtitles en-gb")[1]
    (entry, *_) = heaters.json(f"review history --video {video}")
    assert (entry["action"], entry["reviewer"]) == ("edit_facts", "ada")
    assert heaters.json(f"facts {video} --undo")["facts"]["tags"] == ["sea"]
    assert heaters(f"facts {video} --undo")[0] == 1
    assert "nothing to undo: ada has changed no facts" in heaters.error
    assert heaters(f"facts {video} --remove-tag", "harbour")[0] == 1
    assert "has no tag 'harbour'; it has: sea" in heaters.error
    for wrong in ("--place Berlin", "--uploaded-on 31.5.2024", "--subtitles fr"):
        assert heaters(f"facts {video} {wrong}")[0] == 1, wrong
    for wrong in ("--undo --licence CC0", "--tag a --add-tag b"):
        assert heaters(f"facts {video} {wrong}")[0] == 2, wrong
    assert heaters(f"facts {video} --uploader", "")[0] == 0
    assert FactsStore(database).load(video).uploader is None


def test_subtitles_and_the_thumbnail_are_given_and_taken_away(heaters: Heaters, video: int, database: Database, tmp_path: Path) -> None:
    by_machine = SubtitleFile("site", "en", None, ".vtt", b"", (Line(0.5, 1.0, "harpoon"),), AUTOMATIC)
    TranscriptStore(database).replace_subtitles(video, [(f"subtitles/video_{video}_01_en.vtt", by_machine)])
    (tmp_path / "quay.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nThe quay\n")
    (tmp_path / "pier.vtt").write_text("WEBVTT\n\n00:00.100 --> 00:00.500\nThe pier\n\n59:00.000 --> 59:01.000\nlate\n")
    Image.new("RGB", (32, 18), "red").save(tmp_path / "still.webp")

    def names(*arguments: str) -> list[str]:
        return [one["name"] or one["kind"] for one in heaters.json(f"facts {video}", *arguments)["subtitles"]]

    assert names("--set-subtitles", f"en={tmp_path / 'quay.srt'}") == ["automatic", "quay.srt"]
    printed = " ".join(heaters(f"facts {video} --subtitles en")[1].split())
    for words in ("en (made by a machine), kind automatic", "harpoon", "en (quay.srt), kind subtitle", "The quay"):
        assert words in printed
    assert names("--set-subtitles", f"en={tmp_path / 'pier.vtt'}") == ["automatic", "pier.vtt"]
    assert names("--remove-subtitles", "en:automatic") == ["pier.vtt"]
    shown = heaters.json(f"facts {video} --thumbnail", str(tmp_path / "still.webp"))["facts"]["thumbnail_filepath"]
    assert shown.startswith(f"thumbnails/video_{video}_given_")
    assert heaters.json(f"facts {video} --remove-thumbnail")["facts"]["thumbnail_filepath"] is None
    assert heaters.json(f"facts {video} --undo")["facts"]["thumbnail_filepath"] == shown
    assert (names("--undo"), names("--undo"), names("--undo"), names("--undo")) == (
        ["pier.vtt"],
        ["automatic", "pier.vtt"],
        ["automatic", "quay.srt"],
        ["automatic"],
    )
    assert (names("--redo"), names("--redo"), names("--redo")) == (["automatic", "quay.srt"], ["automatic", "pier.vtt"], ["pier.vtt"])
    assert heaters.json(f"facts {video} --redo")["facts"]["thumbnail_filepath"] == shown
    assert heaters.json(f"facts {video} --redo")["facts"]["thumbnail_filepath"] is None
    for wrong, why in [
        ("--redo", "nothing to redo"),
        (f"--set-subtitles en={tmp_path / 'none.srt'}", "none.srt cannot be read: No such file"),
        (f"--set-subtitles en={tmp_path / 'still.webp'}", "still.webp is no subtitle file that can be read"),
        (f"--thumbnail {tmp_path / 'quay.srt'}", "quay.srt is no picture that can be read"),
        ("--remove-subtitles fr", "has no subtitles in 'fr'; it has: en"),
        ("--remove-thumbnail", "has no thumbnail"),
    ]:
        assert heaters(f"facts {video} {wrong}")[0] == 1, wrong
        assert why in heaters.error
    for wrong in ("--set-subtitles en", "--remove-subtitles en:song", "--remove-thumbnail --undo"):
        assert heaters(f"facts {video} {wrong}")[0] == 2, wrong


def test_what_is_said_at_submission_is_kept(heaters: Heaters, tmp_path: Path, database: Database) -> None:
    source = barcode_video(tmp_path / "a.mp4", frames=2)
    (video,) = heaters.json(f"submit {source} --licence CC0 --tag sea --chapters-as-cuts --rights", "training only", "--tag", "täg, pier")
    assert FactsStore(database).load(video) == SourceFacts(licence="CC0", tags=("sea", "täg", "pier"), rights="training only")
    assert SourceVideoStore(database).load(video).chapters_as_cuts


def test_a_list_of_the_web_is_asked_about_and_taken_once(
    heaters: Heaters, web: WebServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        web_lists.Item("/1.mp4", "One\x85", "10:00"),
        web_lists.Item("/2.mp4", "Two", "20:00"),
        web_lists.Item("/3.mp4", "Three", "3:00:00"),
    ]
    web.answers["/feed.xml"] = web_lists.feed(items, title="Talks")
    line = f"submit {web.url}/feed.xml --max-length 1h"
    code, printed = heaters(line)
    assert (code, "--yes" in heaters.error) == (2, True)
    assert printed == "Talks is a list of 3 videos, 3 h 30 min in all. Left out by the limits: 1 too long.\n"
    assert heaters.json("status") == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(cli.terminal, "err", cli.terminal.Console(stderr=True, highlight=False, width=200, force_terminal=True))
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda words, **options: bool(asked.append(words)))
    code, printed = heaters(line)
    assert (asked, "10:00.000" in printed, heaters.json("status")) == (["Submit 2 videos, 30 min in all?"], True, [])
    assert heaters.json(line, "--yes") == [1, 2]
    code, printed = heaters(line)
    assert (code, len(asked)) == (0, 1)
    assert "2 are source videos already: 1, 2. Nothing of it is new." in " ".join(printed.split())
    assert [row["title"] for row in heaters.json("status")] == ["One", "Two"]
    assert heaters.json(f"submit {web.url}/feed.xml --no-expand") == [3]
    assert "Talks is a list that was read as far as needed: 1 video, 10 min in all." in heaters(f"submit {web.url}/feed.xml --most 1")[1]
    SiteTurns(database, per_site=1, pause_seconds=0).refused("127.0.0.1", "its site answers 429", datetime.now(UTC) + timedelta(hours=3))
    code, printed = heaters(f"submit {web.url}/more.xml https://example.org/a.mp4")
    assert (code, printed) == (1, "Submitted as source video 4: a\n")
    told = " ".join(heaters.error.split())
    assert "more.xml is not looked at now: it waits until" in told
    assert told.endswith("its site answers 429. Submit it again later")


def test_lists_in_files_and_on_standard_input(
    heaters: Heaters, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.mp4").write_bytes(b"film %d" % number)
    table = tmp_path / "films.csv"
    table.write_text("address;title;licence;camera\n1.mp4;Harbour;CC0;Sony\n;nothing;;\n2.mp4;Market;;\ngone.mp4;Gone;;\n")
    code, printed = heaters(f"submit {table}")
    assert code == 1
    assert [line.split(": ")[1] for line in printed.splitlines()] == ["Harbour", "Market"]
    told = " ".join(heaters.error.split())
    assert "films.csv: columns that are not known were left aside: camera" in told
    assert "films.csv, line 3: it names no address" in told
    assert f"there is no file or folder {tmp_path}/gone.mp4" in told
    assert FactsStore(database).load(1).licence == "CC0"
    assert heaters(f"submit {tmp_path}/2.mp4 --licence {'x' * 1001}")[0] == 1
    assert "Licence: at most 1,000 characters, not 1,001" in heaters.error
    listed = io.TextIOWrapper(io.BytesIO(b"# more\nhttps://93.184.216.34/talk\n"))
    monkeypatch.setattr(sys, "stdin", listed)
    assert heaters.json("submit", "-") == [3]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert heaters("submit -")[0] == 1
    assert "standard input is empty" in heaters.error


def test_a_list_is_subscribed_looked_at_and_unsubscribed(heaters: Heaters, web: WebServer) -> None:
    assert heaters("subscriptions")[1] == "No subscriptions yet. Subscribe to a list: heaters subscribe ADDRESS\n"
    code, printed = heaters(f"subscribe {web.url}/page.html --every 6h --most 5 --yes --rights training")
    assert code == 0, heaters.error
    assert "Subscribed as subscription 1: Two films, every 6 h; 2 new videos of 2 videos in the list." in printed
    web.answers["/page.html"] = web_lists.page("/3.mp4", "/1.mp4", "/2.mp4", title="Three films")
    code, printed = heaters("subscriptions --look")
    assert code == 0
    assert "subscription 1, Three films: 1 new video of 3 videos in the list" in printed
    assert "the first 5" in printed
    assert [row["title"] for row in heaters.json("status")] == ["Two films (1)", "Two films (2)", "Three films (1)"]
    del web.answers["/page.html"]
    assert heaters("subscriptions --look")[0] == 1
    assert "there is nothing at" in heaters.error
    assert heaters("subscribe /films")[0] == 1
    assert heaters("subscribe https://example.org/x --every soon")[0] == 2
    assert heaters("unsubscribe 1")[1] == "Ended subscription 1, Three films. Its 3 source videos stay.\n"
    assert heaters("unsubscribe 1")[0] == 1


def test_a_backup_is_made_listed_proven_and_restored(
    heaters: Heaters, video: int, monkeypatch: pytest.MonkeyPatch, postgres_url: str, tmp_path: Path
) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    made = heaters.json("backup", "--to", elsewhere)
    assert made["objects"] > made["missing"]
    assert heaters.json("backup --list", "--to", elsewhere) == [made]
    assert heaters.json("backup --list") == []
    folder = f"{elsewhere}/backups"
    assert f"Backupsin{folder}" in re.sub(r"\s", "", heaters("backup --list", "--to", elsewhere)[1]), "a long title is wrapped"
    assert heaters.json("backup --list", "--to", folder) == [made], "the folder that is printed is a place, too"
    assert heaters("restore", "--from", folder)[0] == 1
    assert "the database is not empty, it has rows in" in heaters.error
    assert heaters("restore", "--from", str(tmp_path / "backups"))[0] == 1
    assert f"there is no backup in {tmp_path}/backups/backups" in heaters.error.replace("\n", "")
    damaged = tmp_path / "elsewhere" / "backups" / "20200101T000000Z" / "about.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    code, printed = heaters("backup --list", "--to", elsewhere)
    assert (code, made["name"] in printed) == (1, True), "one that cannot be read hides no other"
    assert "its about.json is damaged. Take another backup" in " ".join(heaters.error.split())
    shutil.rmtree(damaged.parent)
    _, printed = heaters("backup --check --json", "--to", elsewhere)
    assert as_documented("backup", printed)["heaters_rows"] > 0
    assert heaters("backup --check", "--to", "s3://")[0] == 2
    assert heaters("backup --check --list", "--to", elsewhere)[0] == 2
    assert heaters("restore", "--from", elsewhere)[0] == 1
    assert "the database is not empty, it has rows in" in heaters.error
    assert heaters("restore 20200101T000000Z", "--from", elsewhere)[0] == 1
    assert "there is no backup '20200101T000000Z'" in heaters.error

    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("create database restored_by_command")
        url = make_url(postgres_url).set(database="restored_by_command").render_as_string(hide_password=False)
        monkeypatch.setenv("HEATERS_DATABASE_URL", url)
        load_settings.cache_clear()
        try:
            done = heaters.json("restore", "--from", elsewhere)
            assert (done["name"], done["heaters_rows"] + done["dagster_rows"]) == (made["name"], made["rows"])
            assert [one["key"] for one in done["newer"]] == []
            assert heaters.json("status")[0]["id"] == video
        finally:
            server.execute("drop database restored_by_command with (force)")


def test_a_report_says_what_is_stored_what_it_costs_and_what_processing_took(
    heaters: Heaters, settings: Settings, database: Database, video: int, object_store: ObjectStore, tmp_path: Path
) -> None:
    SourceVideoStore(database).update(video, duration_seconds=2.4)
    run = """
        insert into runs (run_id, pipeline_name, status, run_body, partition, start_time, end_time, create_timestamp, update_timestamp)
        values (:id, 'ingest', :status, '', :video, 100, 112, now(), now())
    """
    dagster = Database.connect(dagster_database_url(settings))
    with dagster.begin() as connection:
        for number, status in enumerate(("SUCCESS", "SUCCESS", "FAILURE")):
            connection.execute(text(run), {"id": f"run-{number}", "status": status, "video": str(video)})
    dagster.dispose()
    said = heaters.json("report")
    assert said["bytes"] == sum(info.byte_size for info in object_store.list())
    kinds = {row["kind"]: row for row in said["kinds"]}
    assert set(kinds) == {"originals", "proxies", "frame indexes and scores"}
    assert kinds["proxies"]["storage_class"] == "STANDARD"
    (month,) = said["months"]
    assert (month["videos"], month["bytes"]) == (1, said["bytes"])
    assert [(row["id"], row["bytes"]) for row in said["videos"]] == [(video, said["bytes"])]
    (job,) = said["jobs"]
    assert (job["job"], job["runs"], job["seconds"]) == ("ingest", 2, 24.0)
    # Twelve seconds each, for 2.4 seconds of video: a second run on one video was needed, and costs.
    assert (job["video_seconds"], job["seconds_per_hour"]) == (2.4, 36_000.0)

    code, printed = heaters("report")
    assert code == 0
    assert "machine seconds for an hour of video" in printed
    assert "as of 2026-06-01" in printed
    own = tmp_path / "prices.json"
    own.write_text('{"name": "ours"}')
    assert heaters("report", "--prices", str(own))[0] == 1
    assert f"{own}: the price table lacks" in heaters.error
    assert heaters("report", "--prices", str(tmp_path / "none.json"))[0] == 1

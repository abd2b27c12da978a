"""Stages of clips that work beside the others: due when what they need is made, and in nobody's way."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from sqlalchemy import text

from assets.clip_stage import ClipRun, opened_once, work_through
from heaters_dagster.domain.due import RETRY_AFTER_SECONDS, waiting_to_be_tried, wanted_runs
from heaters_dagster.domain.errors import BusyError, IllegalTransitionError, InvalidMediaError, StoreUnavailableError
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, KEYFRAMES, MAX_ATTEMPTS, Job, Stage, Words, WorkState, with_states
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.object_store.interface import ObjectStore
from resources.postgres import clip_work
from resources.postgres.backlog import Group, work_beside
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.export_store import ExportStore
from tests.conftest import SomeClips
from tests.pipeline_rows import reviews

#: As somebody would add it: no state of its own, beside keyframes and embeddings.
LOUDNESS: Stage[ClipState] = Stage(
    asset="loudness",
    job=Job.ENRICH,
    needs=("exports",),
    artifact="loudness",
    max_attempts=2,
    words=Words("to be measured", "being measured", "measuring failed"),
)
STAGES = (*with_states(CLIP_STAGES), LOUDNESS)


def exported(clip: Clip, database: Database) -> Clip:
    """Lead an approved clip through its export, with LOUDNESS among the stages."""
    key = f"final_clips/video_{clip.source_video_id}_clip_{clip.sequence:03d}.mp4"
    with database.begin() as connection:
        claimed = clip_work.claim(connection, clip.id, EXPORTS, [key])
        assert claimed is not None
        assert clip_work.finish(connection, clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 1, {})], stages=STAGES)
    return ClipStore(database).load(clip.id)


def approved(some_clips: SomeClips, database: Database) -> Clip:
    (clip,) = some_clips()
    reviews(database).approve([clip.id], reviewer="ada")
    return ClipStore(database).load(clip.id)


def work_of(clip: Clip, database: Database) -> dict[str, tuple[WorkState, int, str | None]]:
    with database.read() as connection:
        return {work.stage: (work.state, work.attempts, work.error) for work in clip_work.works(connection, [clip.id])}


def key_of(clip: Clip) -> str:
    return f"loudness/video_{clip.source_video_id}_clip_{clip.sequence:03d}.json"


def measure(clip: Clip, clips: ClipStore, objects: ObjectStore) -> tuple[str] | None:
    claimed = clips.claim(clip.id, LOUDNESS, [key_of(clip)])
    if claimed is None:
        return None
    stored = objects.put_bytes(key_of(clip), b"-23")
    done = clips.finish(clip.id, LOUDNESS, claimed.cut_point_version, [MadeObject(stored.key, stored.byte_size, {})])
    return (stored.key,) if done else None


@pytest.mark.folder
def test_two_stages_work_on_one_clip_side_by_side(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    assert [due.id for due in clips.due(LOUDNESS)] == [due.id for due in clips.due(KEYFRAMES)] == [clip.id]
    still = f"keyframes/video_{clip.source_video_id}_clip_001_mid.jpg"
    assert clips.claim(clip.id, KEYFRAMES, [still])
    assert clips.claim(clip.id, LOUDNESS, [key_of(clip)])
    assert clips.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(still, 1, {})])
    assert clips.finish(clip.id, LOUDNESS, clip.cut_point_version, [MadeObject(key_of(clip), 1, {})])
    assert clips.load(clip.id).state is ClipState.KEYFRAMED
    assert {stage: state for stage, (state, *_) in work_of(clip, database).items()} == {
        "exports": WorkState.DONE,
        "keyframes": WorkState.DONE,
        "loudness": WorkState.DONE,
    }
    assert {artifact.kind for artifact in clips.artifacts(clip.id)} == {"export", "keyframe", "loudness"}
    assert clips.due(LOUDNESS) == []


@pytest.mark.folder
def test_it_is_due_again_after_the_clip_was_exported_again_and_not_while_it_is_not_approved(
    database: Database, some_clips: SomeClips
) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    reviews(database).skip([clip.id], reviewer="ada")
    assert clips.due(LOUDNESS) == []
    assert clips.claim(clip.id, LOUDNESS, []) is None
    reviews(database).approve([clip.id], reviewer="ada")
    assert clips.due(LOUDNESS) == []
    again = exported(clips.load(clip.id), database)
    assert clips.claim(clip.id, LOUDNESS, [])
    assert clips.finish(clip.id, LOUDNESS, again.cut_point_version)
    ExportStore(database).request(clip.id, "stream_copy")
    exported(clips.load(clip.id), database)
    assert [due.id for due in clips.due(LOUDNESS)] == [clip.id]


@pytest.mark.folder
def test_what_was_made_of_a_clip_that_changed_meanwhile_is_obsolete(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    assert clips.claim(clip.id, LOUDNESS, [key_of(clip)])
    reviews(database).skip([clip.id], reviewer="bob")
    assert not clips.finish(clip.id, LOUDNESS, clip.cut_point_version, [MadeObject(key_of(clip), 1, {})])
    assert key_of(clip) in {artifact.key for artifact in clips.artifacts(clip.id, states=["obsolete"])}


@pytest.mark.folder
def test_failed_tries_are_its_own_and_a_retry_takes_it_up_again(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    assert clips.fail(clip.id, LOUDNESS, "the disk is full", transient=True)
    assert work_of(clip, database)["loudness"] == (WorkState.FAILED, 1, "the disk is full")
    assert [due.id for due in clips.due(LOUDNESS)] == [clip.id]
    assert clips.fail(clip.id, LOUDNESS, "the disk is full", transient=True)
    assert work_of(clip, database)["loudness"] == (WorkState.FAILED, MAX_ATTEMPTS, "the disk is full")
    assert clips.due(LOUDNESS) == []
    now = clips.load(clip.id)
    assert (now.state, now.attempts, now.error) == (ClipState.EXPORTED, 0, None)
    with database.begin() as connection:
        assert [one.id for one in clip_work.failed_clips(connection, clip.source_video_id, 10, STAGES)] == [clip.id]
        clip_work.retry(connection, clip.id, STAGES)
    assert work_of(clip, database)["loudness"] == (WorkState.WAITING, 0, None)
    with pytest.raises(IllegalTransitionError, match="nothing to retry"), database.begin() as connection:
        clip_work.retry(connection, clip.id, STAGES)


@pytest.mark.folder
def test_its_work_is_asked_for_with_that_of_its_job(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    (run,) = [run for run in wanted_runs(load_video_facts(database, stages=STAGES), set(), stages=STAGES) if run.job is Job.ENRICH]
    assert (run.partition_key, run.assets, run.resumes) == (str(clip.source_video_id), ("keyframes", "embeddings", "loudness"), False)
    still = f"keyframes/video_{clip.source_video_id}_clip_001_mid.jpg"
    assert clips.claim(clip.id, KEYFRAMES, [still])
    clips.fail(clip.id, KEYFRAMES, "no", transient=False)
    assert clips.claim(clip.id, LOUDNESS, [])
    (run,) = [run for run in wanted_runs(load_video_facts(database, stages=STAGES), set(), stages=STAGES) if run.job is Job.ENRICH]
    assert (run.assets, run.resumes) == (("loudness",), True)
    clips.fail(clip.id, LOUDNESS, "the disk is full", transient=True)
    (facts,) = load_video_facts(database, stages=STAGES)
    assert not [run for run in wanted_runs([facts], set(), stages=STAGES) if run.job is Job.ENRICH]
    assert facts.work[0].seconds_since_change < RETRY_AFTER_SECONDS
    assert waiting_to_be_tried([facts]) == 1
    with database.read() as connection:
        (group,) = work_beside(connection, STAGES)
    assert group == Group("clips", "measuring failed", 1, True, 0, group.oldest, ("Holiday",))


@pytest.mark.folder
def test_clips_of_before_the_stage_was_added_are_taken_up_once(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), approved(some_clips, database)
    claimed = clips.claim(clip.id, EXPORTS, ["final_clips/a.mp4"])
    assert claimed is not None
    assert clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject("final_clips/a.mp4", 1, {})])
    some_clips()  # waits for review
    assert clips.due(LOUDNESS) == []
    with database.begin() as connection:
        assert clip_work.enqueue(connection, STAGES) == 1
        assert clip_work.enqueue(connection, STAGES) == 0
    assert [due.id for due in clips.due(LOUDNESS)] == [clip.id]


def test_the_loop_does_what_is_due_and_what_becomes_due_meanwhile(
    database: Database, object_store: ObjectStore, some_clips: SomeClips
) -> None:
    clips = ClipStore(database)
    made = some_clips(30, 60)
    reviews(database).approve([clip.id for clip in made], reviewer="ada")
    first, second, third = (clips.load(clip.id) for clip in made)
    exported(first, database)
    exported(second, database)
    readings: list[Progress] = []

    def make(clip: Clip) -> tuple[str] | None:
        if clip.id == first.id:
            exported(third, database)
        if clip.id == second.id:
            raise InvalidMediaError("its sound cannot be read")
        return measure(clip, clips, object_store)

    options = {"database": database, "objects": object_store, "report": readings.append}
    done = work_through(LOUDNESS, first.source_video_id, make, **options)  # type: ignore[arg-type]
    assert done == ClipRun(
        made=(key_of(first), key_of(third)),
        clip_ids=(first.id, third.id),
        failed={second.id: "its sound cannot be read"},
    )
    assert (readings[-1].stage, readings[-1].done, readings[-1].total) == ("loudness", 3, 3)
    assert work_of(second, database)["loudness"] == (WorkState.FAILED, MAX_ATTEMPTS, "its sound cannot be read")
    with database.stage_lock("loudness", first.source_video_id), pytest.raises(BusyError):
        work_through(LOUDNESS, first.source_video_id, make, database=database, objects=object_store)


def test_what_could_not_be_opened_is_not_opened_again_for_every_clip() -> None:
    calls = []

    def broken() -> str:
        calls.append(1)
        raise StoreUnavailableError("away")

    get = opened_once(broken)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="away"):
            get()
    assert calls == [1]
    assert opened_once(lambda: "a model")() == "a model"


@pytest.mark.folder
def test_what_was_left_by_a_stage_that_was_removed_ends_no_clean_up(database: Database, some_clips: SomeClips) -> None:
    clips, clip = ClipStore(database), exported(approved(some_clips, database), database)
    assert clips.claim(clip.id, LOUDNESS, [key_of(clip)])
    reviews(database).skip([clip.id], reviewer="ada")
    with database.begin() as connection:
        connection.execute(text("update clip_artifacts set state = 'obsolete' where kind = 'export'"))
    deleted: list[str] = []
    assert len(clips.clean_up(clip.id, deleted.append)) == 1
    assert clips.obsolete_artifacts() == [], "another machine may have the stage, and be writing"
    with database.begin() as connection:
        connection.execute(text("update clip_artifacts set created_at = created_at - interval '25 hours' where kind = 'loudness'"))
    assert [artifact.key for artifact in clips.obsolete_artifacts()] == [key_of(clip)]
    assert clips.clean_up(clip.id, deleted.append) == [key_of(clip)] == deleted[1:]


_WITH_THE_STAGE_OF_THE_RECIPE = """
import re, sys, types
from pathlib import Path
import heaters_dagster.domain

path = Path(heaters_dagster.domain.__file__).with_name("stages.py")
recipe = re.search(r"```python\\n(.*?)```", Path("docs/how-to-add.md").read_text(), re.S)[1]
source = path.read_text()
(line,) = re.findall(r"^CLIP_STAGES: .*\\)\\n", source, re.M)
new = re.sub("^   ", "", recipe, flags=re.M) + line.replace(")\\n", ", LOUDNESS)\\n")
module = sys.modules["heaters_dagster.domain.stages"] = types.ModuleType("heaters_dagster.domain.stages")
exec(compile(source.replace(line, new), path, "exec"), module.__dict__)
"""
_AND_THE_WAYS_TO_SEE_IT = """
import json
from heaters_dagster import cli
for command in ("status", "clips"):
    cli.run([command, sys.argv[1]])

from heaters_dagster.settings import load_settings
from resources.object_store.open import open_object_store
from resources.postgres.database import open_database
from review_app.screens.exports import exports_table
from heaters_dagster.domain.review_queue import QueueFilter
from review_app.service.links import Session, open_links
from review_app.service.review_desk import ReviewDesk
from tests.review.test_screens import labels, page, told

settings = load_settings()
desk = ReviewDesk(settings=settings, database=open_database(settings), objects=open_object_store(settings), links=open_links(settings))
videos, clips = page("videos", desk), page("clips", desk)
assert not videos.exception and not clips.exception
print("SOURCE VIDEOS", told(videos).replace("\\\\", ""), labels(videos))
(grid,) = clips.get("bidi_component")
live = desk.clips.load_live(int(sys.argv[1]))
answer = desk.queue(Session(1, "Ada"), QueueFilter(), limit=1, open_clip_id=live[1].id)
print("PLAYER", [(one["state"], one["beside"]) for one in answer.body["clips"]])
print("CLIPS", [card["state_words"] for card in json.loads(grid.proto.json)["cards"]])
exports = desk.exports.of_clips([clip.id for clip in live])
print("EXPORTS", exports_table(live, exports, lambda clip_id, profile: "", desk.clips.words_beside(live)))
"""


@pytest.mark.folder
def test_commands_and_pages_say_what_it_does(database: Database, settings: Settings, some_clips: SomeClips) -> None:
    """The line of the recipe in docs/how-to-add.md is all they need."""
    clips = ClipStore(database)
    made = some_clips(30, 60)
    reviews(database).approve([clip.id for clip in made], reviewer="ada")
    first, second, _ = (exported(clips.load(clip.id), database) for clip in made)
    assert clips.claim(first.id, LOUDNESS, [])
    assert clips.finish(first.id, LOUDNESS, first.cut_point_version)
    clips.fail(second.id, LOUDNESS, "its sound cannot be read", transient=False)
    here = clips.words_beside(clips.load_live(first.source_video_id))
    assert not any("measur" in words for words in here.values()), "this process does not have the stage"
    script = _WITH_THE_STAGE_OF_THE_RECIPE + _AND_THE_WAYS_TO_SEE_IT
    environment = child_environment(settings, COLUMNS="200", PYTHONPATH=str(PROJECT_ROOT))
    done = subprocess.run(
        [sys.executable, "-c", script, str(first.source_video_id)], capture_output=True, text=True, cwd=PROJECT_ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    commands, videos, player, grid, exports = re.split("^(?:SOURCE VIDEOS|PLAYER|CLIPS|EXPORTS) ", done.stdout, flags=re.M)
    assert "3 exported, 1 measuring failed, 1 to be measured" in commands
    assert "measuring failed: its sound cannot be read" in commands
    assert "3 exported, 1 measuring failed, 1 to be measured" in videos
    assert "Retry" in videos
    here = "('exported', ''), ('exported', 'measuring failed: its sound cannot be read'), ('exported', 'to be measured')"
    assert player.strip() == f"[{here}]"
    assert grid.strip() == "['exported', 'exported · measuring failed: its sound cannot be read', 'exported · to be measured']"
    assert "<td>exported · measuring failed: its sound cannot be read</td>" in exports

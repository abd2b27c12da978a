"""A changed setting marks as stale in Dagster just what it changes; a run of that makes it again, and no decision is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from assets.exports import export_problems
from assets.made_with import code_version
from assets.proxy import make_proxy
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain import profiles
from heaters_dagster.domain.errors import FfmpegError
from heaters_dagster.domain.keys import final_clip_key, keyframe_key, proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.stages import STAGES, Job
from heaters_dagster.domain.states import ClipState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.registries import EXPORT_PROFILES
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.making_store import MakingStore
from resources.postgres.source_video_store import SourceVideoStore
from tests.media_files import make_video
from tests.pipeline_rows import reviews
from tests.proxy_files import written_at

pytestmark = pytest.mark.folder

MADE = {asset for stage in STAGES for asset in stage.makes} - {"archived_clips", "proxy_pieces"}


class Pipeline:
    """One source video with two exported and searchable clips, and Dagster's word on what is stale."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore, film: Path) -> None:
        self.settings, self.database, self.objects = settings, database, objects
        self.clips = ClipStore(database)
        self.video = SourceVideoStore(database).add(str(film), "film").id
        assert process_due(settings).failures == []
        reviews(database).approve([clip.id for clip in self.clips.load_live(self.video)], reviewer="ada")
        assert process_due(settings).failures == []

    def stale(self, instance: dg.DagsterInstance, settings: Settings) -> Mapping[str, set[str]]:
        """Asset -> why it is stale under these settings: CODE, DATA or DEPENDENCIES. Fresh ones are left out."""
        graph = heaters_definitions(settings).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        causes = {asset: resolver.get_stale_causes(dg.AssetKey(asset), str(self.video)) for asset in MADE}
        return {asset: {cause.category.value for cause in found} for asset, found in causes.items() if found}

    def run(self, instance: dg.DagsterInstance, settings: Settings, job: Job, *assets: str) -> None:
        """As a person does who asks Dagster for these assets of the partition."""
        keys = [dg.AssetKey(asset) for asset in assets]
        resolved = heaters_definitions(settings).resolve_job_def(job.value)
        assert resolved.execute_in_process(instance=instance, partition_key=str(self.video), asset_selection=keys).success

    def decisions(self) -> list[tuple[int, int, int, bool]]:
        return [(one.id, one.start_frame, one.end_frame, one.state != ClipState.PENDING_REVIEW) for one in self.clips.load_live(self.video)]

    def files(self) -> dict[str, object]:
        keys = [proxy_key(self.video), *(final_clip_key(self.video, number) for number in (1, 2))]
        return {key: written_at(self.objects, key) for key in keys}


@pytest.fixture
def pipeline(settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path) -> Pipeline:
    settings = replace(settings, detector="adaptive", embedder="visual_descriptor", keyframe_strategy="midpoint")
    return Pipeline(settings, database, object_store, make_video(tmp_path / "film.mp4", frames=48, scenes=(24,)))


def another(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORT_PROFILES._loaded, profile, replace(EXPORT_PROFILES.load(profile), version=2))


def another_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "PROXY_VIDEO", {**profiles.PROXY_VIDEO, "crf": 30})


def test_proxies_with_the_rate_control_of_before_are_as_good(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = code_version("proxy", settings)
    before = {name: value for name, value in profiles.PROXY_VIDEO.items() if name != "qcomp"}
    monkeypatch.setattr(profiles, "PROXY_VIDEO", {**before, "crf": 20})
    assert code_version("proxy", settings) == now
    monkeypatch.setattr(profiles, "PROXY_VIDEO", {**before, "crf": 25})
    assert code_version("proxy", settings) != now


#: Setting -> the asset that it changes. Every other one changes nothing that is made; what a fallback made is made anew every night.
MARKS = {
    "detector": "virtual_clips",
    "detector_threshold": "virtual_clips",
    "min_clip_frames": "virtual_clips",
    "keep_places": "gold_master",
    "keep_camera": "gold_master",
    "trim_transitions": "exports",
    "keyframe_strategy": "keyframes",
    "keyframe_percentages": "keyframes",
    "embedder": "embeddings",
    "embedding_model": "embeddings",
}
ANOTHER: Mapping[str, Any] = {"detector": "content", "embedder": "visual_descriptor", "keyframe_strategy": "tag", "keep_camera": "none"}
_OF_KIND = {
    "bool": lambda now: not now,
    "int": lambda now: (now or 1) + 1,
    "float": lambda now: (now or 1.0) + 1,
    "Path": lambda now: Path("/x"),
}


def another_value(settings: Settings, name: str, kind: str) -> Any:
    if name in ANOTHER:
        return ANOTHER[name]
    now = getattr(settings, name)
    if kind.startswith("tuple"):
        return (10.0,) if "float" in kind else ("x",)
    return _OF_KIND.get(kind.partition(" ")[0], lambda now: f"{now or ''}x")(now)


@pytest.mark.parametrize("setting", [spec.name for spec in fields(Settings)])
def test_each_setting_changes_the_code_version_of_just_what_it_changes(setting: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, embedding_model="no-such-model")
    kind = next(str(spec.type) for spec in fields(Settings) if spec.name == setting)
    other = replace(settings, **{setting: another_value(settings, setting, kind)})
    assert getattr(other, setting) != getattr(settings, setting)
    changed = {asset for asset in MADE if code_version(asset, other) != code_version(asset, settings)}
    assert changed == ({MARKS[setting]} if setting in MARKS else set())


def test_a_changed_setting_marks_what_it_changes_and_a_run_makes_only_that_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, changed = pipeline.settings, {"keyframe_strategy": "tag"}
    with open_instance(settings) as instance:
        assert pipeline.stale(instance, settings) == {}
        for other, asset in [
            ({"detector_threshold": 9.0}, "virtual_clips"),
            ({"detector": "content"}, "virtual_clips"),
            ({"min_clip_frames": 7}, "virtual_clips"),
            ({"embedder": "clip"}, "embeddings"),
            (changed, "keyframes"),
            ({"keyframe_percentages": (10.0,)}, None),  # the strategy midpoint has no percentages
            ({"review_port": 9000}, None),
        ]:
            assert pipeline.stale(instance, replace(settings, **other)) == ({asset: {"CODE"}} if asset else {})
        with monkeypatch.context() as patch:
            another("delivery", patch)
            assert pipeline.stale(instance, settings) == {"exports": {"CODE"}}
        with monkeypatch.context() as patch:
            another_proxy(patch)
            assert pipeline.stale(instance, settings) == {"proxy": {"CODE"}, "keyframe_offsets": {"CODE"}}

        before, files, tags = pipeline.decisions(), pipeline.files(), replace(settings, **changed)
        pipeline.run(instance, tags, Job.ENRICH, "keyframes")
        first = pipeline.clips.load_live(pipeline.video)[0]
        assert pipeline.clips.live_artifact_keys(first.id, "keyframe") == [
            keyframe_key(pipeline.video, first.sequence, tag) for tag in ("end", "mid", "start")
        ]
        assert pipeline.stale(instance, tags) == {"embeddings": {"DATA"}}
        pipeline.run(instance, tags, Job.ENRICH, "embeddings")
        assert pipeline.stale(instance, tags) == {}

        # Review has begun: the cuts are the people's now, and what is made from them is as fresh as before.
        other_cuts = replace(tags, detector_threshold=200.0)
        pipeline.run(instance, other_cuts, Job.INGEST, "virtual_clips")
        assert pipeline.stale(instance, other_cuts) == {}
        assert (pipeline.decisions(), pipeline.files()) == (before, files)
        assert {clip.state for clip in pipeline.clips.load_live(pipeline.video)} == {ClipState.EMBEDDED}


def test_a_new_proxy_profile_makes_proxy_and_exports_again_with_the_same_cuts_and_decisions(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, before, files, making = pipeline.settings, pipeline.decisions(), pipeline.files(), MakingStore(pipeline.database)
    another_proxy(monkeypatch)

    def die(*arguments: Any, **options: Any) -> None:
        raise FfmpegError("killed")

    with monkeypatch.context() as patch:  # the index is the new one, and the process dies before the file is
        patch.setattr(pipeline.objects, "put_file", die)
        with pytest.raises(FfmpegError, match="killed"):
            make_proxy(
                pipeline.video,
                videos=SourceVideoStore(pipeline.database),
                objects=pipeline.objects,
                work=WorkFolder(settings.work_folder),
                detector="adaptive",
                making=making,
                made_with="another",
            )
    assert [facts.id for facts in load_video_facts(pipeline.database) if facts.proxy_is_half_written] == [pipeline.video]
    done = process_due(settings)  # by itself, and once
    assert (done.failures, [run.assets for run in done.runs]) == ([], [("proxy", "keyframe_offsets")])
    assert not making.load(pipeline.video).proxy_is_being_replaced

    with open_instance(settings) as instance:
        assert pipeline.files()[proxy_key(pipeline.video)] != files[proxy_key(pipeline.video)]
        assert pipeline.stale(instance, settings) == {"virtual_clips": {"DATA"}, "exports": {"DATA"}}
        pipeline.run(instance, settings, Job.INGEST, "virtual_clips")
        pipeline.run(instance, settings, Job.EXPORT, "exports")
        assert all(pipeline.files()[key] != written for key, written in files.items())
        pipeline.run(instance, settings, Job.ENRICH, "keyframes", "embeddings")
        assert pipeline.stale(instance, settings) == {}
        made = pipeline.files()
        for job, assets in ((Job.INGEST, ("proxy", "keyframe_offsets")), (Job.EXPORT, ("exports",))):
            pipeline.run(instance, settings, job, *assets)  # nothing has changed since
        assert pipeline.files() == made
    assert pipeline.decisions() == before
    for clip in pipeline.clips.load_live(pipeline.video):
        (export,) = pipeline.clips.artifacts(clip.id, kind="export")
        manifest, work = ExportManifest.from_json(export.manifest), WorkFolder(tmp_path / "work")
        assert export_problems(manifest, objects=pipeline.objects, work=work) == []

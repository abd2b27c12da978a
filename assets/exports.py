"""`exports`: a file for each approved clip as soon as it is approved, then those that were asked for beside it; each is proven first."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from assets import metadata
from assets.clip_stage import ClipRun, ClipTask, clip_asset, materialized, work_through
from assets.made_with import export_made_with
from assets.stage_run import StageRun
from heaters_dagster.domain.cold_storage import Restore, RestoreOffer, RestoreTerms
from heaters_dagster.domain.export_profile import ExportProfile, MadeFrom
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.registries import EXPORT_PROFILES
from resources.clips.clip_writer import ClipWriter, installed_profile
from resources.clips.written_clip import ends_in_proxy, proof_of, read_back
from resources.files.price_table import restore_terms
from resources.media.frame_index_reader import FrameIndexes
from resources.media.proxy_bytes import open_proxy
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.making_store import MakingStore
from resources.postgres.measured import measure_approval_to_file
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.stage_progress import told_turn
from resources.upkeep.cold_masters import asked_back, unanswered

#: Exports that encode take turns, HEATERS_ENCODES at a time on a machine; exports by stream copy cost almost nothing and never wait.
#: They do not wait for proxies, which may take hours.
ENCODED_EXPORT = "encoded export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What it takes to export the clips of one source video.

    writer: of that video, opened when first asked for. made_with: of an export profile, see `assets.made_with`. is_on_its_way:
    whether a file with this profile waits for a gold master in cold storage, or for a person who agrees to get it back. trims: every file
    leaves out the transitions at the ends of its clip, see `Settings.trim_transitions`.
    """

    clips: ClipStore
    exports: ExportStore
    writer: Callable[[], ClipWriter]
    made_with: Callable[[ExportProfile], str | None] = lambda profile: None
    is_on_its_way: Callable[[ExportProfile], bool] = lambda profile: False
    objects: ObjectStore
    work: WorkFolder
    report: Report = silent
    trims: bool = False


def export_clip(clip_id: int, *, to: Exporting) -> ExportManifest | None:
    """Make the first export of a clip that is approved, or was left `exporting` by a process that died.

    Claim, write, prove, publish, finish. Hold `Database.stage_lock("exports", source_video_id)`. None when the clip is not due, or when a
    reviewer changed it meanwhile: the file made from its old state is then deleted, and its new state says what follows.
    Raises what `ClipWriter.write` and the object store raise; the clip is then still `exporting`.
    """
    clip = to.clips.load(clip_id)
    profile = installed_profile(clip.export_profile, clip)
    if to.is_on_its_way(profile):
        return None
    key = to.exports.key_for(clip, profile)
    claimed = to.clips.claim(clip_id, EXPORTS, [key])
    if claimed is None or claimed.export_profile != profile.name:
        return None
    made, manifest = _published(claimed, profile, key, to)
    # Nobody waits for a file that is made anew.
    also = partial(measure_approval_to_file, clip_id=clip_id) if clip.is_virtual else lambda connection: None
    if not to.clips.finish(clip_id, EXPORTS, claimed.cut_point_version, [made], also=also, made_with=to.made_with(profile)):
        to.clips.clean_up(clip_id, to.objects.delete)
        return None
    return manifest


def export_further(clip: Clip, name: str, *, to: Exporting) -> ExportManifest | None:
    """Make an export of a clip beside its first one, with the profile called `name`; otherwise as `export_clip`.

    The clip stays in its state, and its first file as it is.
    """
    profile = installed_profile(name, clip)
    if to.is_on_its_way(profile):
        return None
    key = to.exports.key_for(clip, profile)
    claimed = to.exports.claim(clip.id, name, key)
    if claimed is None:
        return None
    made, manifest = _published(claimed, profile, key, to)
    if not to.exports.finish(clip.id, name, claimed.cut_point_version, made, made_with=to.made_with(profile)):
        to.clips.clean_up(clip.id, to.objects.delete)
        return None
    return manifest


def _published(clip: Clip, profile: ExportProfile, key: str, to: Exporting) -> tuple[MadeObject, ExportManifest]:
    with to.work.attempt(f"export-{clip.id}", bytes_needed=0) as folder:  # the writer asks for what it needs
        made = replace(profile, trims=profile.trims or to.trims)
        ends = to.clips.ends_with(clip) if made.trims else None
        path, manifest = to.writer().write(clip, made, key=key, folder=folder, ends=ends, report=to.report)
        to.objects.put_file(key, path)
    return MadeObject(key, manifest.byte_size, manifest.to_json()), manifest


def export_due(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    work: WorkFolder,
    terms: RestoreTerms | None = None,
    encodes: int = 1,
    report: Report = silent,
    trims: bool = False,
    **options: Any,
) -> ClipRun[ExportManifest]:
    """Export every clip of a source video that is due, and those approved while it works, until none is left; see `work_through`.

    encodes: how many exports are encoded at the same time on this machine. terms: on which a gold master is asked back from cold storage,
    once a person has agreed; until it is there exports from it are not due. None: none is asked back, and exports from it fail.
    trims: see `Exporting`.
    Files that were made with an older version of their profile, or from a proxy or gold master that was made anew, are made again.
    """

    def turn_to_encode() -> AbstractContextManager[None]:
        return told_turn(database, ENCODED_EXPORT, at_once=encodes, asset=EXPORTS.asset, report=report)

    with ExitStack() as opened:

        @cache
        def writer() -> ClipWriter:
            video = SourceVideoStore(database).load(source_video_id)
            time = FactsStore(database).load(source_video_id).usable_source_time(video.frame_rate)
            opening = ClipWriter(video, objects=objects, indexes=FrameIndexes(objects), turn_to_encode=turn_to_encode, time=time)
            return opened.enter_context(opening)

        exports, making = ExportStore(database), MakingStore(database).load(source_video_id)

        def of_profile(profile: ExportProfile) -> str:
            made = replace(profile, trims=profile.trims or trims)
            return export_made_with(made, SourceVideoStore(database).load(source_video_id), making)

        def begin_again() -> None:
            exports.begin_again(source_video_id, {profile.name: of_profile(profile) for profile in EXPORT_PROFILES.variants()})

        @cache
        def restore() -> Restore | RestoreOffer | None:
            return None if terms is None else asked_back(source_video_id, database=database, objects=objects, terms=terms)

        to = Exporting(
            clips=ClipStore(database),
            exports=exports,
            writer=writer,
            made_with=of_profile,
            is_on_its_way=lambda profile: profile.made_from is MadeFrom.GOLD_MASTER and restore() is not None,
            objects=objects,
            work=work,
            report=report,
            trims=trims,
        )

        def further(clip: Clip, profile: str) -> ClipTask[ExportManifest]:
            fail = partial(exports.fail, clip.id, profile, expected_version=clip.cut_point_version)
            return ClipTask(clip, profile, lambda: _made(export_further(clip, profile, to=to)), fail)

        return work_through(
            EXPORTS,
            source_video_id,
            lambda clip: _made(export_clip(clip.id, to=to)),
            database=database,
            objects=objects,
            report=report,
            further=lambda: [further(clip, profile) for clip, profile in exports.due(source_video_id)],
            begin_again=begin_again,
            **options,
        )


def _made(manifest: ExportManifest | None) -> tuple[ExportManifest] | None:
    return None if manifest is None else (manifest,)


def export_problems(manifest: ExportManifest, *, objects: ObjectStore, work: WorkFolder) -> list[str]:
    """How a published export differs from its manifest and from the proxy, one sentence each; empty when it does not.

    Reads the whole file and two frames of the proxy. Different pictures in a file that was encoded again are no problem.
    """
    with work.attempt(f"check-{manifest.clip_id}") as folder:
        path = objects.local_path(manifest.key)
        if path is None:
            path = folder / PurePosixPath(manifest.key).name
            objects.get_file(manifest.key, path)
        found = replace(manifest, **proof_of(path, read_back(path), _ends_in_proxy(manifest, objects)))
    profile = EXPORT_PROFILES.find(manifest.profile)
    exact = profile is not None and profile.exact
    said, is_so = manifest.to_json(), found.to_json()
    differences = [f"{name} is {is_so[name]}, the manifest says {said[name]}" for name in said if said[name] != is_so[name]]
    return [f"{manifest.key}: {problem}" for problem in (*found.problems(exact=exact), *differences)]


def shows_clip(clip: Clip, key: str, *, objects: ObjectStore, work: WorkFolder) -> bool:
    """Whether the stream copy under `key` shows exactly the frames of this clip: their number, and its first and its last frame.

    Raises what `read_back` and the object store raise.
    """
    with work.attempt(f"compare-{clip.id}") as folder:
        path = objects.local_path(key)
        if path is None:
            path = folder / PurePosixPath(key).name
            objects.get_file(key, path)
        written = read_back(path)
    ends = _ends_in_proxy(clip, objects)
    return (written.frame_count, written.first_frame_hash, written.last_frame_hash) == (clip.frame_count, *ends)


def _ends_in_proxy(one: Clip | ExportManifest, objects: ObjectStore) -> tuple[str, str]:
    """The hashes of the first and the last of its frames in the proxy."""
    index = FrameIndexes(objects).slice(one.source_video_id, one.start_frame, one.end_frame)
    return ends_in_proxy(open_proxy(objects, proxy_key(one.source_video_id)), index, one.start_frame, one.end_frame)


@clip_asset(
    EXPORTS,
    group="delivery",
    description="A file for each approved clip, by its export profile: exactly its frames, proven by frame hashes in its manifest.",
    kinds={"ffmpeg", "postgres"},
)
def exports(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    run = StageRun(context, database, object_store)

    def work() -> ClipRun[ExportManifest]:
        terms = restore_terms(machine.get().settings)
        done = export_due(
            run.source_video_id,
            database=database.get(),
            objects=object_store.get(),
            work=machine.get().work,
            encodes=machine.get().settings.encodes,
            terms=terms,
            trims=machine.get().settings.trim_transitions,
            report=run.progress(EXPORTS.asset, progress),
        )
        for offer in unanswered(database.get(), terms, [run.source_video_id]).values():
            run.log.info(offer.waits)
        return done

    yield from materialized(run, EXPORTS, work, lambda done: metadata.of_exports(done.made, machine.get().settings))

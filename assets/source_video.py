"""`source_video`: the original, fetched from where it was submitted, probed, hashed and stored once."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import dagster as dg

from assets import metadata, pictures
from assets.failures import TRANSIENT_RETRIES
from assets.stage_run import StageRun
from heaters_dagster.domain.errors import (
    DiskFullError,
    DuplicateSourceError,
    HeatersError,
    NoRoomError,
    NotYetError,
    SiteRefusesError,
    SourceNotFoundError,
    TransientError,
)
from heaters_dagster.domain.ingest import SourceKind, clean_title, original_suffix, source_kind, title_from_name
from heaters_dagster.domain.keys import UPLOADS_PREFIX, original_key
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.quality import Picture, Quality
from heaters_dagster.domain.room_needed import download_bytes
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.media.first_look import MediaProbe
from resources.media.media_probe import probe
from resources.object_store.interface import ObjectStore
from resources.object_store.originals import Originals
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.replacement_store import ReplacementStore
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.belongings import WhatIsKept, forget_belongings, keep_belongings
from resources.sources.downloader import Downloader, local_sha256
from resources.sources.fetched import ByteMeter, Fetched, begun_name
from resources.sources.file_identity import file_identity, fingerprint
from resources.sources.uploaded import drop_taken, linked_upload, upload_key

#: An upload in a bucket, by its random name.
_UPLOADED = re.compile(rf"/{UPLOADS_PREFIX}/[0-9a-f]{{24}}(\.[a-z0-9]+)?\Z")
_STATES_BEFORE = frozenset({SourceVideoState.NEW, SourceVideoState.DOWNLOADING, SourceVideoState.DOWNLOAD_FAILED})


def fetch_source_video(
    source_video_id: int,
    *,
    videos: SourceVideoStore,
    objects: ObjectStore,
    work: WorkFolder,
    downloader: Downloader,
    originals: Originals | None = None,
    turns: SiteTurns | None = None,
    uploads_folder: Path | None = None,
    uploads_bucket: str | None = None,
    kept: WhatIsKept = WhatIsKept(),
    related: RelatedVideos | None = None,
    report: Report = silent,
    say: Callable[[str], None] = lambda told: None,
) -> SourceVideo:
    """Bring the original into the store; afterwards the row is `downloaded`. A row that is further is returned as it is.

    originals: gets the file, for the stages that follow in the same run. turns: of the sites; None: nobody waits for a turn. say: gets a
    sentence when it has to wait for one. kept: what is kept of facts. related: where it is hinted that another one may be the same video;
    None: nowhere. uploads_folder: files in it are ours, and need no copy. uploads_bucket: uploads in it are ours, and go when
    they are taken.

    Hold `Database.stage_lock("source_video", source_video_id)`. Safe to begin again at any point: the object is stored under its key
    whole or not at all, and until the row names it the next try replaces it. Raises DuplicateSourceError when another source video holds
    the same bytes, unless this one was submitted by force; NotYetError when its site must be left alone for long (the row is then `new`);
    NoRoomError when the disk has no room for it; and what Downloader, probe and ObjectStore raise: the row then stays `downloading` until
    the caller records the failure.
    """
    video = videos.load(source_video_id)
    if video.state not in _STATES_BEFORE:
        return video
    with _folder_of(video, work) as folder:
        fetched = _uploaded(video, folder, videos, objects, uploads_folder) or _fetched(
            video, folder, videos=videos, downloader=downloader, turns=turns, objects=objects, report=report, say=say
        )
        found = probe(fetched.path, name=_called(video, fetched))
        if not video.forced:
            _refuse_known_bytes(source_video_id, fetched.sha256, videos, objects)
        elif related is not None and (first := videos.find_by_hash(fetched.sha256)) is not None and first.id != source_video_id:
            related.link_again(source_video_id, first.id)
        key = original_key(source_video_id, original_suffix(fetched.name, found.container))
        _delete_others(source_video_id, key, objects)
        uploaded = ByteMeter(report, "upload")
        objects.put_file(key, fetched.path, progress=lambda done: uploaded(done, fetched.byte_size))
        facts, warnings = keep_belongings(
            source_video_id, fetched, found, called=_called(video, fetched), kept=kept, database=videos.database, objects=objects
        )
        fetched = replace(fetched, facts=facts, warnings=(*fetched.warnings, *warnings))
        done = _downloaded(video, key, fetched, found, videos, objects)
        if related is not None:
            related.hint_at_same_on_site(source_video_id)
        if originals is not None:
            originals.keep(key, fetched.path, fetched.sha256)
        if (taken := upload_key(video.source, uploads_bucket)) is not None:
            drop_taken(taken, objects)
        return done


def _uploaded(
    video: SourceVideo, folder: Path, videos: SourceVideoStore, objects: ObjectStore, uploads_folder: Path | None
) -> Fetched | None:
    """The file in `folder`, where it is an upload that needs no copy; the row is then `downloading`."""
    found = linked_upload(video, folder, uploads_folder) if uploads_folder is not None else None
    if found is not None:
        videos.set_state(video.id, SourceVideoState.DOWNLOADING)
        _refuse_known_file(video, videos, objects)
    return found


def _fetched(
    video: SourceVideo,
    folder: Path,
    *,
    videos: SourceVideoStore,
    downloader: Downloader,
    turns: SiteTurns | None,
    objects: ObjectStore,
    report: Report,
    say: Callable[[str], None],
) -> Fetched:
    """The file in `folder`; the row is `downloading`. A download waits for its turn at its site before that."""
    site = video.site if turns is not None else None
    patience = downloader.longest_wait_seconds
    with turns.turn(site, patience_seconds=patience, say=say) if turns is not None and site is not None else nullcontext():
        videos.set_state(video.id, SourceVideoState.DOWNLOADING)
        _refuse_known_file(video, videos, objects)
        try:
            fetched = downloader.fetch(video.source, folder, confined_to=video.confined_to, report=report)
        except SiteRefusesError as error:
            if turns is None or site is None:
                raise
            held = turns.refused(site, error.reason, error.until)
            if held.gives_up:
                raise SourceNotFoundError(f"{error}; it said so {held.refusals} times in a row. heaters retry asks again") from error
            videos.put_back(video.id)
            raise NotYetError(f"{error}. It is asked for again later; what has been fetched of it is kept") from error
        if turns is not None and site is not None:
            turns.answered(site)
        return fetched


def _folder_of(video: SourceVideo, work: WorkFolder) -> AbstractContextManager[Path]:
    """Where it is fetched to. A download goes on where the last try was killed or broke off; a copy of a file begins anew."""
    name = begun_name(video.id)
    if source_kind(video.source) is SourceKind.LOCAL_PATH:
        return work.attempt(name, bytes_needed=download_bytes(video.media))
    of = sha256(f"{video.id} {video.created_at.isoformat()} {video.source}".encode()).hexdigest()
    return work.continued(name, of, stays=_may_go_on)


def _may_go_on(error: BaseException) -> bool:
    """Whether the next try can use what this one has fetched; on a full disk it would be in the way."""
    return not isinstance(error, Exception) or (isinstance(error, TransientError) and not isinstance(error, (DiskFullError, NoRoomError)))


def _called(video: SourceVideo, fetched: Fetched) -> str:
    """What people call the file: an upload lies under a random name, but its row has the title it was given."""
    is_ours = source_kind(video.source) is SourceKind.LOCAL_PATH or _UPLOADED.search(video.source) is not None
    return video.title if is_ours and video.title != fetched.title else clean_title(fetched.name)


def _refuse_known_file(video: SourceVideo, videos: SourceVideoStore, objects: ObjectStore) -> None:
    """Raise DuplicateSourceError without copying anything when the path was submitted before and its file is still the same.

    Not for one that was submitted by force.
    """
    if video.forced or source_kind(video.source) is not SourceKind.LOCAL_PATH:
        return
    earlier = {one.source_fingerprint for one in videos.of_source(video.source) if one.id != video.id and one.original_bytes is not None}
    if not earlier:
        return
    path, sha256 = Path(video.source), None
    with suppress(OSError, HeatersError):  # fetching says what is wrong
        # Only a file that is nearly certainly known is read whole here: any other would be read twice.
        if {file_identity(path, confined_to=video.confined_to).fingerprint, None} & earlier:
            sha256 = local_sha256(path, confined_to=video.confined_to)
    if sha256 is not None:
        _refuse_known_bytes(video.id, sha256, videos, objects)


def _refuse_known_bytes(source_video_id: int, sha256: str, videos: SourceVideoStore, objects: ObjectStore) -> None:
    first = videos.find_by_hash(sha256)
    if first is not None and first.id != source_video_id:
        videos.mark_duplicate(source_video_id, first.id)
        raise _duplicate(source_video_id, first, videos, objects)


def _duplicate(source_video_id: int, first: SourceVideo, videos: SourceVideoStore, objects: ObjectStore) -> DuplicateSourceError:
    """The error to raise, after the objects that this or an earlier try of the duplicate stored were deleted."""
    _delete_others(source_video_id, None, objects)
    forget_belongings(source_video_id, database=videos.database, objects=objects)
    return DuplicateSourceError(f"this is the same file as source video {first.id} ({first.title}); use that one")


def _delete_others(source_video_id: int, key: str | None, objects: ObjectStore) -> None:
    """An earlier try that was cut off may have stored the original under another suffix."""
    stem = original_key(source_video_id, "")
    for other in (stem, *(found.key for found in objects.list(f"{stem}."))):
        if other != key:
            objects.delete(other)


def _title(video: SourceVideo, fetched: Fetched) -> str:
    """Of a web address, the title that the page gives, unless a person has given it one meanwhile."""
    is_named_by_address = source_kind(video.source) is SourceKind.WEB_ADDRESS and video.title == title_from_name(video.source)
    return fetched.title if is_named_by_address else video.title


def _downloaded(
    video: SourceVideo, key: str, fetched: Fetched, found: MediaProbe, videos: SourceVideoStore, objects: ObjectStore
) -> SourceVideo:
    quality = Quality.from_json(fetched.facts.quality)
    if quality is not None:
        quality = quality.with_arrived(_picture(found))
    facts = replace(fetched.facts, quality=quality.to_json() if quality is not None else None)
    for warning in (*fetched.warnings, *(quality.drops() if quality is not None else ()), *found.notes):
        videos.add_warning(video.id, warning)
    done = videos.finish_download(
        video.id,
        fetched.sha256,
        title=_title(videos.load(video.id), fetched),
        original_filepath=key,
        original_bytes=fetched.byte_size,
        source_bytes=fetched.byte_size,
        source_fingerprint=fingerprint(fetched.path),
        facts=facts,
        probe=found.to_json(),
        duration_seconds=found.duration_seconds,
    )
    if done.duplicate_of_id is not None:
        raise _duplicate(video.id, videos.load(done.duplicate_of_id), videos, objects)
    return done


def _picture(found: MediaProbe) -> Picture:
    video = found.video
    return Picture(
        width=video.width, height=video.height, frame_rate=float(video.average_frame_rate) or None, codec=video.codec,
        dynamic_range="HDR" if video.is_hdr else None,
    )  # fmt: skip


@dg.asset(
    partitions_def=source_video_partitions,
    group_name="ingest",
    description="The original as it was downloaded or uploaded: probed, hashed, stored once however often it is submitted.",
    kinds={"python", "s3"},
    retry_policy=TRANSIENT_RETRIES,
    output_required=False,
)
def source_video(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, store, place = StageRun(context, database, object_store), database.get(), machine.get()
    source_video_id, videos = stage.source_video_id, SourceVideoStore(store)

    def record(message: str, transient: bool) -> None:
        videos.record_failure(source_video_id, SourceVideoState.DOWNLOAD_FAILED, message, transient=transient)

    with (
        stage.failures(),
        store.stage_lock("source_video", source_video_id),
        stage.failures(record),
        stage.progress("source_video", progress).at_work() as report,
        stage.room("source_video") as room,
    ):
        try:
            video = fetch_source_video(
                source_video_id,
                videos=videos,
                objects=object_store.get(),
                work=place.work,
                originals=place.originals(object_store.get()),
                uploads_folder=place.settings.uploads_folder,
                uploads_bucket=place.settings.object_bucket,
                turns=SiteTurns.from_settings(place.settings, store),
                kept=WhatIsKept(place.settings.kept_tags, place.settings.rights),
                related=RelatedVideos(store),
                downloader=_downloader(source_video_id, place.settings, store),
                report=report,
                say=stage.log.info,
            )
        except NotYetError as error:  # no failure: it is asked for again when its site has a turn
            stage.log.info(error)
            return
        except DuplicateSourceError as error:  # done, not failed: nothing is made from it, and the steps after it are skipped
            record(str(error), False)
            stage.log.info(error)
            return
    if room.is_missing:
        return
    stage.rename(video.title)
    yield stage.made(
        {
            "source": without_access(video.source),
            "original": video.original_filepath or "",
            "store": metadata.store(place.settings),
            "size": metadata.size(video.original_bytes or 0),
            "sha256": video.content_sha256 or "",
            "quality": quality_words(FactsStore(store).load(source_video_id)),
            "probe": dg.MetadataValue.md(probe_table(MediaProbe.from_json(dict(video.probe)))) if video.probe else "",
            "warnings": dg.MetadataValue.md(pictures.bullets(video.warnings, otherwise="none")),
        },
        data_version=video.content_sha256,
    )


def quality_words(facts: SourceFacts) -> str:
    """What was taken of what a site offered, and why; empty for what no site offered."""
    quality = Quality.from_json(facts.quality)
    return quality.words if quality is not None else ""


def _downloader(source_video_id: int, settings: Settings, database: Database) -> Downloader:
    """As the settings say, but for the height of a download that a person has asked for."""
    asked = ReplacementStore(database).of_new(source_video_id)
    if asked is not None and asked.max_height is not None:
        settings = replace(settings, ytdlp_max_height=asked.max_height)
    return Downloader.from_settings(settings, database)


def probe_table(found: MediaProbe) -> str:
    """Markdown for the operator."""
    video = found.video
    colour = ", ".join(filter(None, (video.color_primaries, video.color_transfer, video.color_space, video.color_range)))
    odd = [
        *([f"turned by {video.rotation_degrees} degrees"] if video.rotation_degrees else []),
        *(["interlaced"] if video.interlaced else []),
        *([f"pixels {video.sample_aspect_ratio}"] if video.sample_aspect_ratio != 1 else []),
        *([f"starts at {video.start_seconds:.3f} s"] if video.start_seconds else []),
    ]
    rows = [
        ("container", found.container),
        ("duration", "not said" if found.duration_seconds is None else f"{found.duration_seconds:.3f} s"),
        (
            "picture",
            f"{video.codec} {video.width}x{video.height} {video.pixel_format}, {float(video.average_frame_rate):.3f} frames/s on average",
        ),
        ("colour", colour or "not said"),
        ("peculiar", ", ".join(odd) or "nothing"),
        *(("sound", f"{one.codec}, {one.channels} channels, {one.sample_rate} Hz {one.language or ''}".strip()) for one in found.audio),
    ]
    return pictures.table(("", ""), rows)

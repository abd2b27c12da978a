"""`proxy_pieces`: the proxy of a very long video in pieces, which machines make that have nothing else to do.

The run that makes the proxy plans the pieces, makes one after the other itself, and joins them by copying packets. As long as it works,
other runs may take pieces from it, each one; a piece belongs to who holds its lock, so that one whose process was killed is taken by the
next. The joined proxy has the frames, times, sound and scores that one piece would have (`domain/proxy_pieces.py`).
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import dagster as dg

from assets import metadata
from assets.failures import CANCELED_HELP, TRANSIENT_RETRIES
from assets.made_with import code_version
from assets.proxy_pass import ProxyPass, Seeing, finished_pass
from assets.stage_run import StageRun
from heaters_dagster.domain.errors import ObjectNotFoundError, PermanentError
from heaters_dagster.domain.keys import piece_key
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.domain.proxy_pieces import MOST_TRIES, MadePiece, Piece, are_wanted, difference, one_piece_words
from heaters_dagster.domain.room_needed import proxy_bytes
from heaters_dagster.domain.run_tags import PIECE_TAG
from heaters_dagster.domain.stages import PROXY_PIECES
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.event_log import tell
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.media_probe import known_probe
from resources.media.proxy_pieces import SmallFrames, one_after_another, pieces_of, told_seconds, write_piece
from resources.media.proxy_writer import join_proxy
from resources.object_store.interface import ObjectStore
from resources.object_store.originals import Originals
from resources.object_store.piece_files import blocks, drop_pieces
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.piece_store import PieceStore, StoredPiece
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.fetched import ByteMeter

#: What takes turns on a machine. The pool of the same name counts over all machines, when it has a limit.
ENCODE = "encode"
#: How often a run that has no piece left to make looks whether those of other runs are there.
_LOOK_SECONDS = 1.0
#: A run that helps waits so long for its turn on a machine that encodes something else. Then it ends, so that a source video that nobody
#: works on comes before it, and another one is asked for.
_PATIENCE_SECONDS = 60.0
_PICTURE, _FACTS = ".mp4", ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceMaker:
    """Makes pieces of proxies on this machine.

    made_with: see `assets.made_with`. from_seconds, piece_seconds, machines: settings. say: gets a sentence about a proxy of a long video
    that is made in one piece all the same.
    """

    store: PieceStore
    objects: ObjectStore
    work: WorkFolder
    detector: str
    made_with: str | None
    from_seconds: int | None
    piece_seconds: int
    machines: int
    say: Callable[[str], object] = lambda sentence: None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        store: PieceStore,
        objects: ObjectStore,
        work: WorkFolder,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> "PieceMaker":
        return cls(
            store=store,
            objects=objects,
            work=work,
            detector=settings.detector,
            made_with=code_version("proxy", settings),
            from_seconds=settings.pieces_from_seconds,
            piece_seconds=settings.piece_seconds,
            machines=settings.machines,
            say=say,
        )

    def proxy(
        self,
        video: SourceVideo,
        original: Path,
        found: MediaProbe,
        path: Path,
        *,
        why_one: str | None,
        clock: SourceTime | None = None,
        report: Report = silent,
    ) -> ProxyPass | None:
        """Write the proxy to `path`, made in pieces; None when it is to be made in one. Hold the lock of the proxy.

        why_one: why an earlier try was not made in pieces. clock: as for `proxy_pass`. Raises what `proxy_pass` raises.
        """
        seconds = found.duration_seconds or found.end_seconds
        if not are_wanted(seconds, from_seconds=self.from_seconds, machines=self.machines):
            return None
        if why_one is not None:
            self.say(one_piece_words(why_one))
            return None
        pieces, why_one = pieces_of(original, found, piece_seconds=self.piece_seconds)
        if why_one is not None:
            self._say_in_one_piece(video.id, why_one)
            return None
        stored = self.store.plan(video.id, self._mark(video), pieces, Seeing(found, self.detector).side_streams)
        while True:
            self._make_all(video, original, found, report)
            stored = self.store.load(video.id)
            if len(stored) != len(pieces):  # a run that made a piece has found out why the proxy cannot be joined
                self.say(one_piece_words(self.store.why_one_piece(video.id) or "its pieces are gone"))
                return None
            if lost := [one for one in stored if not self._is_stored(one)]:
                for one in lost:
                    self.store.put_lost(one.id)
                continue
            made = [MadePiece.decoded(self.objects.get_bytes(_key(one, _FACTS))) for one in stored]
            why_one = difference(pieces, made)
            if why_one is None:
                return self._joined(video, original, found, path, stored, made, clock, report)
            self._say_in_one_piece(video.id, why_one)
            return None

    def make(
        self, wanted: StoredPiece, video: SourceVideo, original: Callable[[], Path], found: MediaProbe | None = None, *, report: Report
    ) -> Piece | None:
        """Make one piece and store its files; None when another one makes it, or it is made or not wanted any more.

        original: fetches the file. found: its probe, when it is known already.
        """
        with self.store.claim(wanted.id) as claimed:
            if claimed is None:
                return None
            if claimed.made_with != self._mark(video):
                self.store.give_up(claimed.id)
                tell(
                    "piece left to others", source_video_id=video.id, reason="its proxy is made by another version, or with other settings"
                )
                return None
            share = claimed.piece.frames / max(1.0, video.media.frames)
            name = f"piece-{video.id}-{claimed.piece.number}"
            with (
                self.store.no_try_without_room(claimed.id),
                self.work.attempt(name, bytes_needed=round(proxy_bytes(video.media) * min(1.0, share))) as folder,
            ):
                path = original()
                probed = found or known_probe(video.probe, path, name=video.title)
                streams = ffmpeg.source_streams(probed)
                written = write_piece(
                    path, probed, streams, claimed.piece, folder, side_streams=claimed.sides, report=report, called=video.title
                )
                if written.problem is not None:
                    self._in_one_piece(video.id, written.problem)
                    return None
                for number, side in enumerate(written.sides):
                    self.objects.put_file(_key(claimed, _side(number)), side)
                self.objects.put_bytes(_key(claimed, _FACTS), written.made.encoded())
                self.objects.put_file(_key(claimed, _PICTURE), written.picture)
            if not self.store.put_made(claimed.id):  # the source video was deleted meanwhile, or is made in one piece
                for key in _keys(claimed):
                    self.objects.delete(key)
                return None
        return claimed.piece

    def forget(self, source_video_id: int) -> None:
        """The proxy is there: its pieces are not needed any more."""
        if self.store.load(source_video_id):
            drop_pieces(self.objects, source_video_id)
            self.store.forget(source_video_id)

    def _make_all(self, video: SourceVideo, original: Path, found: MediaProbe, report: Report) -> None:
        """Make every piece that no other run makes, and wait for those."""
        began = time.monotonic()
        begin = found.video.start_seconds
        end = found.end_seconds or found.duration_seconds or begin
        while True:
            stored = self.store.load(video.id)
            open_pieces = [one for one in stored if not one.is_made]
            if not open_pieces:
                return
            lengths = {one.id: one.piece.length_seconds(begin_seconds=begin, end_seconds=end) for one in stored}
            total = sum(lengths.values())
            done = total - sum(lengths[one.id] for one in open_pieces)

            def of_all(told: Progress, *, part: str, done: float = done, total: float = total) -> None:
                elapsed = time.monotonic() - began
                report(replace(told, stage="proxy_pieces", done=done + told.done, total=total, elapsed_seconds=elapsed, part=part))

            def made(one: StoredPiece, of: int = len(stored)) -> bool:
                of_this = partial(of_all, part=f"piece {one.piece.number + 1} of {of}")
                return self.make(one, video, lambda: original, found, report=of_this) is not None

            there = len(stored) - len(open_pieces)
            of_all(Progress("proxy_pieces", 0.0, total, "seconds", 0.0), part=f"{there} of {len(stored)} are there")
            if not any(map(made, open_pieces)):
                time.sleep(_LOOK_SECONDS)

    def _joined(
        self,
        video: SourceVideo,
        original: Path,
        found: MediaProbe,
        path: Path,
        stored: Sequence[StoredPiece],
        made: Sequence[MadePiece],
        clock: SourceTime | None,
        report: Report,
    ) -> ProxyPass:
        seeing, stopped = Seeing(found, self.detector), threading.Event()

        def side(number: int) -> Iterator[Iterator[bytes]]:
            for one in stored:
                if stopped.is_set():
                    return
                yield blocks(self.objects, _key(one, _side(number)))

        with ThreadPoolExecutor(len(seeing.side_streams), thread_name_prefix="small-frames") as pool:
            looking = [pool.submit(reader, SmallFrames(side(number))) for number, reader in enumerate(seeing.readers)]  # type: ignore[arg-type]
            try:
                written = join_proxy(
                    original,
                    found,
                    ffmpeg.source_streams(found),
                    path,
                    picture=one_after_another(blocks(self.objects, _key(one, _PICTURE)) for one in stored),
                    told_seconds=told_seconds(made),
                    report=lambda told: report(replace(told, stage="joined_proxy")),
                    called=video.title,
                )
                for one in looking:
                    one.result()
            except BaseException:
                stopped.set()
                raise
        return finished_pass(original, found, path, written, seeing, called=video.title, clock=clock)

    def _say_in_one_piece(self, source_video_id: int, why: str) -> None:
        self._in_one_piece(source_video_id, why)
        self.say(one_piece_words(why))

    def _in_one_piece(self, source_video_id: int, why: str) -> None:
        tell("proxy in one piece", source_video_id=source_video_id, reason=why)
        self.store.forget(source_video_id, one_piece=why)
        drop_pieces(self.objects, source_video_id)

    def _is_stored(self, one: StoredPiece) -> bool:
        return all(self.objects.info(key) is not None for key in _keys(one))

    def _mark(self, video: SourceVideo) -> str:
        return hashlib.sha256(f"{self.made_with}, {self.detector}, {video.content_sha256}".encode()).hexdigest()[:12]


def stored_original(video: SourceVideo, originals: Originals, *, report: Report = silent) -> Path:
    """Where the original can be read: in the local store, or as a file of this machine."""
    key = video.original_filepath
    try:
        if key is None:
            raise ObjectNotFoundError("nothing was downloaded")
        return originals.read(key, video.content_sha256, progress=ByteMeter(report))
    except ObjectNotFoundError as error:
        raise PermanentError(f"{video.title}: its original is not in the store ({error}); submit it again") from error


def _key(one: StoredPiece, suffix: str) -> str:
    return piece_key(one.source_video_id, one.made_with, one.piece.number, suffix)


def _keys(one: StoredPiece) -> list[str]:
    return [_key(one, suffix) for suffix in (_PICTURE, _FACTS, *map(_side, range(len(one.sides))))]


def _side(number: int) -> str:
    return f".side{number}"


def _to_make(stored: Sequence[StoredPiece], asked_for: str | None) -> list[StoredPiece]:
    """The pieces that a helping run may make, in the order in which it tries them: the one that it was asked for, then from the last on."""
    found = [one for one in reversed(stored) if not one.is_made and one.tries < MOST_TRIES]
    return sorted(found, key=lambda one: str(one.piece.number) != asked_for)


@dg.multi_asset(
    name="proxy_pieces",
    specs=[
        dg.AssetSpec(
            "proxy_pieces",
            deps=["source_video"],
            group_name="ingest",
            description="A piece of the proxy of a very long video, made while another machine makes the others; most videos have none.",
            kinds={"ffmpeg", "s3"},
            skippable=True,
        )
    ],
    partitions_def=source_video_partitions,
    retry_policy=TRANSIENT_RETRIES,
    pool=ENCODE,
)
def proxy_pieces(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, place = StageRun(context, database, object_store), machine.get()
    asked_for = context.run.tags.get(PIECE_TAG)
    made: Piece | None = None
    began = time.monotonic()

    def record(message: str, transient: bool) -> None:
        if message == CANCELED_HELP:
            PieceStore(database.get()).leave_to_joiner(stage.source_video_id)

    with stage.failures(record, canceled=CANCELED_HELP), stage.room(PROXY_PIECES.asset):
        store, objects = database.get(), object_store.get()
        pieces, video = PieceStore(store), SourceVideoStore(store).load(stage.source_video_id)
        maker = PieceMaker.of(place.settings, store=pieces, objects=objects, work=place.work)
        with store.turn_on_this_machine(ENCODE, at_once=place.settings.encodes, patience_seconds=_PATIENCE_SECONDS) as is_mine:
            for one in _to_make(pieces.load(video.id), asked_for) if is_mine else ():
                began = time.monotonic()
                original = lambda: stored_original(video, place.originals(objects))  # noqa: E731
                made = maker.make(one, video, original, report=progress.report_to(stage.log))
                if made is not None:
                    break
    if made is None:
        why = PieceStore(database.get()).why_one_piece(stage.source_video_id)
        nothing = "none is left, or this machine encodes something else" if why is None else one_piece_words(why)
        stage.log.info(f"no piece was made: {nothing}")
        return
    yield stage.made(_metadata(made, video, time.monotonic() - began))


def _metadata(piece: Piece, video: SourceVideo, wall_seconds: float) -> Mapping[str, dg.MetadataValue]:
    return {
        "piece": dg.MetadataValue.int(piece.number + 1),
        "frames": dg.MetadataValue.int(piece.frames),
        **metadata.speed(piece.length_seconds(begin_seconds=0.0, end_seconds=video.duration_seconds or 0.0), wall_seconds),
    }

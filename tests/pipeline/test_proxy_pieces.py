"""The proxy of a long video in pieces is the proxy of one piece, whoever makes which piece and whatever is killed."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import dagster as dg
import pytest
from sqlalchemy import text

from assets.proxy import make_proxy
from assets.proxy_pass import Seeing
from assets.proxy_pieces import ENCODE, PieceMaker, proxy_pieces
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.ffmpeg_run import Profile
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.keys import looks_key, pieces_prefix, proxy_key, scenes_key
from heaters_dagster.domain.profiles import proxy_piece
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.proxy_pieces import MOST_TRIES
from heaters_dagster.domain.run_tags import PIECE_TAG
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.orchestration.outlook import look
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings, child_environment
from resources.media.ffmpeg import source_streams
from resources.media.frame_hashes import frame_hash
from resources.media.frame_index_reader import FrameIndexes
from resources.media.media_probe import probe
from resources.media.proxy_pieces import pieces_of, write_piece
from resources.object_store.interface import ObjectStore
from resources.object_store.originals import Originals
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.making_store import MakingStore
from resources.postgres.piece_store import PieceStore
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.upkeep.leftovers import sweep_pieces
from resources.upkeep.source_video_removal import finish_deletion
from tests.media.test_timecode_track import ffmpeg_reads
from tests.media_files import barcode_video, barcodes, ffmpeg, progressive_then_interlaced, with_bit_errors
from tests.pipeline.test_proxy import downloaded
from tests.proxy_files import local_copy
from tests.warm_process import started

S = SourceVideoState
DETECTOR = "content"
FRAMES, PIECES = 192, 4


@pytest.fixture
def in_pieces(settings: Settings) -> Settings:
    """Pieces of two seconds, also with one machine."""
    return replace(settings, pieces_from_seconds=1, piece_seconds=2, detector=DETECTOR)


class Desk:
    """Makes proxies in pieces, as one machine does."""

    def __init__(self, database: Database, objects: ObjectStore, settings: Settings) -> None:
        self.database, self.objects, self.settings = database, objects, settings
        self.videos, self.pieces = SourceVideoStore(database), PieceStore(database)
        self.work = WorkFolder(settings.work_folder)
        self.said: list[str] = []
        self.maker = PieceMaker.of(settings, store=self.pieces, objects=objects, work=self.work, say=self.said.append)
        self.told: list[Progress] = []

    def submit(self, source: Path) -> int:
        return downloaded(source, self.videos, self.objects)  # type: ignore[arg-type]

    def make(self, source_video_id: int, *, maker: PieceMaker | None) -> Made:
        with self.database.stage_lock("proxy", source_video_id):
            make_proxy(
                source_video_id, videos=self.videos, objects=self.objects, work=self.work, detector=DETECTOR,
                making=MakingStore(self.database), pieces=maker, report=self.told.append,
            )  # fmt: skip
        return Made(self, source_video_id)

    def help(self, source_video_id: int) -> list[int]:
        """What another machine makes until nothing is left to be made: numbers of pieces."""
        video, made = self.videos.load(source_video_id), []
        with Originals(self.objects, self.work) as originals:
            assert video.original_filepath is not None
            path = originals.read(video.original_filepath, None)
            for one in reversed(self.pieces.load(source_video_id)):
                piece = self.maker.make(one, video, lambda: path, report=lambda told: None)
                if piece is not None:
                    made.append(piece.number)
        return made

    def stored(self, source_video_id: int) -> list[str]:
        return [info.key for info in self.objects.list(pieces_prefix(source_video_id))]


class Made:
    """What belongs to a proxy that was made."""

    def __init__(self, desk: Desk, source_video_id: int) -> None:
        self.video: SourceVideo = desk.videos.load(source_video_id)
        self.path = local_copy(desk.objects, proxy_key(source_video_id), desk.settings.home)
        self.index: FrameIndex = FrameIndexes(desk.objects).load(source_video_id)
        self.scores = desk.objects.get_bytes(scenes_key(source_video_id))
        self.looks = desk.objects.get_bytes(looks_key(source_video_id))
        self.left = desk.stored(source_video_id), desk.pieces.load(source_video_id)
        (listed,) = SourceVideoLists(desk.database).newest(only=source_video_id, limit=1)
        self.one_piece = listed.one_piece

    def pictures(self) -> list[str]:
        with av.open(str(self.path)) as container:
            return [frame_hash(frame) for frame in container.decode(video=0)]

    def sound(self) -> list[tuple[bytes, int]]:
        with av.open(str(self.path)) as container:
            if not container.streams.audio:
                return []
            return [(bytes(packet), packet.pts) for packet in container.demux(audio=0) if packet.size]


def same(one: Made, other: Made) -> None:
    """All but the titles and the files' bytes: x264 writes its options before the first frame of each piece."""
    assert one.pictures() == other.pictures()
    assert one.index.pts.tolist() == other.index.pts.tolist()
    assert one.index.header == other.index.header
    assert one.sound() == other.sound()
    assert one.looks == other.looks
    assert one.scores == other.scores
    assert one.video.warnings == other.video.warnings
    assert one.video.duration_seconds == other.video.duration_seconds


@pytest.fixture
def desk(database: Database, object_store: ObjectStore, in_pieces: Settings) -> Desk:
    return Desk(database, object_store, in_pieces)


def film(folder: Path, name: str = "film.mp4", **options: object) -> Path:
    return barcode_video(folder / name, **{"frames": FRAMES, "scenes": (50, 119, 170), **options})


SOURCES: dict[str, Callable[[Path], Path]] = {
    "usual": lambda folder: film(folder),
    "variable": lambda folder: film(folder, vfr=True, b_frames=2),
    "ten_bit": lambda folder: film(folder, "film.mkv", pixel_format="yuv420p10le"),
    "interlaced": lambda folder: film(folder, interlaced=True),
    "odd": lambda folder: film(folder, size=(161, 121), pixel_format="yuv444p", rate=Fraction(24000, 1001)),
    "late": lambda folder: film(folder, video_start_seconds=1.5),
    "silent": lambda folder: film(folder, audio=False),
}


@pytest.mark.folder
@pytest.mark.parametrize("kind", SOURCES)
def test_pieces_give_the_proxy_of_one_piece(kind: str, tmp_path: Path, desk: Desk) -> None:
    source, ids = SOURCES[kind](tmp_path), []
    for _ in range(2):
        ids.append(desk.submit(source))
        FactsStore(desk.database).put(ids[-1], SourceFacts(start_timecode="23:59:59:20", reel="A001"), Origin.FILE)
    whole, joined = (desk.make(one, maker=maker) for one, maker in zip(ids, (None, desk.maker), strict=True))
    assert {told.stage for told in desk.told} >= {"proxy_pieces", "joined_proxy"}, "it was not made in pieces"
    assert max(told.fraction or 0.0 for told in desk.told if told.stage == "proxy_pieces") == pytest.approx(1.0, abs=0.2)
    parts = list(dict.fromkeys(told.part for told in desk.told if told.stage == "proxy_pieces"))
    assert [part for part in parts if part.startswith("piece")] == [f"piece {number} of {PIECES}" for number in range(1, PIECES + 1)]
    assert parts[0] == f"0 of {PIECES} are there"
    assert (joined.one_piece, desk.said) == (None, [])
    assert barcodes(joined.path) == list(range(FRAMES))
    assert ffmpeg_reads(joined.path) == ffmpeg_reads(whole.path) == ("23:59:59:20", "A001")
    same(joined, whole)
    assert joined.left == ([], []), "pieces are kept until they are joined, and not longer"
    assert joined.video.state is S.PREPROCESSED


@pytest.mark.bucket
def test_another_machine_makes_some_of_the_pieces(tmp_path: Path, desk: Desk) -> None:
    source, helped = film(tmp_path), list[int]()
    whole, source_video_id = desk.make(desk.submit(source), maker=None), desk.submit(source)

    def help() -> None:
        while not (planned := desk.pieces.load(source_video_id)):
            time.sleep(0.01)
        assert len(planned) == PIECES
        helped.extend(desk.help(source_video_id))

    helper = threading.Thread(target=help)
    helper.start()
    joined = desk.make(source_video_id, maker=desk.maker)
    helper.join()
    assert helped, "nobody helped"
    assert len(helped) < PIECES
    same(joined, whole)


@pytest.mark.bucket
def test_only_the_piece_that_was_killed_is_made_again(tmp_path: Path, desk: Desk) -> None:
    source = film(tmp_path, size=(640, 480))
    source_video_id = desk.submit(source)
    program = f"""
        from assets.proxy import make_proxy
        from assets.proxy_pieces import PieceMaker
        from heaters_dagster.settings import Settings
        from resources.postgres.database import Database
        from resources.postgres.piece_store import PieceStore
        from resources.object_store.open import open_object_store
        from resources.postgres.source_video_store import SourceVideoStore
        from resources.object_store.work_folder import WorkFolder
        settings = Settings.from_environment()
        objects, database, work = open_object_store(settings), Database.connect(settings.database_url), WorkFolder(settings.work_folder)
        maker = PieceMaker.of(settings, store=PieceStore(database), objects=objects, work=work)
        put_made, made = maker.store.put_made, []
        def put(piece_id):
            made.append(piece_id)
            if len(made) == 3:
                print("made", flush=True)
                import time; time.sleep(60)
            return put_made(piece_id)
        maker.store.put_made = put
        with database.stage_lock("proxy", {source_video_id}):
            make_proxy({source_video_id}, videos=SourceVideoStore(database), objects=objects, work=work, detector="content", pieces=maker)
    """
    process = started(textwrap.dedent(program), environment=child_environment(desk.settings))
    assert process.stdout.readline() == "made\n", "the process was to be killed in its third piece"
    process.kill()
    process.wait()
    left = desk.pieces.load(source_video_id)
    assert [one.is_made for one in left] == [True, True, False, False]
    began: list[int] = []
    claim = desk.pieces.claim
    desk.pieces.claim = lambda piece_id: (began.append(piece_id), claim(piece_id))[1]  # type: ignore[method-assign, func-returns-value]
    joined = desk.make(source_video_id, maker=desk.maker)
    assert began == [one.id for one in left[2:]]
    desk.work.sweep()
    assert list(desk.work.root.iterdir()) == []
    same(joined, desk.make(desk.submit(source), maker=None))


@pytest.mark.folder
def test_a_piece_whose_files_are_gone_is_made_again(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    source_video_id = desk.submit(film(tmp_path))
    put_made = desk.pieces.put_made

    def put(piece_id: int) -> bool:
        done = put_made(piece_id)
        if len(desk.stored(source_video_id)) == 4 * PIECES and not lost:
            lost.append(next(key for key in desk.stored(source_video_id) if key.endswith("_0001.json")))
            desk.objects.delete(lost[0])
        return done

    lost: list[str] = []
    monkeypatch.setattr(desk.pieces, "put_made", put)
    assert barcodes(desk.make(source_video_id, maker=desk.maker).path) == list(range(FRAMES))
    assert lost


@pytest.mark.folder
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda folder: with_bit_errors(film(folder, b_frames=2), folder / "flipped.mp4", count=30),
            "it is damaged, or a decoder cannot begin",
        ),
        (
            lambda folder: ffmpeg(["-i", str(film(folder)), "-c", "copy"], folder / "film.ts"),
            "only in MP4, MOV, Matroska and WebM it is certain where a decoder may begin, and this file is an MPEG transport stream",
        ),
        (lambda folder: progressive_then_interlaced(folder), "only in MP4, MOV, Matroska and WebM"),
    ],
    ids=["damaged", "stream", "changing"],
)
def test_what_cannot_be_made_in_pieces_is_made_in_one_and_says_why(
    make: Callable[[Path], Path], why: str, tmp_path: Path, desk: Desk
) -> None:
    """In the log of the run (`said`), on the page and in `heaters status` (`one_piece`)."""
    one = desk.make(desk.submit(make(tmp_path)), maker=desk.maker)
    known = MakingStore(desk.database).load(one.video.id).proxy_in_one_piece or ""
    assert known.startswith(why)
    assert one.one_piece == known
    assert desk.said == [f"the proxy is made in one piece, by one machine, because {known}"]
    assert "joined_proxy" not in {told.stage for told in desk.told}
    assert one.video.state is S.PREPROCESSED
    assert one.left == ([], [])


@pytest.mark.folder
def test_pieces_that_saw_other_pictures_are_never_joined(tmp_path: Path, desk: Desk) -> None:
    """As where a decoder that begins at a keyframe does not come to see what one sees that has read all before it."""
    source_video_id = desk.submit(film(tmp_path))
    get_bytes = desk.objects.get_bytes
    desk.objects.get_bytes = lambda key: get_bytes(key).replace(b'"head": ["', b'"head": ["another')  # type: ignore[method-assign]
    made = desk.make(source_video_id, maker=desk.maker)
    assert barcodes(made.path) == list(range(FRAMES))
    known = MakingStore(desk.database).load(source_video_id).proxy_in_one_piece
    assert known == "the pictures at the beginning of piece 2 are others than in the piece before it"
    assert made.left == ([], [])


def planned(desk: Desk, source: Path) -> int:
    """A source video whose proxy is being made, with its pieces planned and the first of them made."""
    source_video_id = desk.submit(source)
    video = desk.videos.set_state(source_video_id, S.PREPROCESSING)
    found = probe(source)
    pieces, _ = pieces_of(source, found, piece_seconds=2)
    stored = desk.pieces.plan(source_video_id, desk.maker._mark(video), pieces, Seeing(found, DETECTOR).side_streams)
    assert desk.maker.make(stored[0], video, lambda: source, report=lambda told: None) is not None
    return source_video_id


def materialized(
    source_video_id: int, settings: Settings, *, piece: int | None, instance: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    instance = instance or dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(source_video_partitions.name), [str(source_video_id)])
    return dg.materialize(
        [dg.AssetSpec("source_video", partitions_def=source_video_partitions), proxy_pieces],
        partition_key=str(source_video_id), instance=instance, resources=dagster_resources(settings),
        tags={} if piece is None else {PIECE_TAG: str(piece)}, raise_on_error=False,
    )  # fmt: skip


@pytest.mark.bucket
def test_a_run_makes_the_piece_that_it_was_asked_for_and_says_so(tmp_path: Path, desk: Desk, database: Database) -> None:
    source_video_id = planned(desk, film(tmp_path))
    result = materialized(source_video_id, desk.settings, piece=2)
    assert result.success
    (made,) = result.asset_materializations_for_node("proxy_pieces")
    assert (made.metadata["piece"].value, made.metadata["frames"].value) == (3, 48)
    assert [one.is_made for one in desk.pieces.load(source_video_id)] == [True, False, True, False]
    again = materialized(source_video_id, desk.settings, piece=2)
    assert again.success, "it was made meanwhile: the run makes another one"
    assert [one.is_made for one in desk.pieces.load(source_video_id)] == [True, False, True, True]


@pytest.mark.folder
def test_a_piece_without_room_on_the_disk_costs_no_try_and_is_made_when_there_is_room(
    tmp_path: Path, desk: Desk, database: Database
) -> None:
    source_video_id, waits = planned(desk, film(tmp_path)), RoomWaitStore(database)
    for _ in range(MOST_TRIES + 1):
        result = materialized(source_video_id, replace(desk.settings, keep_free_mb=10**8), piece=2)
        assert result.success
        assert result.asset_materializations_for_node("proxy_pieces") == []
        assert waits.load()[source_video_id, "proxy_pieces"].wait.words.endswith("nothing is free")
    assert [(one.tries, one.is_made) for one in desk.pieces.load(source_video_id)] == [(1, True), *[(0, False)] * 3]
    (made,) = materialized(source_video_id, desk.settings, piece=2).asset_materializations_for_node("proxy_pieces")
    assert made.metadata["piece"].value == 3
    assert waits.load() == {}


@pytest.mark.folder
@pytest.mark.parametrize("encodes", [1, 2])
def test_a_run_does_not_wait_long_on_a_machine_that_encodes(
    encodes: int, tmp_path: Path, desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would keep a source video from being fetched that nobody works on."""
    monkeypatch.setattr("assets.proxy_pieces._PATIENCE_SECONDS", 0.2)
    source_video_id = planned(desk, film(tmp_path))
    settings = replace(desk.settings, encodes=encodes)
    with ExitStack() as held:
        for _ in range(encodes):
            held.enter_context(database.turn_on_this_machine(ENCODE, at_once=encodes))
        result = materialized(source_video_id, settings, piece=2)
        assert result.success
        assert result.asset_materializations_for_node("proxy_pieces") == []
    assert {one.tries for one in desk.pieces.load(source_video_id)[1:]} == {0}
    assert materialized(source_video_id, settings, piece=2).asset_materializations_for_node("proxy_pieces") != []


@pytest.mark.folder
def test_pieces_of_another_version_are_left_to_others(tmp_path: Path, desk: Desk) -> None:
    source_video_id = planned(desk, film(tmp_path))
    result = materialized(source_video_id, replace(desk.settings, detector="histogram"), piece=3)
    assert result.success
    assert result.asset_materializations_for_node("proxy_pieces") == []
    assert {one.tries for one in desk.pieces.load(source_video_id)[1:]} == {MOST_TRIES}, "nobody is asked for them again and again"


@pytest.mark.folder
def test_the_sensor_asks_for_the_pieces_that_nobody_makes(tmp_path: Path, desk: Desk, database: Database) -> None:
    source_video_id = planned(desk, film(tmp_path))
    several = replace(desk.settings, machines=2, ingest_runs=2)
    _, *others = desk.pieces.load(source_video_id)
    with dg.DagsterInstance.ephemeral() as instance:
        assert [run.piece for run in look(instance, several, database).wanted] == [None], "nobody makes the proxy: it is due itself"
        with database.stage_lock("proxy", source_video_id), desk.pieces.claim(others[-1].id) as claimed:
            assert claimed is not None
            assert [run.piece for run in look(instance, several, database).wanted if run.assets == ("proxy_pieces",)] == [2, 1]
            assert [run for run in look(instance, desk.settings, database).wanted if run.piece is not None] == [], "with one machine"
            with database.begin() as connection:
                connection.execute(text("update proxy_pieces set tries = :most where number = 2"), {"most": MOST_TRIES})
            assert [run.piece for run in look(instance, several, database).wanted if run.piece is not None] == [1]


@pytest.mark.folder
def test_the_number_of_threads_changes_nothing(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines have different numbers of cores. Only what x264 says of itself in the first frame of a piece names the threads."""
    source = film(tmp_path, "film.mkv", size=(640, 480), interlaced=True, pixel_format="yuv420p10le", frames=96)
    found = probe(source)
    (_, piece), _ = pieces_of(source, found, piece_seconds=2)
    sides = Seeing(found, "fused").side_streams
    made = []
    for threads in (1, 2, 8):
        folder = tmp_path / str(threads)
        folder.mkdir()
        monkeypatch.setattr("resources.media.proxy_pieces.proxy_piece", partial(with_threads, threads))
        written = write_piece(source, found, source_streams(found), piece, folder, side_streams=sides)
        with av.open(str(written.picture)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        with av.open(str(written.picture)) as container:
            pictures = [frame_hash(frame) for frame in container.decode(video=0)]
        assert f"threads={threads} ".encode() in packets[0], "the encoder was to use so many"
        made.append(
            (packets[1:], pictures, [side.read_bytes() for side in written.sides], written.made.head, written.made.seconds.tolist())
        )
    assert len(made[0][1]) == piece.frames
    assert made[0] == made[1] == made[2]


def with_threads(threads: int, *arguments: Any) -> Profile:
    """The profile of a piece for a machine with so many cores: decoder, filters and encoder."""
    whole = proxy_piece(*arguments)
    outputs = (replace(output, options={**output.options, "threads": threads}) for output in whole.outputs)
    given = {**whole.input_options, "threads": threads, "filter_threads": threads}
    return replace(whole, input_options=given, outputs=tuple(outputs))


@pytest.mark.folder
def test_a_helper_that_a_person_cancels_is_not_asked_for_again(
    tmp_path: Path, desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it works, and before it has begun. The run that makes the proxy makes the rest itself."""
    source_video_id = planned(desk, film(tmp_path))
    several = replace(desk.settings, machines=2, ingest_runs=2)

    def helpers(instance: dg.DagsterInstance) -> list[int | None]:
        looked = settled_look(instance, several, database)
        return [run.piece for run in looked.wanted if run.assets == ("proxy_pieces",)]

    with dg.DagsterInstance.ephemeral() as instance, database.stage_lock("proxy", source_video_id):
        assert helpers(instance) == [3, 2, 1]

        def cancel(*arguments: Any, **options: Any) -> None:
            (run,) = instance.get_runs()
            instance.report_run_canceling(run)
            raise dg.DagsterExecutionInterruptedError

        monkeypatch.setattr("assets.proxy_pieces.write_piece", cancel)
        result = materialized(source_video_id, desk.settings, piece=3, instance=instance)
        (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert "no other machine helps with this proxy any more, and the run that makes it makes the rest" in str(failure.error)
        assert {one.tries for one in desk.pieces.load(source_video_id)[1:]} == {MOST_TRIES}
        assert helpers(instance) == []
        monkeypatch.undo()
    made = desk.make(source_video_id, maker=desk.maker)
    assert barcodes(made.path) == list(range(FRAMES))
    assert made.left == ([], [])
    waits = planned(desk, film(tmp_path, "other.mp4", frames=FRAMES + 1))
    with dg.DagsterInstance.ephemeral() as instance, database.stage_lock("proxy", waits):
        assert helpers(instance) == [3, 2, 1]
        run = instance.create_run_for_job(
            heaters_definitions(several).resolve_job_def("ingest"),
            tags={"dagster/partition": str(waits), PIECE_TAG: "3"},
            asset_selection=frozenset({dg.AssetKey("proxy_pieces")}),
        )
        instance.report_run_canceled(run)
        assert helpers(instance) == []
    assert {one.tries for one in desk.pieces.load(waits)[1:]} == {MOST_TRIES}


@pytest.mark.folder
def test_pieces_of_a_source_video_that_was_deleted_go_with_it(tmp_path: Path, desk: Desk) -> None:
    source_video_id = planned(desk, film(tmp_path))
    pieces = desk.pieces.load(source_video_id)
    desk.videos.set_state(source_video_id, S.DELETED)
    finish_deletion(source_video_id, database=desk.database, objects=desk.objects)
    assert (desk.stored(source_video_id), desk.pieces.load(source_video_id)) == ([], [])
    assert not desk.pieces.put_made(pieces[1].id), "a machine that still makes one sees that nobody wants it"


@pytest.mark.bucket
def test_pieces_that_nobody_joins_are_swept_away(tmp_path: Path, desk: Desk) -> None:
    unfinished = planned(desk, film(tmp_path))
    done = planned(desk, film(tmp_path, "other.mp4", frames=FRAMES + 1))
    with desk.database.stage_lock("proxy", done):
        desk.videos.set_state(done, S.PREPROCESSED)
        assert sweep_pieces(desk.database, desk.objects) == []
    assert len(sweep_pieces(desk.database, desk.objects)) == 4
    assert (desk.stored(done), desk.pieces.load(done)) == ([], [])
    assert len(desk.stored(unfinished)) == 4

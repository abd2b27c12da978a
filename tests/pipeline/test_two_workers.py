"""Two machines that work for a third one share Postgres, Redis and a bucket, and nothing else. Whatever is killed, nothing is lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import dagster as dg
import pytest
from sqlalchemy.engine import make_url

from assets.exports import export_problems
from heaters_dagster import cli
from heaters_dagster.domain.audit import source_video_of_key
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.run_queues import QUEUES
from heaters_dagster.domain.run_tags import LOST_TAG, PIECE_TAG
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.orchestration.dead_runs import unfinished
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings, load_settings
from resources.media.frame_hashes import frame_hash
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.celery_broker import listening
from resources.orchestrator.celery_launcher import open_celery
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.piece_store import PieceStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit
from tests.buckets import BucketServer
from tests.media_files import ffmpeg, make_video
from tests.pipeline_rows import reviews
from tests.proxy_files import make_proxy_file
from tests.two_hosts import Broker, Machine, OverTcp, SmallDisk, eventually, has_names_of_its_own, machine, switched_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VIDEOS = 8
#: A film that is made in pieces of two seconds, of which there are ten.
LONG_SECONDS, PIECE_SECONDS = 20, 2


class Postgres:
    """Postgres over TCP under a name, which leads to another address when the database fails over. url: with the name, for the machines."""

    NAME = "postgres.test"

    def __init__(self, url: str, folder: Path) -> None:
        address = make_url(url)
        (unix,) = Path(str(address.query["host"])).glob(".s.PGSQL.*[0-9]")
        self._named, self.hosts = has_names_of_its_own(), folder / "hosts"
        self._server = OverTcp(unix, self._leads_to("127.0.0.2"))
        host = self.NAME if self._named else "127.0.0.1"
        self.url = address.set(host=host, port=self._server.port, query={}).render_as_string(hide_password=False)

    def fail_over(self) -> None:
        """All connections break, and the name leads elsewhere."""
        self._server.move(self._leads_to("127.0.0.3"))

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _leads_to(self, address: str) -> str:
        self.hosts.write_text(f"127.0.0.1 localhost\n{address} {self.NAME}\n")
        return address if self._named else "127.0.0.1"


def encodes(one: Machine) -> bool:
    """Whether a proxy is being encoded on this machine."""
    return bool(one.processes("libx264"))


def makes_a_piece(one: Machine) -> bool:
    return bool(one.processes("trim=") and encodes(one))


def exports(one: Machine) -> bool:
    return any(one.settings.work_folder.glob("export-*"))


def one_of_them_loses_power(machines: tuple[Machine, Machine], at_work: Callable[[Machine], bool]) -> Machine:
    died: list[Machine] = []

    def look() -> bool:
        died.extend(one for one in machines if not died and one.loses_power_while(partial(at_work, one)))
        return bool(died)

    eventually(look, f"{at_work.__name__}: nobody", look=0.002)
    return died[0]


def test_two_machines_finish_everything_once_whatever_is_killed(database: Database, buckets: BucketServer, tmp_path: Path) -> None:
    long = f"testsrc2=s=1280x720:r=25:d={LONG_SECONDS}"
    films = [
        ffmpeg(["-f", "lavfi", "-i", long, "-f", "lavfi", "-i", "sine", "-shortest", "-c:v", "mpeg4", "-g", "25"], tmp_path / "long.mp4"),
        *(
            make_video(tmp_path / f"film-{number}.mp4", frames=24 + 2 * number, scenes=(12,), barcode=True, size=(160 + 2 * number, 120))
            for number in range(1, VIDEOS)
        ),
    ]
    videos, clips = SourceVideoStore(database), ClipStore(database)
    with Broker(tmp_path / "redis") as broker, Postgres(database.url, tmp_path) as postgres:
        shared = Settings(
            home=tmp_path, database_url=postgres.url, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url, secret_key="of-all",
            broker_url=broker.url, broker_visibility_seconds=2, run_lease_seconds=10, machines=2,
            detector="adaptive", embedding_model="no-such-model", embedding_fallback=True,
            pieces_from_seconds=10, piece_seconds=PIECE_SECONDS,
        )  # fmt: skip
        names = {"desk", "one", "two"}
        desk, *workers = (machine(name, shared, tmp_path, others=sorted(names - {name})) for name in sorted(names))
        one, two = workers
        for each in (desk, one, two):
            each.hosts = postgres.hosts
        with switched_on(desk, one, two):
            desk.start_desk()
            one.start_worker()
            two.start_worker()
            for film in films:
                buckets.client.upload_file(str(film), shared.bucket, f"incoming/{film.name}")
            ids = [videos.add(f"s3://{shared.bucket}/incoming/{film.name}", film.stem).id for film in films]
            for wait in (one.wait_for_worker, two.wait_for_worker, desk.wait_for_desk):
                wait()
            desk.start_daemon()
            assert set(listening(open_celery(shared)).values()) == {tuple(QUEUES)}, "each machine listens for every kind of work"

            first = one_of_them_loses_power((one, two), makes_a_piece)
            pieces = PieceStore(database).load(ids[0])
            assert len(pieces) == LONG_SECONDS // PIECE_SECONDS
            broker.stop()
            broker.start(emptied=True)
            first.start_worker()
            eventually(lambda: any(videos.load(each).state is SourceVideoState.SCENES_DETECTED for each in ids), "nothing was cut")
            desk.kill("daemon")
            desk.start_daemon()
            eventually(lambda: all(videos.load(each).state is SourceVideoState.SCENES_DETECTED for each in ids), "not all were cut")
            cut = [clip for each in ids for clip in clips.load_live(each)]
            approved = [clip for each in ids[::2] for clip in clips.load_live(each)]
            eventually(lambda: all(videos.load(each).gold_master_filepath for each in ids), "not all have a gold master")
            with open_instance(Settings(home=tmp_path / "eyes", database_url=database.url)) as instance:
                eventually(lambda: not unfinished(instance), "runs are left that never end")
            postgres.fail_over()
            reviews(database).approve([clip.id for clip in approved], reviewer="ada")
            second = one_of_them_loses_power((one, two), exports)
            second.start_worker()
            eventually(lambda: all(clips.load(clip.id).state is ClipState.EMBEDDED for clip in approved), "not all are searchable")
            with open_instance(Settings(home=tmp_path / "eyes", database_url=database.url)) as instance:
                eventually(lambda: not unfinished(instance), "runs are left that never end")
                died_with = nothing_is_lost_and_nothing_was_begun_twice(instance)
            assert broker.waiting([queue for queues in QUEUES.values() for queue in queues]) == 0
    objects = open_object_store(shared)
    assert audit(database, objects) == []
    assert sum(clip.frame_count for clip in cut if clip.source_video_id == ids[0]) == LONG_SECONDS * 25
    short = [clip.frame_count for clip in cut if clip.source_video_id != ids[0]]
    assert short == [count for number in range(1, VIDEOS) for count in (12, 12 + 2 * number)]
    assert list(objects.list("pieces/")) == [], "pieces are kept until they are joined, and not longer"
    everything_was_written_once(buckets, str(shared.bucket), but_of=died_with, files=2 * VIDEOS + len(approved))
    frames_are_those_of_one_machine(films, ids, objects, tmp_path)
    exports_are_what_was_approved([clips.load(clip.id) for clip in approved], objects, clips, WorkFolder(tmp_path / "work"))
    for worker in workers:
        left = [path.name for path in worker.settings.work_folder.glob("*-*")]
        assert [name for name in left if not name.endswith(".continued")] == [], "what a download had begun is kept for a while"


def test_a_worker_whose_disk_is_full_says_so_and_another_does_the_work(
    database: Database, buckets: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No try is counted for it. When there is room again it goes on by itself."""
    videos, clips = SourceVideoStore(database), ClipStore(database)
    with Broker(tmp_path / "redis") as broker:
        shared = Settings(
            home=tmp_path, database_url=database.url, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url, secret_key="of-all",
            broker_url=broker.url, machines=2, ingest_runs=1, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True,
        )  # fmt: skip
        names = {"desk", "full", "other"}
        desk, full, other = (machine(name, shared, tmp_path, others=sorted(names - {name})) for name in sorted(names))

        def added(name: str, *, frames: int) -> int:
            film = make_video(tmp_path / f"{name}.mp4", frames=frames, scenes=(12,), size=(160, 120))
            buckets.client.upload_file(str(film), str(shared.bucket), f"incoming/{film.name}")
            return videos.add(f"s3://{shared.bucket}/incoming/{film.name}", name).id

        def is_cut_and_archived(one: int) -> bool:
            row = videos.load(one)
            return row.state is SourceVideoState.SCENES_DETECTED and row.gold_master_filepath is not None

        with SmallDisk.under(full.settings.home) as disk, switched_on(desk, full, other):
            if isinstance(disk, str):
                pytest.skip(disk)
            desk.start_desk()
            full.start_worker()
            first = added("first", frames=30)
            full.wait_for_worker()
            desk.wait_for_desk()
            disk.fill()
            desk.start_daemon()
            eventually(lambda: full.said("the disk of full has too little room: source video"), f"not a word: {full.log.read_text()}")
            (words,) = waits_in_status(shared, monkeypatch, capsys)
            assert re.fullmatch(r"waits for room on the disk: needs [0-9.]+ [kM]?B, nothing is free", words)
            assert no_try_was_counted(videos)
            with open_instance(Settings(home=tmp_path / "eyes", database_url=database.url)) as instance:
                other.start_worker()
                eventually(lambda: is_cut_and_archived(first), f"the other one did not do the work: {other.log.read_text()[-3000:]}")
                assert not full.said("the disk of full has room again")
                eventually(lambda: not unfinished(instance), "runs are left that never end")
                other.lose_power()
                disk.make_room()
                second = added("second", frames=40)
                eventually(lambda: is_cut_and_archived(second), f"it did not go on: {full.log.read_text()[-3000:]}")
                assert full.said("the disk of full has room again")
                live = [clip for each in (first, second) for clip in clips.load_live(each)]
                reviews(database).approve([clip.id for clip in live], reviewer="ada")
                eventually(lambda: all(clips.load(clip.id).state is ClipState.EMBEDDED for clip in live), "not all is searchable")
                eventually(lambda: not unfinished(instance), "runs are left that never end")
                assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    assert no_try_was_counted(videos)
    assert waits_in_status(shared, monkeypatch, capsys) == []
    assert audit(database, open_object_store(shared)) == []


def waits_in_status(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `heaters status` says of source videos that wait for room."""
    with monkeypatch.context() as patch:
        for name, value in settings.to_environment().items():
            patch.setenv(name, value)
        load_settings.cache_clear()
        capsys.readouterr()
        assert cli.run(["status", "--json"]) == 0
    load_settings.cache_clear()
    return [row["waits"] for row in json.loads(capsys.readouterr().out) if row["waits"]]


def no_try_was_counted(videos: SourceVideoStore) -> bool:
    return all((row.attempts, row.error, row.gold_master_attempts) == (0, None, 0) for row in videos.load_all())


def nothing_is_lost_and_nothing_was_begun_twice(instance: dg.DagsterInstance) -> set[int]:
    """The source videos whose runs died with a machine."""
    runs = instance.get_runs()
    begun = Counter(
        run.run_id
        for run in runs
        for record in instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_START).records
        if record
    )
    assert set(begun.values()) == {1}, "a run was begun twice"
    lost = [run for run in runs if LOST_TAG in run.tags]
    assert {"ingest", "export"} <= {run.job_name for run in lost}, "the machines were not killed at work"
    assert [run for run in runs if PIECE_TAG in run.tags and run.status is dg.DagsterRunStatus.SUCCESS], "no other run made a piece"
    failed = [run for run in runs if run.status is not dg.DagsterRunStatus.SUCCESS and run not in lost]
    assert [(run.job_name, run.status, run.tags) for run in failed if "heaters/ended" not in run.tags] == []
    for pool in ("encode", "gold_master"):
        info = instance.event_log_storage.get_concurrency_info(pool)
        assert (info.claimed_slots, info.pending_steps) == ([], []), pool
    return {int(run.tags["dagster/partition"]) for run in lost}


def everything_was_written_once(buckets: BucketServer, bucket: str, *, but_of: set[int], files: int) -> None:
    """The bucket keeps versions, so a second writing of the same bytes is seen. but_of: source videos whose work was cut off."""
    found = buckets.client.list_object_versions(Bucket=bucket)["Versions"]
    written = Counter(
        version["Key"] for version in found if version["Key"].startswith(("review_proxies/", "final_clips/", "gold_masters/"))
    )
    assert {source_video_of_key(key) for key, count in written.items() if count > 1} <= but_of, written
    assert len(written) == files


def frames_are_those_of_one_machine(films: list[Path], ids: list[int], objects: ObjectStore, folder: Path) -> None:
    for film, source_video_id in zip(films, ids, strict=True):
        made, here = folder / "made.mp4", make_proxy_file(film, folder / f"{film.stem}-here.mp4")
        objects.get_file(proxy_key(source_video_id), made)
        assert hashes(made) == hashes(here), film.name
        made.unlink()


def hashes(path: Path) -> list[str]:
    with av.open(path) as container:
        return [frame_hash(frame) for frame in container.decode(video=0)]


def exports_are_what_was_approved(exported: list[Clip], objects: ObjectStore, clips: ClipStore, work: WorkFolder) -> None:
    for clip in exported:
        (artifact,) = clips.artifacts(clip.id, kind="export")
        manifest = ExportManifest.from_json(dict(artifact.manifest))
        assert (manifest.start_frame, manifest.end_frame) == (clip.start_frame, clip.end_frame)
        assert export_problems(manifest, objects=objects, work=work) == []

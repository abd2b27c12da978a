"""What a second worker brings: 16 videos by one worker on one core, and by two on one core each; Postgres, Redis and bucket are shared.

The machine has two cores, and all that is no worker shares them: the desk, Postgres, Redis, and a bucket written in Python, which in a
deployment are elsewhere. With one worker they would have the other core for themselves. So an ffmpeg outside of Heaters keeps that one as
busy as the second worker does. What the others cost is told, and for which part of the time the workers had a run. With videos of 12
seconds they cost more than half of what the workers did, and the second worker brought 1.5 times; a source video is seldom that short.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import dagster as dg
import ffmpeg
import imageio_ffmpeg
from moto.server import ThreadedMotoServer
from sqlalchemy import text
from sqlalchemy.engine import make_url

from benchmarks.processes import processor_seconds
from benchmarks.table import Row, at_least
from heaters_dagster.domain.stages import Job
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG
from resources.postgres import embedded_postgres
from resources.postgres.database import Database, open_database
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import CREDENTIALS
from tests.two_hosts import Broker, Machine, eventually, machine, over_tcp, switched_on

_VIDEOS = 16
_SECONDS = 60
_PATIENCE_SECONDS = 1500.0


def run() -> list[Row]:
    os.environ.update(CREDENTIALS)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="heaters-workers-") as name, ExitStack() as running:
        folder = Path(name)
        film = _film(folder / "film.mp4")
        postgres = folder / "postgres"
        running.callback(embedded_postgres.remove, postgres)
        database = open_database(Settings(home=folder / "here", database_url=embedded_postgres.ensure_running(postgres)))
        running.callback(database.dispose)
        (unix,) = Path(str(make_url(database.url).query["host"])).glob(".s.PGSQL.*[0-9]")
        port = running.enter_context(over_tcp(unix)).port
        url = make_url(database.url).set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        running.callback(server.stop)
        host, s3_port = server.get_host_and_port()
        broker = running.enter_context(Broker(folder / "redis"))
        shared = Settings(
            home=folder, database_url=url, bucket="heaters", s3_endpoint_url=f"http://{host}:{s3_port}", secret_key="of-all-machines",
            broker_url=broker.url, machines=2, ingest_runs=1, detector="adaptive", embedding_model="none", embedding_fallback=True,
        )  # fmt: skip
        client = boto3.client("s3", endpoint_url=shared.s3_endpoint_url)
        client.create_bucket(Bucket="heaters")
        desk, one, two = machine("desk", shared, folder), machine("one", shared, folder), machine("two", shared, folder)
        one.core, two.core = cores[0], cores[-1]
        with switched_on(desk, one, two):
            desk.start_desk()
            desk.wait_for_desk()
            desk.start_daemon()
            others = {"desk": desk.processes, "Postgres": lambda: _postgres(postgres), "Redis": lambda: [broker.process_id]}
            with _kept_busy(cores[-1], film):
                alone = _measured([one], database, client, film, others)
            together = _measured([one, two], database, client, film, others)
    note = f"{_VIDEOS} videos of {_SECONDS} s, 1280x720; each worker on one core; load of the machine {os.getloadavg()[1]:.1f}"
    return [
        at_least(f"{_VIDEOS} videos by two workers, times one", alone.seconds / together.seconds, "x", 1.8, note),
        *alone.rows("one worker"),
        *together.rows("two workers"),
    ]


@dataclass(frozen=True, slots=True)
class _Measured:
    """seconds: from the first run that begins to the last video that is ready for review. at_work: the part of that time in which a worker
    had a run. processors: seconds of a core, by who used them."""

    seconds: float
    at_work: float
    processors: Mapping[str, float]

    def rows(self, who: str) -> list[Row]:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.processors.items())
        return [
            Row(f"{_VIDEOS} videos by {who}", self.seconds, "s", note=f"processor time: {spent}"),
            Row(
                f"a run at work, {who}",
                self.at_work * 100,
                "%",
                note="of their time, from the first run to the end of the last",
            ),
        ]


def _measured(
    workers: list[Machine], database: Database, client: object, film: Path, others: Mapping[str, Callable[[], list[int]]]
) -> _Measured:
    for worker in workers:
        if not worker.processes():
            worker.start_worker("ingest")
            worker.wait_for_worker()
    videos, began = SourceVideoStore(database), len(SourceVideoStore(database).load_all())
    for number in range(began, began + _VIDEOS):
        # Equal bytes would be one source video.
        client.put_object(Bucket="heaters", Key=f"incoming/{number}.mp4", Body=film.read_bytes() + _box(number))  # type: ignore[attr-defined]
    ids = [videos.add(f"s3://heaters/incoming/{number}.mp4", str(number)).id for number in range(began, began + _VIDEOS)]
    eventually(lambda: any(videos.load(each).state is not SourceVideoState.NEW for each in ids), "nothing began", look=0.05)
    everybody: dict[str, Callable[[], list[int]]] = {
        "workers": lambda: [one for worker in workers for one in worker.processes()],
        **others,
        "bucket": lambda: [os.getpid()],
    }
    before = {name: processor_seconds(found()) for name, found in everybody.items()}
    at = time.monotonic()
    done = SourceVideoState.SCENES_DETECTED
    eventually(lambda: _all_are(done, ids, database), "not all were cut", seconds=_PATIENCE_SECONDS, look=0.5)
    seconds = time.monotonic() - at
    processors = {name: processor_seconds(found()) - before[name] for name, found in everybody.items()}
    with open_instance(workers[0].settings) as instance:
        mine = dg.RunsFilter(job_name=Job.INGEST, tags={PARTITION_NAME_TAG: [str(each) for each in ids]})
        eventually(lambda: all(record.end_time for record in instance.get_run_records(mine)), "a run did not end")
        runs = [(record.start_time or 0.0, record.end_time or 0.0) for record in instance.get_run_records(mine)]
    whole = max(end for _, end in runs) - min(start for start, _ in runs)
    return _Measured(seconds, sum(end - start for start, end in runs) / whole / len(workers), processors)


@contextmanager
def _kept_busy(core: int, film: Path) -> Iterator[None]:
    """Encode the film on this core, over and over."""
    ffmpeg_program, quiet = imageio_ffmpeg.get_ffmpeg_exe(), ["-v", "error"]
    encode = [ffmpeg_program, *quiet, "-stream_loop", "-1", "-i", str(film), "-c:v", "libx264", "-g", "1", "-f", "null", "-"]
    process = subprocess.Popen(["taskset", "--cpu-list", str(core), *encode])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _all_are(state: SourceVideoState, ids: list[int], database: Database) -> bool:
    """One question for all of them: the benchmark shares the cores with what it measures."""
    with database.read() as connection:
        there = text("select count(*) from source_videos where id = any(:ids) and state = :state")
        return bool(connection.scalar(there, {"ids": ids, "state": state.value}) == len(ids))


def _postgres(folder: Path) -> list[int]:
    """The server and its processes; what its ended processes used is counted with the server."""
    server = embedded_postgres.running_pid(folder)
    children = Path(f"/proc/{server}/task/{server}/children")
    return [server, *map(int, children.read_text().split())] if server else []


def _film(path: Path) -> Path:
    source = ffmpeg.input(f"testsrc2=size=1280x720:rate=25:duration={_SECONDS}", format="lavfi").filter("noise", alls=3, allf="t")
    ffmpeg.output(source, str(path), vcodec="libx264", preset="ultrafast").run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return path


def _box(number: int) -> bytes:
    """An MP4 box that players skip."""
    body = str(number).encode()
    return (8 + len(body)).to_bytes(4, "big") + b"free" + body

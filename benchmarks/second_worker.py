"""What a second worker brings: 16 videos by one worker on one core, and by two on one core each; Postgres, Redis and bucket are shared."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
import ffmpeg
import imageio_ffmpeg
from moto.server import ThreadedMotoServer
from sqlalchemy.engine import make_url

from benchmarks.table import Row, at_least
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.postgres import embedded_postgres
from resources.postgres.database import Database, open_database
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import CREDENTIALS
from tests.two_hosts import Broker, Machine, eventually, machine, over_tcp, switched_on

_VIDEOS = 16
_SECONDS = 12
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
        port = running.enter_context(over_tcp(unix))
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
            alone = _seconds([one], database, client, film)
            together = _seconds([one, two], database, client, film)
    note = f"{_VIDEOS} videos of {_SECONDS} s, 1280x720; each worker on one core; load of the machine {os.getloadavg()[1]:.1f}"
    return [
        at_least("16 videos by two workers, times one", alone / together, "x", 1.8, note),
        Row("16 videos by one worker", alone, "s"),
        Row("16 videos by two workers", together, "s"),
    ]


def _seconds(workers: list[Machine], database: Database, client: object, film: Path) -> float:
    """From the first run that begins to the last video that is ready for review."""
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
    at = time.monotonic()
    done = SourceVideoState.SCENES_DETECTED
    eventually(lambda: all(videos.load(each).state is done for each in ids), "not all were cut", seconds=_PATIENCE_SECONDS)
    return time.monotonic() - at


def _film(path: Path) -> Path:
    source = ffmpeg.input(f"testsrc2=size=1280x720:rate=25:duration={_SECONDS}", format="lavfi").filter("noise", alls=3, allf="t")
    ffmpeg.output(source, str(path), vcodec="libx264", preset="ultrafast").run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return path


def _box(number: int) -> bytes:
    """An MP4 box that players skip."""
    body = str(number).encode()
    return (8 + len(body)).to_bytes(4, "big") + b"free" + body

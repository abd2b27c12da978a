"""`heaters up`, whole: a submitted file becomes clips, an approval becomes a file, and one signal ends everything."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings, child_environment
from resources import embedded_postgres
from resources.clip_store import ClipStore
from resources.database import open_database
from resources.source_video_store import SourceVideoStore
from tests.media_files import make_video
from tests.pipeline_rows import reviews

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(
        home=tmp_path / "home",
        detector="adaptive",
        embedding_model="no-such-model",
        embedding_fallback=True,
        dagster_port=free_port(),
        review_port=free_port(),
    )
    yield settings
    embedded_postgres.remove(settings.postgres_folder)


def eventually(what: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.3)
    return False


def processes_of(settings: Settings) -> list[str]:
    """Command lines of processes that work for this home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
                running = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            except OSError:
                continue
            if running and f"HEATERS_HOME={settings.home}".encode() in environment:
                found.append(command.replace(b"\0", b" ").decode())
    return found


def test_from_a_submitted_file_to_an_exported_clip_and_to_the_end(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        command = [sys.executable, "-c", "from heaters_dagster.cli import main; main()", "up"]
        up = subprocess.Popen(command, env=child_environment(settings), stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        assert eventually(lambda: "Everything runs" in log.read_text() or up.poll() is not None, 300), log.read_text()
        assert up.poll() is None, log.read_text()
        for port in (settings.dagster_port, settings.review_port):
            assert f"http://127.0.0.1:{port}" in log.read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30) as page:
                assert page.status == 200

        database = open_database(replace(settings))
        videos, clips = SourceVideoStore(database), ClipStore(database)
        video = videos.add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
        assert eventually(lambda: videos.load(video.id).state is SourceVideoState.SCENES_DETECTED, 200), videos.load(video.id)
        first, *_ = clips.load_live(video.id)
        reviews(database).approve([first.id], reviewer="ada")
        file = settings.objects_folder / "final_clips" / "video_1_clip_001.mp4"
        assert eventually(file.is_file, 120), clips.load(first.id)
        assert eventually(lambda: clips.load(first.id).state is ClipState.EMBEDDED, 200), clips.load(first.id)
        database.dispose()
    finally:
        up.send_signal(signal.SIGTERM)
        code = up.wait(60)
    assert code == 0, log.read_text()
    assert processes_of(settings) == []
    assert not embedded_postgres.status(settings.postgres_folder).running, log.read_text()
    assert log.read_text().rstrip().endswith("everything has ended")

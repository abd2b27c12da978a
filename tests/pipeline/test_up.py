"""`heaters up`, whole: a submitted file becomes clips, an approval becomes a file, and one signal ends everything.

All of it with HEATERS_LOG_FORMAT=json: the lines of every process are parsed. What people see in a terminal is in test_supervisor.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.postgres import embedded_postgres
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import dagster_database_url, open_database
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit
from tests.media_files import make_video
from tests.pipeline.test_secrets import MARK, files_with, rows_with
from tests.pipeline_rows import reviews
from tests.this_machine import eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(
        home=tmp_path / "home",
        detector="adaptive",
        embedding_model="no-such-model",
        embedding_fallback=True,
        dagster_port=free_port(),
        review_port=free_port(),
        secret_key=f"{MARK}-signs-links",
        dagster_token=f"{MARK}-of-16-or-more",
        log_format="json",
        metrics_address=f"127.0.0.1:{free_port()}",
    )
    yield settings
    embedded_postgres.remove(settings.postgres_folder)


def status_of(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as page:
            return int(page.status)
    except urllib.error.HTTPError as error:
        return error.code


#: Part of `heaters up` -> what only its process has in its command line.
PARTS = {"code": "up.code_server", "daemon": "up.daemon", "dagster": "dagster_ui", "review": "-m review_app"}


def ids_of(settings: Settings, part: str) -> list[int]:
    return [process_id for process_id, command in running_for(settings).items() if part in command]


def processes_of(settings: Settings) -> list[str]:
    """Command lines of processes that work for this home."""
    return list(running_for(settings).values())


def running_for(settings: Settings) -> dict[int, str]:
    """Process id -> command line of the processes that work for this home."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
                running = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            except OSError:
                continue
            if running and f"HEATERS_HOME={settings.home}".encode() in environment:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode()
    return found


def hostile_folder(folder: Path) -> Path:
    """A folder with Python files under the names of modules that Heaters, Dagster, Streamlit and Python import, and with other files that
    Dagster and Streamlit read from the folder they work in. Each one leaves its name in `folder/ran` when it is used."""
    folder.mkdir()
    trap = f"open({str(folder / 'ran')!r}, 'a').write(__name__ + '\\n')\n"
    for name in (*OURS_AND_OTHERS, *STANDARD_LIBRARY):
        (folder / f"{name}.py").write_text(trap)
    (folder / ".env").write_text("HEATERS_DETECTOR=no-such-detector\nPYTHONPATH=.\n")
    (folder / "dagster.yaml").write_text("storage: {sqlite: {base_dir: here}}\n")
    (folder / "workspace.yaml").write_text("load_from: [{python_file: uvicorn.py}]\n")
    (folder / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "uvicorn"\n')
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "config.toml").write_text("[server]\nbaseUrlPath = 'elsewhere'\n")
    return folder


OURS_AND_OTHERS = (
    "assets", "heaters_dagster", "resources", "review_app", "sql", "alembic", "av", "boto3", "click", "cv2", "dagster", "dagster_graphql",
    "dagster_postgres", "dagster_webserver", "ffmpeg", "grpc", "imageio_ffmpeg", "numpy", "psycopg", "psycopg2", "pydantic", "rich",
    "sentence_transformers", "sqlalchemy", "starlette", "streamlit", "torch", "uvicorn", "yaml", "yt_dlp",
)  # fmt: skip
STANDARD_LIBRARY = ("sitecustomize", "usercustomize", "asyncio", "json", "logging", "multiprocessing", "queue", "random", "sqlite3", "ssl")


def test_from_a_submitted_file_to_an_exported_clip_and_to_the_end(settings: Settings, tmp_path: Path) -> None:
    log, folder = tmp_path / "up.log", hostile_folder(tmp_path / "hostile")
    with log.open("wb") as output:
        # As a person starts it, in a folder where anything may lie; PYTHONPATH as shells often leave it, with an empty part.
        command = [str(Path(sys.executable).with_name("heaters")), "up"]
        environment = {**os.environ, **settings.to_environment(), "PYTHONPATH": ""}
        up = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        assert eventually(lambda: "Everything runs" in log.read_text() or up.poll() is not None, seconds=300, pause=0.3), log.read_text()
        assert up.poll() is None, log.read_text()
        for port in (settings.dagster_port, settings.review_port):
            assert f"http://127.0.0.1:{port}" in log.read_text()
            signed_in = {"Authorization": f"Bearer {settings.dagster_token}"}
            assert status_of(f"http://127.0.0.1:{port}", signed_in) == 200
            assert status_of(f"http://127.0.0.1:{port}", {**signed_in, "Host": "evil.example"}) == 421
            for path in ("healthz", "readyz"):  # who asks for health has no token
                assert status_of(f"http://127.0.0.1:{port}/{path}", {}) == 200
                assert status_of(f"http://127.0.0.1:{port}/{path}", {"Host": "evil.example"}) == 421
        assert status_of(f"http://127.0.0.1:{settings.dagster_port}/server_info", {}) == 401
        health = partial(subprocess.run, [command[0], "health"], env=environment, capture_output=True, text=True)
        asked = health()
        assert (asked.returncode, asked.stdout) == (0, "review: ready\ndagster: ready\ndaemon: ready\ncode: ready\n"), asked.stderr

        database = open_database(replace(settings))
        videos, clips = SourceVideoStore(database), ClipStore(database)
        film = make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))
        other_port = {**environment, "HEATERS_REVIEW_PORT": "8599"}
        told = subprocess.run([command[0], "submit", film], env=other_port, capture_output=True, text=True, check=True).stdout
        assert f"watch it at {settings.review_url}\n" in told
        (video,) = videos.load_all()
        assert eventually(lambda: videos.load(video.id).state is SourceVideoState.SCENES_DETECTED, seconds=200, pause=0.3), videos.load(
            video.id
        )
        first, second = clips.load_live(video.id)
        reviews(database).approve([first.id], reviewer="ada")
        file = settings.objects_folder / "final_clips" / "video_1_clip_001.mp4"
        assert eventually(file.is_file, seconds=120, pause=0.3), clips.load(first.id)
        assert eventually(lambda: clips.load(first.id).state is ClipState.EMBEDDED, seconds=200, pause=0.3), clips.load(first.id)

        killed = [process_id for part in PARTS.values() for process_id in ids_of(settings, part)]
        assert len(killed) == len(PARTS)
        for process_id in killed:
            os.kill(process_id, signal.SIGKILL)
        reviews(database).approve([second.id], reviewer="ada")
        assert eventually(lambda: all(ids_of(settings, part) for part in PARTS.values()), seconds=120, pause=0.3), log.read_text()
        assert not set(killed) & {process_id for part in PARTS.values() for process_id in ids_of(settings, part)}
        second_file = file.with_name("video_1_clip_002.mp4")
        assert eventually(second_file.is_file, seconds=200, pause=0.3), clips.load(second.id)
        assert [f"{part} was ended by SIGKILL; starting it again" in log.read_text() for part in PARTS] == [True] * len(PARTS)
        assert eventually(lambda: health().returncode == 0, seconds=120, pause=1), health().stderr
        assert audit(database, open_object_store(settings)) == []
        database.dispose()
        for place in (f"127.0.0.1:{settings.review_port}", settings.metrics_address):
            with urllib.request.urlopen(f"http://{place}/metrics", timeout=60) as page:
                figures = page.read().decode()
            assert re.search(r'heaters_clips\{state="embedded"\} [12]\.0', figures)
            assert "heaters_approval_to_file_seconds_count 2.0" in figures
            assert 'heaters_stage_seconds_count{outcome="done",stage="proxy"} 1.0' in figures
            assert 'heaters_ticks_last_hour{name="approvals_to_exports",status="success"}' in figures
            assert 'heaters_daemon_heartbeat_seconds{daemon="sensor"}' in figures
        commands = processes_of(settings)
        assert any("dagster_ui" in command for command in commands)
        assert any("multiprocessing.forkserver" in command for command in commands), "run workers start from a warm process"
        assert not [command for command in commands if MARK in command]
        assert rows_with(MARK, dagster_database_url(settings)) == set()
        # The processes themselves have the settings in their environment; what they write has not.
        assert files_with(MARK, settings.home) == []
        assert MARK not in log.read_text()
    finally:
        up.send_signal(signal.SIGTERM)
        code = up.wait(60)
    assert code == 0, log.read_text()
    assert not (folder / "ran").exists(), (folder / "ran").read_text()
    assert processes_of(settings) == []
    asked = subprocess.run([command[0], "health", "--json"], env=environment, capture_output=True, text=True)
    assert asked.returncode == 1
    assert {name: one["ready"] for name, one in json.loads(asked.stdout).items()} == dict.fromkeys(
        ["review", "dagster", "daemon", "code"], False
    )
    assert not embedded_postgres.status(settings.postgres_folder).running, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"time", "level", "event", "process"} <= line.keys() for line in lines)
    assert lines[-1]["event"] == "everything has ended"
    said = [line for line in lines if "pid" in line]  # the others are those of `heaters up` itself
    assert {line["process"] for line in said} >= {"review", "run"}
    ids = {"source_video_id": video.id, "clip_id": first.id}
    exported, again = [line for line in said if line["event"] == "exported"]
    assert again["clip_id"] == second.id
    assert ids.items() <= exported.items()
    assert exported["process"] == "run"
    assert len(exported["run_id"]) == 36
    of_run = [line["event"] for line in said if line.get("run_id") == exported["run_id"] and line.get("stage") == "exports"]
    assert [name for name in of_run if name in {"stage begins", "exporting", "exported", "stage done"}] == [
        "stage begins", "exporting", "exported", "stage done",
    ]  # fmt: skip
    # A gold master that was being made when its parts were killed says so, and was made again.
    interrupted = {line.get("run_id") for line in said if "interrupted unexpectedly" in str(line)}
    assert not [line for line in said if line["level"] in {"error", "critical"} and line.get("run_id", line["pid"]) not in interrupted]

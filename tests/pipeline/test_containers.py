"""The containers of deploy/docker without containers: each command of the files is run as it stands, with addresses of this machine.

There is no container engine where the tests run, so what only an engine can show is not shown: that the images build, limits, volumes.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from heaters_dagster.commands import serve
from heaters_dagster.commands.up import code_server, worker
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import PROJECT_ROOT, Settings, load_settings, secret_setting_names, setting_names
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.session_check import connections_needed
from resources.postgres.source_video_store import SourceVideoStore
from review_app import __main__ as review_app
from tests.buckets import BucketServer
from tests.media_files import ffmpeg, make_video
from tests.this_machine import eventually, free_port

FOLDER = PROJECT_ROOT / "deploy" / "docker"
OURS = re.compile(r"heaters(-web)?:")
PROGRAMS = Path(sys.executable).parent


def composed() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in composed()["services"].items() if OURS.match(one["image"])}


def grace_seconds(name: str) -> float:
    """After how long the engine kills what it has told to end."""
    given = composed()["services"][name].get("stop_grace_period", "10s")
    assert given.endswith("s")
    return float(given.removesuffix("s"))


def test_a_part_has_more_time_to_end_than_it_gives_to_its_runs() -> None:
    units = PROJECT_ROOT / "deploy" / "systemd"
    for patience, service, unit in (
        (worker.PATIENCE_SECONDS, "worker", "heaters-worker.service"),
        (code_server.PATIENCE_SECONDS, "code", "heaters@.service"),
        (review_app.GRACE_SECONDS, "review", "heaters@.service"),
    ):
        (of_unit,) = re.findall(r"^TimeoutStopSec=(\d+)$", (units / unit).read_text(), re.MULTILINE)
        assert min(grace_seconds(service), float(of_unit)) >= patience + 5, service
    (of_pod,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", (PROJECT_ROOT / "deploy/kubernetes/heaters.yaml").read_text())
    assert float(of_pod) >= review_app.GRACE_SECONDS + 5


def test_the_files_have_no_faults_that_their_own_checkers_find() -> None:
    for command in (
        ("hadolint", str(FOLDER / "Dockerfile")),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")),
    ):
        done = subprocess.run([str(PROGRAMS / command[0]), *command[1:]], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_service_is_limited_watched_and_started_in_an_order_that_exists() -> None:
    everything = composed()
    for name, one in everything["services"].items():
        assert "mem_limit" in one, name
        assert set(one.get("depends_on", {})) <= everything["services"].keys(), name
        assert set(one.get("secrets", [])) <= everything["secrets"].keys(), name
        assert ("healthcheck" in one) != (one["restart"] == "no"), f"{name}: what goes on is watched, what ends is not"
    for name, one in services().items():
        assert (one["read_only"], one["cap_drop"], one["entrypoint"]) == (True, ["ALL"], ["heaters"]), name
    stated = set(services()["review"]["environment"])
    known = {name for spec in Settings().to_environment() for name in (spec, f"{spec}_FILE")} | {
        f"{name}_FILE" for name in ("HEATERS_DATABASE_URL", "HEATERS_BROKER_URL", "HEATERS_SECRET_KEY", "HEATERS_DAGSTER_TOKEN")
    }
    more = {"S3_PROD_BUCKET_NAME", "HEATERS_S3_ENDPOINT_URL", "HEATERS_S3_BROWSER_URL", "HEATERS_REVIEW_URL", "HEATERS_DAGSTER_URL"}
    assert {one for one in stated if not one.startswith("AWS_")} <= known | more


def test_postgres_allows_as_many_connections_as_three_workers_need() -> None:
    (allowed,) = re.findall(r"max_connections=(\d+)", " ".join(composed()["services"]["postgres"]["command"]))
    kept_for_administrators = 3
    assert connections_needed(Settings(machines=3)) <= int(allowed) - kept_for_administrators
    assert "--scale worker=3" in (PROJECT_ROOT / "docs/operate/install.md").read_text()


def test_what_programs_keep_at_home_lies_on_a_volume() -> None:
    """The model hub and others write to ~/.cache, and in the containers all but volumes and /tmp is read only."""
    text = (FOLDER / "Dockerfile").read_text()
    (home,) = re.findall(r"--home-dir (\S+) heaters\b", text)
    assert re.findall(r"HEATERS_HOME=(\S+)", text) == [home]
    for name, one in services().items():
        assert home in one["volumes"], name


def test_the_light_image_leaves_out_only_what_is_there() -> None:
    def listed(image: str) -> set[str]:
        command = [sys.executable, str(FOLDER / "requirements.py"), image]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")) - {""}

    assert listed("web") < listed("code")
    assert not [one for one in listed("web") if one.startswith(("torch", "av=", "streamlit", "sentence"))]
    assert all("==" in one or one.startswith("yt-dlp[") for one in listed("code")), "everything is pinned"


class Containers:
    """The services of the file as processes of this machine, each with a home of its own."""

    def __init__(self, folder: Path, replaced: Mapping[str, str], more: Mapping[str, str]) -> None:
        self.folder, self._replaced, self._more = folder, replaced, more
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        for there, here in self._replaced.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        stated = {key: self.here(value) for key, value in services()[name]["environment"].items()}
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
        home = self.folder / name
        home.mkdir(exist_ok=True)
        own = kept | stated | self._more | {"HEATERS_HOME": str(home)}
        if "web" in services()[name]["image"]:
            own["PYTHONPATH"] = str(self._absent())
        return own

    def _absent(self) -> Path:
        """Modules that the light image does not have: to import one is an error, as there."""
        folder = self.folder / "absent"
        if not folder.is_dir():
            folder.mkdir()
            left_out = set(runpy.run_path(str(FOLDER / "requirements.py"))["NOT_FOR_WEB"])
            modules = [
                module
                for module, of in packages_distributions().items()
                if {one.lower().replace("_", "-") for one in of} <= left_out and module.isidentifier()
            ]
            assert {"openvino", "torch", "cv2", "streamlit", "yt_dlp", "Cryptodome"} <= set(modules)
            for module in modules:
                (folder / f"{module}.py").write_text(f"raise ModuleNotFoundError('No module named {module!r}', name={module!r})\n")
        return folder

    def _command(self, command: Sequence[str]) -> list[str]:
        return [str(PROGRAMS / "heaters"), *(self.here(word) for word in command)]

    def once(self, name: str, *command: str) -> str:
        """Run the service's own command to its end, or another one in it; returns what it printed."""
        words = self._command(command or services()[name]["command"])
        done = subprocess.run(words, env=self.environment(name), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = self._command(services()[name]["command"])
            self.running[name] = subprocess.Popen(command, env=self.environment(name), stdout=log, stderr=log, start_new_session=True)

    def is_well(self, name: str) -> bool:
        """By the health check of the file."""
        kind, program, *words = services()[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "heaters")
        return subprocess.run(self._command(words), env=self.environment(name), capture_output=True, check=False).returncode == 0

    def told(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-4000:]


@pytest.fixture
def containers(tmp_path: Path, database: Database, buckets: BucketServer) -> Iterator[Containers]:
    """Secrets made by the commands in the file, Redis run by its command in the file, this machine's Postgres and bucket."""
    text = (FOLDER / "compose.yaml").read_text()
    steps = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    assert steps.pop() == "docker compose up --detach"
    subprocess.run(["bash", "-euc", "\n".join(steps)], cwd=tmp_path, check=True)
    secrets, broker_port = tmp_path / "secrets", free_port()
    assert {one.name for one in secrets.iterdir()} >= {Path(one["file"]).name for one in composed()["secrets"].values()}
    (secrets / "database_url").write_text(database.url.replace("+psycopg", ""))
    broker = (secrets / "broker_url").read_text()
    assert "@redis:6379/" in broker
    (secrets / "broker_url").write_text(broker.replace("redis:6379", f"127.0.0.1:{broker_port}"))
    ports = {name: free_port() for name in ("code", "dagster", "review")}
    replaced = {
        "/run/secrets": str(secrets),
        "http://store:8333": buckets.url,
        "http://localhost:8333": buckets.url,
        "localhost:8501": f"127.0.0.1:{ports['review']}",
        "localhost:3000": f"127.0.0.1:{ports['dagster']}",
        "code:4000": f"127.0.0.1:{ports['code']}",
        "0.0.0.0:4000": f"127.0.0.1:{ports['code']}",
        "0.0.0.0": "127.0.0.1",
    }
    more = {
        "HEATERS_DAGSTER_PORT": str(ports["dagster"]),
        "HEATERS_REVIEW_PORT": str(ports["review"]),
        "HEATERS_DETECTOR": "adaptive",
        "HEATERS_EMBEDDING_FALLBACK": "true",
        "HEATERS_EMBEDDING_MODEL": "no-such-model",
        "S3_PROD_BUCKET_NAME": f"heaters-containers-{ports['code']}",
    }
    these = Containers(tmp_path, replaced, more)
    (tmp_path / "redis").mkdir()
    shell, *words = composed()["services"]["redis"]["command"]
    line = these.here(words[-1].replace("$$", "$")) + f" --port {broker_port} --bind 127.0.0.1 --dir {tmp_path / 'redis'}"
    with ExitStack() as stack:
        redis = stack.enter_context(subprocess.Popen([shell, *words[:-1], line], stdout=subprocess.DEVNULL))
        stack.callback(redis.terminate)
        yield these
        for one in these.running.values():
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_services_take_a_video_to_an_exported_clip_and_end_when_told(
    containers: Containers, database: Database, tmp_path: Path
) -> None:
    videos, clips = SourceVideoStore(database), ClipStore(database)
    assert "Nothing to do" in containers.once("migrate")
    containers.once("bucket")
    for name in ("code", "review", "worker", "dagster", "daemon"):
        containers.start(name)
    time.sleep(10)  # each check is a program of its own, as in the file, and costs a second or two of a processor
    for name in containers.running:
        assert eventually(lambda name=name: containers.is_well(name), seconds=120, pause=3), f"{name}: {containers.told(name)}"

    film = make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))
    containers.once("review", "submit", str(film))
    video = videos.load_all()[0]
    assert eventually(lambda: videos.load(video.id).state is SourceVideoState.SCENES_DETECTED, seconds=120, pause=0.5), containers.told(
        "worker"
    )
    containers.once("review", "review", "approve", f"{video.id}:1")
    first = clips.load_live(video.id)[0]
    assert eventually(lambda: clips.load(first.id).clip_filepath is not None, seconds=120, pause=0.5), containers.told("worker")
    assert clips.load(first.id).state is not ClipState.EXPORT_FAILED

    # A worker that is told to end hands back what it works on and takes nothing new: no try is counted, and it is soon over.
    # Long enough that it is at work still when the command that submits it has ended, on a busy machine a quarter of a minute later.
    long = ffmpeg(["-stream_loop", "800", "-i", str(film), "-c", "copy"], tmp_path / "long.mp4")
    containers.once("review", "submit", str(long))
    second = videos.load_all()[-1]
    assert eventually(lambda: videos.load(second.id).state is SourceVideoState.PREPROCESSING, seconds=120), containers.told("worker")
    working = containers.running["worker"]
    working.send_signal(signal.SIGTERM)
    assert working.wait(grace_seconds("worker")) in {0, -signal.SIGTERM}, containers.told("worker")
    row = videos.load(second.id)
    assert (row.state, row.attempts, row.error) == (SourceVideoState.PREPROCESSING, 0, None), containers.told("worker")
    assert not containers.is_well("worker")
    assert "superuser" not in (containers.folder / "worker.log").read_text(), "root may run all of Heaters, and the worker takes JSON only"
    statuses = """
        select r.status from dagster.runs r join dagster.run_tags t on t.run_id = r.run_id
        where t.key = 'heaters/title' and t.value = 'long'
    """

    def ended_and_asked_for_anew() -> bool:
        with database.read() as connection:
            found = list(connection.exec_driver_sql(statuses).scalars())
        return len(found) > 1 and "STARTED" not in found

    assert eventually(ended_and_asked_for_anew, seconds=120), containers.told("daemon")

    told = time.monotonic()
    for one in containers.running.values():
        one.send_signal(signal.SIGTERM)
    for name, one in containers.running.items():
        left = max(told + grace_seconds(name) - time.monotonic(), 0.1)
        assert one.wait(left) in {0, -signal.SIGTERM}, f"{name}: {containers.told(name)}"
    load_settings.cache_clear()


def test_the_units_name_what_there_is() -> None:
    folder = PROJECT_ROOT / "deploy" / "systemd"
    parts = set(re.findall(r"heaters@(\w+)\.service", (folder / "heaters.target").read_text()))
    assert parts == {"code", "dagster", "daemon", "review"}
    assert parts <= {command.callback.__name__ for command in serve.app.registered_commands if command.callback}
    env = [line.lstrip("#").partition("=")[0] for line in (folder / "heaters.env").read_text().splitlines() if "=" in line]
    assert set(env) <= setting_names().keys()
    for unit in folder.glob("*.service"):
        text = unit.read_text()
        (command,) = re.findall(r"^ExecStart=/opt/heaters/bin/heaters (.*)$", text, re.MULTILINE)
        words = command.replace("%i", "review").split()
        done = subprocess.run([str(PROGRAMS / "heaters"), *words, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, unit.name
        given = {one.partition(":")[0] for one in re.findall(r"^LoadCredential=(.*)$", text, re.MULTILINE)}
        named = dict(re.findall(r"(\w+)_FILE=%d/(\w+)", text))
        assert set(named.values()) == given, unit.name
        assert named.keys() <= set(secret_setting_names()), unit.name

"""HEATERS_LOG_FORMAT=json: what real processes write is parsed line by line. `heaters up`, whole, is in pipeline/test_up.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from heaters_dagster.event_log import LONGEST_LINE_BYTES, line_of
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore

SECRET = "wonderful-secret-of-the-test"


def lines_of(program: str, *, settings: Settings, code: int = 0) -> list[dict[str, Any]]:
    """The events that a Python process with this program writes."""
    environment = {**os.environ, **settings.to_environment()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, log_format="json", secret_key=SECRET)


def test_every_line_of_a_server_is_one_json_event_whoever_wrote_it(settings: Settings) -> None:
    program = f"""
import logging, sys, threading, warnings
early = logging.getLogger("early")
early.addHandler(logging.StreamHandler())
early.propagate = False
from heaters_dagster import event_log
from heaters_dagster.settings import load_settings
event_log.set_up(load_settings(), "review", owns_output=True)
event_log.set_up(load_settings())
early.error("of a logger that was there before")
late = logging.getLogger("late")
late.addHandler(logging.StreamHandler())
late.propagate = False
late.error("of a logger that was made later\\nin two lines")
late.error("once more")
print("\\x1b[31mprinted\\x1b[0m", "in pieces")
print("partly ", end="", file=sys.stderr)
print("and whole", file=sys.stderr)
with event_log.about(source_video_id=3, reviewer_id=4), event_log.about(clip_id=5):
    event_log.tell("approve", seconds=1.5, why="{SECRET} and http://ann:pw12345678@example.org/?token=abc", clips=[1, 2])
event_log.tell("outside")
warnings.warn("a warning")
logging.getLogger("library").warning("%s ä", "x" * 9000, extra={{"of_library": object}})
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("the end of {SECRET}")
"""
    lines = lines_of(program, settings=settings, code=1)
    events = [line["event"] for line in lines]
    assert SECRET not in json.dumps(lines)
    assert events[:8] == [
        "of a logger that was there before", "of a logger that was made later", "in two lines", "once more", "printed in pieces",
        "partly and whole", "approve", "outside",
    ]  # fmt: skip
    assert all(line["process"] == "review" and line["pid"] == lines[0]["pid"] for line in lines)
    assert (lines[0]["level"], lines[0]["logger"]) == ("error", "early")
    assert [line["logger"] for line in lines[1:4]] == ["heaters.printed", "heaters.printed", "late"]
    told = lines[6]
    assert {"source_video_id": 3, "clip_id": 5, "reviewer_id": 4, "seconds": 1.5, "clips": [1, 2]}.items() <= told.items()
    assert told["why"] == "*** and http://***@example.org/?token=***"
    assert "source_video_id" not in lines[7]
    long = next(line for line in lines if line["logger"] == "library")
    assert long["event"].startswith("xxx")
    assert long["of_library"] == "<class 'object'>"
    assert len(json.dumps(long, ensure_ascii=False).encode()) <= LONGEST_LINE_BYTES
    assert "UserWarning: a warning" in next(line["event"] for line in lines if line["logger"] == "py.warnings")
    crashes = [line for line in lines if line["level"] == "critical"]
    assert [line["event"] for line in crashes] == [
        "unhandled error: ZeroDivisionError: division by zero",
        "unhandled error: ValueError: the end of ***",
    ]
    assert all("Traceback" in line["error"] for line in crashes)


def test_lines_of_many_processes_on_one_pipe_stay_whole(settings: Settings) -> None:
    program = """
import logging, os
from heaters_dagster import event_log
from heaters_dagster.settings import load_settings
event_log.set_up(load_settings(), "run")
children = []
for number in range(4):
    if not (child := os.fork()):
        for _ in range(100):
            event_log.tell(str(number) * 6000)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
    lines = lines_of(program, settings=settings)
    assert len(lines) == 400
    assert all(set(line["event"].removesuffix(" ...")) == {line["event"][0]} for line in lines)


def test_an_event_is_told_when_its_transaction_is_committed_and_never_when_it_is_rolled_back(
    settings: Settings, database: Database
) -> None:
    program = """
from contextlib import suppress
from heaters_dagster import event_log
from heaters_dagster.settings import load_settings
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
event_log.set_up(load_settings(), "review")
database = Database.connect(load_settings().database_url, pool_size=1)
with suppress(ZeroDivisionError), database.begin() as connection:
    event_log.tell_when_committed(connection, "never")
    1 / 0
with database.begin() as connection:
    event_log.tell_when_committed(connection, "first", **event_log.of_clips([7]))
    event_log.tell("before the commit")
video = SourceVideoStore(database).add("/a.mp4", "a")
SourceVideoStore(database).record_gold_master_failure(video.id, "the disk is full", transient=True)
"""
    lines = lines_of(program, settings=Settings(home=settings.home, log_format="json", database_url=database.url))
    (video,) = SourceVideoStore(database).load_all()
    assert [line["event"] for line in lines] == ["before the commit", "first", "submit", "gold_master_failed"]
    assert lines[1]["clip_id"] == 7
    assert (lines[2]["source_video_id"], lines[2]["title"]) == (video.id, "a")
    assert (lines[3]["level"], lines[3]["reason"], lines[3]["tries"]) == ("warning", "the disk is full", 1)


def test_with_text_nothing_is_written_and_only_what_nobody_says_gets_a_handler(tmp_path: Path) -> None:
    program = """
import logging, sys
from heaters_dagster import event_log
from heaters_dagster.settings import load_settings
before, root = (sys.stderr, sys.excepthook), logging.getLogger()
for process, owns, handlers in (("command", False, 0), ("review", True, 1), ("review", True, 1)):
    event_log.set_up(load_settings(), process, owns_output=owns)
    event_log.tell("approve", clip_id=3)
    assert (sys.stderr, sys.excepthook) == before
    assert len(root.handlers) == handlers, root.handlers
assert "pythonjsonlogger" not in sys.modules
"""
    assert lines_of(program, settings=Settings(home=tmp_path)) == []


def test_a_command_writes_what_it_prints_for_programs_to_standard_output_and_its_errors_as_events(settings: Settings) -> None:
    command = [Path(sys.executable).with_name("heaters"), "recut", "77"]
    environment = {**os.environ, **settings.to_environment(), "HEATERS_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (lines[-1]["process"], lines[-1]["level"]) == ("command", "error")
    assert "Postgres at" in lines[-1]["event"]


@pytest.mark.parametrize("said", ["Everything runs", '{"not": json', "[1]", ""])
def test_a_line_that_is_no_event_becomes_one(said: str) -> None:
    line = json.loads(line_of(said, "code"))
    assert (line["event"], line["process"], line["level"]) == (said, "code", "info")
    assert line_of('{"event": "a"}', "code") == '{"event": "a"}'

"""Every command of the operator's book and the README is run, in the order of reading, on a small installation that the last page removes.

What a machine like this one cannot run says so in its page, in the line above the block; tests/test_documents.py looks at that.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from heaters_dagster.settings import PROJECT_ROOT
from resources.media.ffmpeg import ffmpeg_path
from resources.postgres import embedded_postgres
from tests.buckets import BucketServer
from tests.command_blocks import Block, blocks, book, is_plain
from tests.made_once import SESSION_FOLDER
from tests.media_files import make_video
from tests.warm_process import ran

HEATERS = "import sys; sys.argv[0] = 'heaters'; from heaters_dagster.cli import main; main()"
#: How a command ends that does not end with 0, when its page says so.
ENDS_WITH = {"heaters storage setup --check": 1}
#: These only look, so the first time is enough.
LOOKS = ("heaters doctor", "heaters status", "heaters report", "heaters backup --check", "heaters storage")


class Installation:
    """One machine: a checkout, a user's home, an embedded Postgres, a folder of objects; and a bucket for commands about buckets."""

    def __init__(self, folder: Path, buckets: BucketServer) -> None:
        self.folder = folder
        self.checkout, self.user, self.temporary, programs = folder / "checkout", folder / "user", folder / "tmp", folder / "bin"
        for place in (self.checkout / ".venv", self.user / "Videos", self.temporary, programs):
            place.mkdir(parents=True)
        (programs / "ffmpeg").symlink_to(ffmpeg_path())
        (self.checkout / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        for name in ("deploy", "heaters_dagster", "dagster.yaml", "samples"):
            (self.checkout / name).symlink_to(PROJECT_ROOT / name)
        make_video(self.user / "Videos" / "film.mp4", frames=232, scenes=(40, 80, 120, 160, 221))
        kept = {
            name: os.environ[name]
            for name in ("LANG", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
            if name in os.environ
        }
        self.environment = kept | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.user),
            "TMPDIR": str(self.temporary),
            "HEATERS_HOME": str(self.checkout / ".heaters"),
            "HEATERS_DETECTOR": "adaptive",
            "HEATERS_EMBEDDER": "visual_descriptor",
            "HEATERS_REVIEWER": "ada",
        }
        self.of_bucket = {"HEATERS_S3_ENDPOINT_URL": buckets.url, "S3_BUCKET_NAME": "book-of-operators"}

    def run(self, typed: str) -> subprocess.CompletedProcess[str]:
        """One command, or lines of a shell that belong together."""
        typed = re.sub(r"(?<=[ =])(?=/(?:mnt|etc)/)", str(self.folder), typed)
        environment = self.environment | (self.of_bucket if "heaters storage" in typed else {})
        words = shlex.split(typed)
        if "\n" not in typed and is_plain(typed) and "heaters" in words[:2]:
            if words[0] != "heaters":  # NAME=value heaters ...
                environment |= dict([words.pop(0).split("=", 1)])
            words = [f"{self.user}{word[1:]}" if word.startswith("~/") else word for word in words]
            return ran(HEATERS, *words[1:], environment=environment, cwd=self.checkout)
        script = ["bash", "-euo", "pipefail", "-c", typed]
        return subprocess.run(script, env=environment, cwd=self.checkout, capture_output=True, text=True, check=False)


@pytest.fixture
def installation(tmp_path: Path, buckets: BucketServer) -> Iterator[Installation]:
    made = Installation(tmp_path, buckets)
    yield made
    for folder in (made.checkout / ".heaters").glob("postgres*"):
        embedded_postgres.remove(folder)


def typed() -> Iterator[tuple[Block, str]]:
    """What is typed, in order: each line by itself, unless a line of the block is for the lines after it."""
    for page in book():
        for block in blocks(page):
            if block.language == "sh" and block.reason is None:
                belongs_together = any(line.startswith(("set ", "export ", "cd ", "for ")) for line in block.lines)
                yield from ((block, lines) for lines in (["\n".join(block.lines)] if belongs_together else block.lines))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_of_the_book_work_and_after_the_last_page_nothing_is_left(installation: Installation) -> None:
    home = installation.checkout / ".heaters"
    done: list[str] = []
    places: set[Path] = set()
    for block, line in typed():
        line = line.removeprefix(".venv/bin/")
        if line in done and line.startswith(LOOKS):
            continue
        ended = installation.run(line)
        told = f"{block.place}: {line}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
        assert ended.returncode == ENDS_WITH.get(line, 0), told
        done.append(line)
        places |= {embedded_postgres.status(folder).data_folder.parent for folder in home.glob("postgres*")}
    assert len(done) > 40
    assert [one for one in (home, *installation.temporary.iterdir()) if one.exists()] == []
    assert {one.name for one in installation.user.iterdir() if any(one.rglob("*.*"))} == {"Videos"}
    assert places
    assert [place for place in places if place.exists()] == []


def test_the_roles_of_the_book_are_enough_and_see_no_more_than_they_should(postgres_url: str) -> None:
    statements = [block for page in book() for block in blocks(page) if block.language == "sql"]
    as_administrator, as_new, for_readers, at_the_end = (block.text for block in statements)
    library = make_url(postgres_url).set(database="heaters_library")

    def execute(text: str, url: URL) -> None:
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            for statement in re.sub(r"--.*", "", text).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())

    def refused(statement: bytes, role: str) -> bool:
        with psycopg.connect(library.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(f"set role {role}".encode())
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                return True
        return False

    try:
        execute(as_administrator, make_url(postgres_url))
        execute(as_new, library)
        own = library.update_query_dict({"options": "-crole=heaters_app"}).render_as_string(hide_password=False)
        told = ran(
            HEATERS,
            "migrate",
            environment={**os.environ, "HEATERS_DATABASE_URL": own, "HEATERS_HOME": str(Path(os.environ[SESSION_FOLDER]) / "roles")},
        )
        assert told.returncode == 0, told.stderr
        execute(for_readers, library)
        assert not refused(b"select id, title from source_videos", "heaters_read")
        assert not refused(b"select count(*) from review_actions", "heaters_read")
        for secret in (
            b"select source from source_videos",
            b"select * from site_access",
            b"delete from clips",
            b"create table public.mine ()",
        ):
            assert refused(secret, "heaters_read"), secret
        assert refused(b"create database more", "heaters_app")
    finally:
        execute(at_the_end, make_url(postgres_url))

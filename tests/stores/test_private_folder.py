"""What Heaters keeps is its owner's only, under the usual umask and where an older version left it open."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaters_dagster.orchestration.instance import prepare_dagster_home
from heaters_dagster.settings import Settings
from resources.clips.clip_media import ClipMedia
from resources.files.private_folder import PASSABLE, private_folder, private_home
from resources.files.signing_key import kept_signing_key
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from tests.conftest import SESSION_FOLDER
from tests.media_files import barcode_video
from tests.proxy_files import stored_video


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What group or others have a right to, below and with `folder`."""
    return [str(path) for path in (folder, *folder.rglob("*")) if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_everything_under_the_home_is_for_its_owner_only(tmp_path: Path, database, settings: Settings) -> None:
    settings = Settings(home=tmp_path / "deeper" / "home", database_url=settings.database_url)
    objects = open_object_store(settings)
    video = stored_video(barcode_video(tmp_path / "a.mp4", frames=24), tmp_path, database=database, objects=objects)
    media = ClipMedia(objects, FrameIndexes(objects), settings.home / "review_cache")
    media.segment(video.id, 0, 12)
    media.still(video.id, 3, width=64)
    kept_signing_key(settings)
    with WorkFolder(settings.work_folder).attempt("proxy-1") as folder:
        (folder / "made").write_bytes(b"by a stage, with the umask that it has")
        objects.put_file("originals/video_9.mp4", folder / "made")
    prepare_dagster_home(settings)
    assert open_to_others(settings.home) == []


def test_what_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url="postgresql://elsewhere/heaters")
    for folder in (settings.home, settings.objects_folder, settings.uploads_folder, settings.dagster_home, settings.work_folder):
        folder.mkdir(mode=0o755)
    (settings.home / "secret_key").write_text("x")
    private_home(settings)
    assert open_to_others(settings.home) == []


def test_root_lets_the_embedded_postgres_through_and_nobody_look(tmp_path: Path) -> None:
    embedded = private_home(Settings(home=tmp_path / "home"))
    assert stat.S_IMODE(embedded.stat().st_mode) == (0o700 | PASSABLE if os.geteuid() == 0 else 0o700)


def test_a_folder_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    theirs = Path("/usr")
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o755)
        os.chown(theirs, 65534, 65534)
    before = theirs.stat().st_mode
    private_folder(theirs)
    assert theirs.stat().st_mode == before


def test_the_embedded_postgres_starts_in_a_new_home_under_any_umask() -> None:
    """As root it runs as another account, which must reach its data through the closed home."""
    home = Path(os.environ[SESSION_FOLDER]) / "closed home"
    code = (
        "from pathlib import Path; from heaters_dagster.settings import Settings; from resources.postgres import embedded_postgres;"
        "from resources.postgres.database import open_database; import sys;"
        "s = Settings(home=Path(sys.argv[1])); open_database(s).dispose(); embedded_postgres.remove(s.postgres_folder)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=False, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(home.stat().st_mode) & 0o066 == 0

"""Attempt folders: private, gone afterwards, swept only when their process is dead."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import DiskFullError, NoRoomError
from heaters_dagster.settings import Settings
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import CONTINUED_SECONDS, WorkFolder, check_room, disk_full_named, written_beside
from resources.upkeep.leftovers import sweep_leftovers
from tests.two_hosts import SmallDisk

_HOLD = """
import sys, time
from pathlib import Path
from heaters_dagster.settings import Settings
from resources.upkeep.leftovers import sweep_leftovers
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
with WorkFolder(Path(sys.argv[1])).attempt("proxy-12") as folder:
    (folder / "half.mp4").write_bytes(b"half")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A second process that is in the middle of an attempt; yields (process, its folder)."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.wait()


def test_an_attempt_gets_an_empty_private_folder_that_is_gone_afterwards(tmp_path):
    with WorkFolder(tmp_path / "work").attempt("proxy-12") as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "file").write_bytes(b"x")
    assert list((tmp_path / "work").iterdir()) == []


def test_the_folder_goes_when_the_attempt_fails(tmp_path):
    def fails():
        with WorkFolder(tmp_path).attempt("proxy-12") as folder:
            (folder / "half.mp4").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_two_attempts_of_one_name_do_not_share_a_folder(tmp_path):
    work = WorkFolder(tmp_path)
    with work.attempt("proxy-12") as one, work.attempt("proxy-12") as two:
        assert one != two


def test_sweep_leaves_living_attempts_alone_in_this_and_other_processes(tmp_path, holder):
    work = WorkFolder(tmp_path)
    with work.attempt("proxy-13") as folder:
        assert work.sweep() == []
        assert folder.is_dir()
        assert (holder[1] / "half.mp4").read_bytes() == b"half"


def test_sweep_removes_what_a_killed_process_left(tmp_path, holder):
    process, folder = holder
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert folder.is_dir()
    assert WorkFolder(tmp_path).sweep() == [folder]
    assert list(tmp_path.iterdir()) == []


def test_sweep_of_a_folder_that_was_never_made(tmp_path):
    assert WorkFolder(tmp_path / "none").sweep() == []


def test_sweep_does_not_follow_links_out_of_the_work_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    root = tmp_path / "work"
    root.mkdir()
    (root / "link").symlink_to(outside)
    WorkFolder(root).sweep()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65])
def test_an_attempt_name_is_plain(tmp_path, name):
    with pytest.raises(ValueError, match="attempt name"), WorkFolder(tmp_path).attempt(name):
        pass


def test_a_full_disk_in_the_body_is_named(tmp_path):
    with pytest.raises(DiskFullError, match=f"{tmp_path}.*are free"), WorkFolder(tmp_path).attempt("proxy-12"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file_and_the_bytes_needed(tmp_path):
    path = tmp_path / "not" / "yet" / "there.mp4"
    with (
        pytest.raises(DiskFullError, match=r"there\.mp4: 5,000 bytes are needed, [\d,]+ are free"),
        disk_full_named(path, bytes_needed=5000),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(PermissionError), disk_full_named(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_a_file_that_is_written_beside_is_private_where_it_must_be_whatever_was_there(tmp_path):
    with written_beside(tmp_path / "for all") as part:
        part.write_text("a")
    (tmp_path / "mine").write_text("before")
    with written_beside(tmp_path / "mine", private=True) as part:
        assert part.stat().st_mode & 0o777 == 0o600
        part.write_text("now")
    assert ((tmp_path / "mine").read_text(), (tmp_path / "mine").stat().st_mode & 0o777) == ("now", 0o600)
    assert (tmp_path / "for all").stat().st_mode & 0o400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["for all", "mine"]


def test_where_no_file_can_be_is_said_with_its_name_and_before_the_work(tmp_path):
    (tmp_path / "film.mp4").touch()
    for target, told in (
        (tmp_path / "gone" / "new.mp4", "make its folder"),
        (tmp_path / "film.mp4" / "new.mp4", "name a place in a folder"),
    ):
        with pytest.raises(OSError, match=f"{told}.*new.mp4") as raised, written_beside(target):
            raise AssertionError("the body began")
        assert raised.value.filename == str(target)


def test_a_file_that_cannot_fit_is_refused_before_the_first_byte(tmp_path):
    check_room(tmp_path, 1)
    with pytest.raises(DiskFullError, match="1,000,000,000,000,000,000 bytes are needed"):
        check_room(tmp_path, 10**18)


def test_a_folder_is_held_as_long_as_its_process_lives(tmp_path, holder):
    process, folder = holder
    work = WorkFolder(tmp_path)
    assert work.is_held(folder.name)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not work.is_held(folder.name)
    assert not work.is_held("never-there.0123456789ab")


_HOLD_BOTH = """
import sys, time
from heaters_dagster.settings import Settings
from pathlib import Path
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
settings = Settings(home=Path(sys.argv[1]))
def wait(done):
    print(done, flush=True)
    time.sleep(600)
with WorkFolder(settings.work_folder).attempt("proxy-12") as folder:
    (folder / "half.mp4").write_bytes(b"half")
    open_object_store(settings).put_file("proxies/video_1.mp4", Path(sys.argv[2]), progress=wait)
"""


def test_what_a_killed_process_left_in_the_work_folder_and_in_the_store_goes(tmp_path):
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "whole.mp4").write_bytes(bytes(3_000_000))
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD_BOTH, str(tmp_path / "home"), str(tmp_path / "whole.mp4")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    sweep_leftovers(settings)
    assert any(path.is_file() for path in settings.work_folder.rglob("half*")), "a living process keeps its files"
    process.kill()
    process.wait()
    sweep_leftovers(settings)
    left = [path for folder in (settings.work_folder, settings.objects_folder) for path in folder.rglob("*.mp4")]
    assert left == []
    assert list(LocalObjectStore(settings.objects_folder, work_folder=settings.work_folder).list()) == []


# work that is continued

_BEGIN = """
import sys, time
from pathlib import Path
from resources.object_store.work_folder import WorkFolder
with WorkFolder(Path(sys.argv[1])).continued("video-3", "a", stays=lambda error: True) as folder:
    (folder / "half.mp4").write_bytes(b"half")
    print(folder, flush=True)
    time.sleep(600)
"""


def goes_on(work: WorkFolder, of: str = "a", *, error: BaseException | None = None, stays: bool = True) -> list[str]:
    """What an attempt finds in its folder. error: how it ends."""
    found: list[str] = []
    try:
        with work.continued("video-3", of, stays=lambda ended: stays) as folder:
            found += sorted(path.name for path in folder.iterdir())
            (folder / "more.mp4").write_bytes(b"more")
            if error is not None:
                raise error
    except type(error or RuntimeError):
        pass
    return found


def test_what_a_killed_process_began_is_continued_and_gone_when_it_is_done(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _BEGIN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    begun = Path(process.stdout.readline().strip())
    work = WorkFolder(tmp_path)
    assert goes_on(work) == [], "while another process has the folder the attempt gets an empty one"
    process.kill()
    process.wait()
    assert work.sweep() == []
    assert begun.parent.stat().st_mode & 0o777 == 0o700
    assert goes_on(work, error=KeyboardInterrupt()) == ["half.mp4"]
    assert goes_on(work) == ["half.mp4", "more.mp4"]
    assert list(tmp_path.iterdir()) == []


def test_what_was_begun_is_never_used_for_other_work(tmp_path):
    work = WorkFolder(tmp_path)
    goes_on(work, error=RuntimeError())
    assert goes_on(work, "b", error=RuntimeError()) == []
    assert goes_on(work, "a", error=RuntimeError()) == []


def test_what_cannot_be_continued_goes_with_the_attempt(tmp_path):
    work = WorkFolder(tmp_path)
    goes_on(work, error=RuntimeError(), stays=False)
    assert list(tmp_path.iterdir()) == []


def test_what_was_begun_long_ago_goes(tmp_path):
    work = WorkFolder(tmp_path)
    goes_on(work, error=RuntimeError())
    old = time.time() - CONTINUED_SECONDS - 1
    paths = [*tmp_path.rglob("*")]
    for path in paths:
        os.utime(path, (old, old))
    os.utime(paths[-1])
    assert work.sweep() == [], "something in it was written a moment ago"
    os.utime(paths[-1], (old, old))
    assert work.sweep() == [tmp_path / "video-3.continued"]


# Room on the disk. Half of what is free is made to be all there is, so that other programs of this machine do not matter.


@pytest.fixture
def half(tmp_path) -> int:
    return shutil.disk_usage(tmp_path).free // 2


_PROMISED = """
import sys, time
from pathlib import Path
from resources.object_store.work_folder import WorkFolder
with WorkFolder(Path(sys.argv[1]), keep_free_bytes=int(sys.argv[2])).attempt("proxy-12", bytes_needed=int(sys.argv[3])) as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


def test_attempts_of_all_processes_together_are_promised_no_more_than_there_is(tmp_path, half):
    work = WorkFolder(tmp_path / "work", keep_free_bytes=half)
    most = half * 6 // 10
    arguments = [sys.executable, "-c", _PROMISED, str(work.root), str(half), str(most)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert Path(process.stdout.readline().strip()).is_dir()
    with pytest.raises(NoRoomError, match=r"waits for room on the disk: needs [0-9.,]+ GB, [0-9.,]+ GB are free; make room under"):
        work.attempt("proxy-13", bytes_needed=most).__enter__()
    with work.attempt("proxy-14", bytes_needed=half // 10), work.attempt("check"):
        assert abs(work.room.free_bytes() - half * 3 // 10) < half // 20
    process.kill()
    process.wait()
    with work.attempt("proxy-13", bytes_needed=most) as folder:  # the promise ended with its process
        assert work.room.promised_to(folder) == most
    assert [list(path.iterdir()) for path in tmp_path.iterdir() if path.name != "work"] == [[]]
    work.sweep()
    assert list(work.root.iterdir()) == []


def test_an_attempt_that_learns_its_size_is_promised_more_and_what_it_wrote_counts_once(tmp_path, half):
    work = WorkFolder(tmp_path / "work", keep_free_bytes=half)
    with work.attempt("source_video-1", bytes_needed=0) as folder:
        check_room(folder / "try_0", half // 2)
        assert work.room.promised_to(folder) == half // 2
        (folder / "part").write_bytes(bytes(1 << 20))
        assert abs(work.room.free_bytes() - half // 2) < half // 20
        with pytest.raises(NoRoomError):
            check_room(folder, 2 * half)
        assert work.room.promised_to(folder) == half // 2
    assert abs(work.room.free_bytes() - half) < half // 20


def test_a_disk_that_fills_all_the_same_makes_the_attempt_wait_for_more_than_it_had(tmp_path, half):
    def fills(work: WorkFolder) -> None:
        with work.attempt("proxy-1", bytes_needed=1 << 20) as folder:
            (folder / "half.mp4").write_bytes(bytes(8 << 20))
            work.room.keep_free_bytes = 1 << 60  # less is free than has to be
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoRoomError, match=r"needs 10\.5 MB, 8\.39 MB are free") as refused:
        fills(WorkFolder(tmp_path / "work"))
    assert refused.value.bytes_needed == 10 << 20
    with pytest.raises(DiskFullError), WorkFolder(tmp_path / "work").attempt("proxy-1", bytes_needed=1):
        raise OSError(errno.EDQUOT, "a quota: nothing to wait for")


def test_a_disk_on_which_not_even_a_folder_can_be_made_makes_the_attempt_wait(tmp_path):
    """A failure would count a try. Only an attempt that does not ask for room fails."""
    with SmallDisk.under(tmp_path, most_files=2) as disk:
        if isinstance(disk, str):
            pytest.skip(disk)
        work = WorkFolder(tmp_path / "work", keep_free_bytes=1 << 60)
        (tmp_path / "work").mkdir()
        with pytest.raises(NoRoomError, match=r"waits for room on the disk: needs 1 MB, nothing is free; make room under"):
            with work.attempt("proxy-1", bytes_needed=10**6):
                pass
        with pytest.raises(NoRoomError, match="needs 1 MB, nothing is free"), work.continued("download-1", "it", stays=lambda error: True):
            pass
        with pytest.raises(DiskFullError), work.attempt("proxy-1"):
            pass


def test_files_that_go_to_another_disk_need_room_there_too(tmp_path, half):
    other = Path("/dev/shm")
    assert other.stat().st_dev != tmp_path.stat().st_dev
    there = shutil.disk_usage(other).free
    work = WorkFolder(tmp_path / "work", keep_free_bytes=0, published_to=other / "not yet there")
    assert work.room.free_bytes() <= min(there, 2 * half)

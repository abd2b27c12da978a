"""Machines of a deployment on this one: each has processes, a home and a name of its own; Postgres, Redis and a bucket are shared.

As root each machine also has a mount namespace of its own, in which the homes of the others are not there; else it has only another home.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis

from heaters_dagster.orchestration.instance import prepare_dagster_home
from heaters_dagster.settings import Settings, child_environment
from tests.this_machine import free_port

PATIENCE_SECONDS = 240.0
_WAITS = "waits for work"


def eventually(what: Callable[[], object], why: str, *, seconds: float = PATIENCE_SECONDS, look: float = 0.25) -> None:
    """Wait until `what()` is true. `why` is said when it never was."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(look)


class OverTcp:
    """An address of this machine that leads to a server with a Unix socket, and can be moved, as a name is when a database fails over."""

    def __init__(self, unix_socket: Path, address: str = "127.0.0.1") -> None:
        self._behind = str(unix_socket)
        self._ends: set[socket.socket] = set()
        self._listen(address, 0)
        self.port = int(self._server.getsockname()[1])

    def move(self, address: str) -> None:
        """Break all connections, and take new ones at this address only."""
        self.close()
        self._listen(address, self.port)

    def close(self) -> None:
        """Nobody is let in any more, and nobody stays."""
        for end in (self._server, *list(self._ends)):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _listen(self, address: str, port: int) -> None:
        self._server = socket.create_server((address, port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                behind = socket.socket(socket.AF_UNIX)
                try:
                    behind.connect(self._behind)
                except OSError:
                    client.close()
                    continue
                self._ends |= {client, behind}
                for one, other in ((client, behind), (behind, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
        self._ends.discard(source)


@contextmanager
def over_tcp(unix_socket: Path, address: str = "127.0.0.1") -> Iterator[OverTcp]:
    server = OverTcp(unix_socket, address)
    try:
        yield server
    finally:
        server.close()


def _ending_with_us() -> list[str]:
    """What a command begins with that is to end when this process is killed."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


class Broker:
    """A Redis of its own, which keeps what it has on disk. Raises RuntimeError when there is none on this machine."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            raise RuntimeError("redis-server is missing: type make programs")
        folder.mkdir()
        self._folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self, *, emptied: bool = False) -> None:
        if emptied:
            shutil.rmtree(self._folder)
            self._folder.mkdir()
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "appendonly": "yes", "save": ""}
        command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        self._process = subprocess.Popen([*_ending_with_us(), *command], stdout=subprocess.DEVNULL)
        eventually(self._answers, "Redis did not start", look=0.05)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def waiting(self, queues: Sequence[str]) -> int:
        """Messages on these queues, whatever their priority, and those that were taken and not acknowledged."""
        with redis.Redis.from_url(self.url) as client:
            lists = [key for key in client.scan_iter("*") if client.type(key) == b"list" and key.decode().split("\x06")[0] in queues]
            return sum(int(client.llen(key)) for key in lists) + int(client.hlen("unacked"))

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False


@dataclass
class Machine:
    """A machine that runs programs of Heaters. settings: its own, with its own home. others: homes that it must not see. hosts: instead of
    /etc/hosts, as far as `has_names_of_its_own`."""

    name: str
    settings: Settings
    others: Sequence[Path] = ()
    core: int | None = None
    hosts: Path | None = None
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starts: int = 0

    @property
    def log(self) -> Path:
        return self.settings.home.with_suffix(".log")

    def start(self, program: str, *command: str) -> None:
        """Start a program called `program` on this machine."""
        home = prepare_dagster_home(self.settings)
        environment = child_environment(self.settings, DAGSTER_HOME=str(home), PYTHONUNBUFFERED="1")
        pinned = ["taskset", "--cpu-list", str(self.core)] if self.core is not None else []
        with self.log.open("ab") as output:
            self._processes[program] = subprocess.Popen(
                [*_ending_with_us(), *self._within(), *pinned, *command],
                env=environment,
                cwd=self.settings.home,
                stdout=output,
                stderr=output,
            )

    def start_worker(self, *kinds: str) -> None:
        self._starts = self.said(_WAITS) + 1
        self.start("worker", str(Path(sys.executable).with_name("heaters")), "worker", *kinds)

    def wait_for_worker(self) -> None:
        eventually(lambda: self.said(_WAITS) >= self._starts, f"the worker did not start: {self.log.read_text()[-3000:]}")

    def start_desk(self) -> None:
        """The code server; the daemon follows when it is ready, and pages there are none."""
        code = self.settings.home / "code.sock"
        workspace = self.settings.home / "workspace.yaml"
        prepare_dagster_home(self.settings)
        workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {code}\n      location_name: heaters\n")
        self.start("code", sys.executable, "-m", "heaters_dagster.commands.up.code_server", str(code))

    def wait_for_desk(self) -> None:
        code = self.settings.home / "code.sock"
        eventually(code.exists, f"the code server did not start: {self.log.read_text()[-3000:]}")

    def start_daemon(self) -> None:
        workspace = self.settings.home / "workspace.yaml"
        self.start("daemon", sys.executable, "-m", "heaters_dagster.commands.up.daemon", str(workspace))

    def said(self, words: str) -> int:
        """How often its programs have said this."""
        return self.log.read_text(errors="replace").count(words) if self.log.exists() else 0

    def kill(self, program: str) -> None:
        """kill -9 of one program that has no others."""
        self._processes[program].kill()
        self._processes.pop(program).wait()

    def lose_power(self) -> None:
        """Everything on this machine ends at once, by kill -9."""
        while processes := self.processes():
            for process_id in processes:
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            for process in self._processes.values():
                process.poll()
            time.sleep(0.05)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def processes(self, having: str = "") -> list[int]:
        """Its processes; having: only those with this in their command line."""
        mark = f"HEATERS_HOME={self.settings.home}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    is_meant = mark in (entry / "environ").read_bytes() and having.encode() in (entry / "cmdline").read_bytes()
                    if is_meant and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                        found.append(int(entry.name))
        return found

    def loses_power_while(self, at_work: Callable[[], object]) -> bool:
        """Whether all of this machine was killed while `at_work()` was true: it is made to stand still first."""
        if not at_work():
            return False
        signalled = self.processes()
        for process_id in signalled:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGSTOP)
        if at_work():
            self.lose_power()
            return True
        for process_id in signalled:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGCONT)
        return False

    def _within(self) -> list[str]:
        if not has_names_of_its_own():
            return []
        hosts = f"mount --bind '{self.hosts}' /etc/hosts; " if self.hosts else ""
        hidden = hosts + "".join(f"mount -t tmpfs -o size=4k none '{home}'; " for home in self.others)
        return ["unshare", "--uts", "--mount", "sh", "-c", f'hostname {self.name}; {hidden}exec "$@"', "sh"]


def has_names_of_its_own() -> bool:
    """Whether machines get a mount namespace and a host name."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None


class SmallDisk:
    """The disk of a machine on which its home lies, and nothing else. It takes memory only for what is on it."""

    _WHOLE = "2g"

    def __init__(self, home: Path) -> None:
        self._home = home

    def fill(self) -> None:
        """Not a byte is free any more."""
        self._mount("remount", size=str(shutil.disk_usage(self._home).used))
        assert shutil.disk_usage(self._home).free == 0

    def make_room(self) -> None:
        self._mount("remount", size=self._WHOLE)

    def _mount(self, *options: str, size: str) -> None:
        told = ",".join([*options, f"size={size}"])
        subprocess.run(["mount", "-t", "tmpfs", "-o", told, "none", str(self._home)], check=True, capture_output=True, text=True)

    @classmethod
    @contextmanager
    def under(cls, home: Path, *, most_files: int = 0) -> Iterator[SmallDisk | str]:
        """Lie under this folder until the end of the block; where nothing can be mounted, the reason in words.

        most_files: with its folders; 0: any number.
        """
        disk = cls(home)
        try:
            disk._mount(f"nr_inodes={most_files}", size=cls._WHOLE)
        except (OSError, subprocess.CalledProcessError) as error:
            yield f"no disk of its own can be mounted for a machine: {getattr(error, 'stderr', None) or error}"
            return
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(home)], check=True)


def machine(name: str, shared: Settings, folder: Path, *, others: Sequence[str] = (), **settings: object) -> Machine:
    homes = [folder / other for other in others]
    for home in (folder / name, *homes):
        home.mkdir(exist_ok=True)
    return Machine(name, replace(shared, home=folder / name, host_name=name, **settings), homes)  # type: ignore[arg-type]


@contextmanager
def switched_on(*machines: Machine) -> Iterator[None]:
    """At the end, whatever happens, nothing of them is left."""
    try:
        yield
    finally:
        for one in machines:
            one.lose_power()

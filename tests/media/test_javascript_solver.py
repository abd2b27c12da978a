"""The solver of YouTube's challenges: it answers, and the script that it runs reaches nothing."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import PermanentError
from resources.sources import javascript_solver
from resources.sources.address_guard import AddressGuard
from resources.sources.guarded_ytdlp import GuardedYoutubeDL, QuietLog, solver_told
from tests.web_server import WebServer


def answers(player: str, folder: Path, *, n: str = "abc", signature: str = "0123456789") -> tuple[str | None, str | None]:
    with GuardedYoutubeDL({"quiet": True, "cachedir": False, "logger": QuietLog()}, AddressGuard(), folder=folder) as session:
        return javascript_solver.answers(session, player, n=n, signature=signature)


def test_a_challenge_is_solved_offline(tmp_path, monkeypatch):
    """n: turned around, each letter the next of the alphabet. signature: first and fourth swapped, turned around, without the first two."""
    monkeypatch.setenv("PATH", str(tmp_path))  # the runtime is found by its wheel
    n, signature = "heaters", "ABCDEFGHIJ"
    swapped = "DBCAEFGHIJ"
    expected = "".join(chr(ord(letter) + 1) for letter in reversed(n)), swapped[::-1][2:]
    assert answers(javascript_solver.TEST_PLAYER, tmp_path, n=n, signature=signature) == expected
    assert list(tmp_path.iterdir()) == []
    assert "solver of YouTube's challenges works (Deno 2." in solver_told()


ATTEMPTS = {
    "file": "Deno.readTextFileSync(SECRET)",
    "own environment file": "Deno.readTextFileSync('/proc/self/environ')",
    "environment": "JSON.stringify(Deno.env.toObject())",
    "write": "Deno.writeTextFileSync(SECRET, 'x')",
    "folder": "[...Deno.readDirSync('/')].length",
    "socket": "Deno.listen({port: 0})",
    "program": "new Deno.Command('/bin/sh', {args: ['-c', 'id']}).outputSync()",
    "machine": "Deno.hostname()",
    "library": "Deno.dlopen('/lib/x86_64-linux-gnu/libc.so.6', {})",
    "node's files": "process.getBuiltinModule('node:fs').readFileSync(SECRET, 'utf8')",
    "fetch": "(fetch(URL_HERE).catch(() => 0), Deno.connect({hostname: '127.0.0.1', port: PORT}).catch(() => 0), 'asked')",
}


def test_a_players_script_reaches_no_file_network_or_program(tmp_path, monkeypatch):
    monkeypatch.setenv("HEATERS_SECRET_KEY", "hush")
    secret = tmp_path / "secret.txt"
    secret.write_text("hush")
    work = tmp_path / "work"
    work.mkdir()
    with WebServer(tmp_path).running() as web:
        tries = ",".join(f"{json.dumps(name)}: () => {code}" for name, code in ATTEMPTS.items())
        tries = tries.replace("SECRET", json.dumps(str(secret))).replace("URL_HERE", json.dumps(f"{web.url}/secret.txt"))
        tries = tries.replace("PORT", web.url.rpartition(":")[2])
        tell = "Object.entries({" + tries + "}).map(([k, f]) => { try { return [k, String(f())] } catch (e) { return [k, e.name] } })"
        player = javascript_solver.TEST_PLAYER.replace(
            "steps.turn(a);\n    this.values.n=", f"this.values.n=JSON.stringify({tell});var ignored="
        )
        assert player != javascript_solver.TEST_PLAYER
        told = dict(json.loads(answers(player, work)[0] or "[]"))
        assert web.requests == []
    assert told.keys() == ATTEMPTS.keys()
    assert {name for name, outcome in told.items() if outcome not in {"NotCapable", "NotFound", "TypeError"}} == {"fetch"}
    assert (secret.read_text(), list(work.iterdir())) == ("hush", [])


def test_a_script_that_does_not_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(javascript_solver, "_LONGEST_SECONDS", 1.0)
    assert answers(javascript_solver.TEST_PLAYER.replace("steps.turn(a);\n", "while(true){}\n"), tmp_path) == (None, None)


def test_without_the_runtime_it_is_told_what_to_install(tmp_path, monkeypatch):
    """The wheel's list of files names a program that is not there."""
    packages = tmp_path / "packages"
    record = Path(str(distribution("deno").locate_file(""))) / f"deno-{distribution('deno').version}.dist-info"
    shutil.copytree(record, packages / record.name)
    monkeypatch.syspath_prepend(packages)
    with pytest.raises(PermanentError, match=r"^no JavaScript runtime \(Deno\) is installed: type make install"):
        solver_told()
    assert answers(javascript_solver.TEST_PLAYER, tmp_path) == (None, None)
    assert os.listdir(packages) == [record.name]

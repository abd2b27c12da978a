"""Solves the challenges of YouTube's player: runs yt-dlp's scripts in a JavaScript runtime without access to this machine.

Without an answer YouTube offers only still pictures or poor formats. The player's script comes from the network and runs here, so the
runtime (Deno, from a wheel) gets no right to files, network, programs or environment variables, but an environment and a folder of its own,
and a time limit. yt-dlp itself would give it all of our environment, and look for it on the PATH.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from yt_dlp.extractor.youtube.jsc import _builtin as _registered_by_import
from yt_dlp.extractor.youtube.jsc._builtin.deno import DenoJCP
from yt_dlp.extractor.youtube.jsc._builtin.ejs import ScriptSource
from yt_dlp.extractor.youtube.jsc._registry import _jsc_providers
from yt_dlp.extractor.youtube.jsc.provider import (
    JsChallengeProviderError,
    JsChallengeRequest,
    JsChallengeType,
    NChallengeInput,
    SigChallengeInput,
)
from yt_dlp.utils._jsruntime import DenoJsRuntime, JsRuntimeInfo

from heaters_dagster.domain.errors import HeatersError, PermanentError

assert _registered_by_import  # its import fills the registry that `_only_ours` empties

#: A real player takes 2 s. A script that never ends is stopped after this time.
_LONGEST_SECONDS = 60.0
_MOST_MEMORY_MIB = 1024

_NO_RIGHTS = (
    "--no-prompt", "--deny-read", "--deny-write", "--deny-net", "--deny-env", "--deny-sys", "--deny-run", "--deny-ffi", "--deny-import",
)  # fmt: skip
_NOTHING_FETCHED = (
    "--ext=js", "--no-code-cache", "--no-remote", "--no-npm", "--cached-only", "--no-lock", "--node-modules-dir=none", "--no-config",
)  # fmt: skip

INSTALL = "type make install, which brings it"


def deno() -> JsRuntimeInfo | None:
    """The runtime in the wheel `deno`, found in its list of files; None when it is not installed. Nothing is run or imported."""
    try:
        wheel = distribution("deno")
    except PackageNotFoundError:
        return None
    programs = [Path(str(file.locate())) for file in wheel.files or () if file.name in {"deno", "deno.exe"}]
    path = next((program.resolve() for program in programs if program.is_file()), None)
    if path is None:
        return None
    parts = tuple(int(part) for part in wheel.version.split(".") if part.isdigit())
    return JsRuntimeInfo("deno", str(path), wheel.version, parts, supported=parts >= DenoJsRuntime.MIN_SUPPORTED_VERSION)


def parameters(folder: Path | None = None) -> dict[str, Any]:
    """The parameters for `YoutubeDL`: the path of the runtime, or that there is none. folder: where the runtime may work."""
    found = deno()
    return {"js_runtimes": {"deno": {"path": found.path}} if found else {}, "remote_components": [], "solver_folder": folder}


class SandboxedDenoJCP(DenoJCP):  # type: ignore[misc]
    """The provider of answers for yt-dlp. The scripts come only from the wheel yt-dlp-ejs, and yt-dlp checks their hashes."""

    PROVIDER_NAME = "deno without rights"

    @property
    def runtime_info(self) -> JsRuntimeInfo | None:
        found = deno()
        return found if found and found.supported else None

    def _iter_script_sources(self) -> Iterator[tuple[ScriptSource, Callable[..., Any]]]:
        yield ScriptSource.PYPACKAGE, self._pypackage_source

    def _run_js_runtime(self, stdin: str, /) -> str:
        runtime = self.runtime_info
        if runtime is None:
            raise JsChallengeProviderError("no JavaScript runtime")
        with tempfile.TemporaryDirectory(prefix="solver_", dir=self.ie.get_param("solver_folder")) as folder:
            try:
                done = subprocess.run(
                    [runtime.path, "run", *_NOTHING_FETCHED, *_NO_RIGHTS, f"--v8-flags=--max-old-space-size={_MOST_MEMORY_MIB}", "-"],
                    input=stdin, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=_LONGEST_SECONDS, cwd=folder,
                    env={"DENO_DIR": folder, "HOME": folder, "TMPDIR": folder, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise JsChallengeProviderError(f"the player's script did not end within {_LONGEST_SECONDS:.0f} s") from None
            except OSError as error:
                raise JsChallengeProviderError(f"{runtime.path} cannot be started: {error.strerror}") from error
        if done.returncode or done.stderr.strip():
            raise JsChallengeProviderError(f"the JavaScript runtime ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout


@functools.cache
def use_only_ours() -> None:
    """Remove yt-dlp's other providers: with them the player's script could read the environment."""
    providers = _jsc_providers.value
    providers.clear()
    providers[SandboxedDenoJCP.PROVIDER_KEY] = SandboxedDenoJCP


# the proof

#: Made like YouTube's: a closure with the two secret functions, one that scrambles a signature and one that changes "n", and the call by
#: which the solver finds them.
TEST_PLAYER = """var _yt_player={};(function(g){'use strict';
var steps={
  turn:function(a){a.reverse()},
  drop:function(a,b){a.splice(0,b)},
  swap:function(a,b){var c=a[0];a[0]=a[b%a.length];a[b%a.length]=c}
};
var signed=function(a){a=a.split("");steps.swap(a,3);steps.turn(a);steps.drop(a,2);return a.join("")};
var Address=function(a){this.address=a;this.values={}};
Address.prototype={
  get:function(a){return this.values[a]},
  set:function(a,b){this.values[a]=b},
  clone:function(){return this},
  change:function(){
    var a=(this.values.n||"").split("");
    steps.turn(a);
    this.values.n=a.map(function(b){return String.fromCharCode(b.charCodeAt(0)+1)}).join("")
  }
};
var made=function(a,b,c){
  var d=new Address(a);
  d.set("alr","yes");
  c&&d.set(b,encodeURIComponent(signed(decodeURIComponent(c))));
  return d
};
g.made=made;
})(_yt_player);
"""
_TEST_ADDRESS = "https://www.youtube.com/s/player/00000000/player_ias.vflset/en_US/base.js"
_TEST_N, _TEST_N_ANSWER = "abcXYZ", "[ZYdcb"
_TEST_SIGNATURE, _TEST_SIGNATURE_ANSWER = "0123456789", "76540213"


def answers(session: Any, player: str, *, n: str, signature: str) -> tuple[str | None, str | None]:
    """(n, signature): the answers for a player's script, as yt-dlp's extractor gets them; None for a missing answer.

    session: a GuardedYoutubeDL.
    """
    extractor = session.get_info_extractor("Youtube")
    extractor._code_cache[extractor._player_js_cache_key(_TEST_ADDRESS)] = player
    extractor.initialize()
    solved = extractor._jsc_director.bulk_solve([
        JsChallengeRequest(JsChallengeType.N, NChallengeInput(_TEST_ADDRESS, [n])),
        JsChallengeRequest(JsChallengeType.SIG, SigChallengeInput(_TEST_ADDRESS, [signature])),
    ])  # fmt: skip
    given = {request.type: response.output.results for request, response in solved}
    return given.get(JsChallengeType.N, {}).get(n), given.get(JsChallengeType.SIG, {}).get(signature)


def check_solver(session: Any) -> JsRuntimeInfo:
    """Solve a known challenge. Raises PermanentError with what is missing."""
    found = deno()
    if found is None:
        raise PermanentError(f"no JavaScript runtime (Deno) is installed: {INSTALL}")
    if not found.supported:
        raise PermanentError(f"the JavaScript runtime Deno {found.version} is too old for this yt-dlp: {INSTALL}")
    try:
        given = answers(session, TEST_PLAYER, n=_TEST_N, signature=_TEST_SIGNATURE)
    except HeatersError:
        raise
    except Exception as error:
        raise PermanentError(f"the solver of YouTube's challenges does not work: {error}") from error
    if given != (_TEST_N_ANSWER, _TEST_SIGNATURE_ANSWER):
        said = " ".join(session.params["logger"].warnings) or f"its answer is {given}"
        raise PermanentError(f"the solver of YouTube's challenges does not work: {said}; {INSTALL}")
    return found

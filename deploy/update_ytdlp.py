"""`make update-ytdlp`: installs the newest yt-dlp, tries whether Heaters works with it, and writes its version into pyproject.toml.

When it does not work, the version of before is installed again and pyproject.toml stays as it is.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
#: What is renewed together: yt-dlp names the version of its scripts, and they need a new runtime now and then.
PACKAGES = ("yt-dlp[default,deno,curl-cffi]", "yt-dlp-ejs", "deno", "curl-cffi")
_VERSIONS = "from importlib.metadata import version as v; import json, sys; print(json.dumps({n: v(n) for n in sys.argv[1:]}))"
_TESTS = ("tests/media/test_javascript_solver.py", "tests/media/test_site_access.py", "tests/media/test_web_download.py")


def with_pins(text: str, versions: Mapping[str, str]) -> str:
    """pyproject.toml with these versions in the lines of the group `ytdlp`. Raises ValueError when it has no such line for a package."""
    group = re.search(r"^ytdlp = \[\n.*?^\]$", text, re.DOTALL | re.MULTILINE)
    if group is None:
        raise ValueError("pyproject.toml has no group ytdlp under [project.optional-dependencies]")
    lines = group[0]
    for name, version in versions.items():
        lines, found = re.subn(rf'(?m)^(  "{re.escape(name)}(?:\[[^\]]*\])?==)[^"]+(")', rf"\g<1>{version}\g<2>", lines)
        if found != 1:
            raise ValueError(f"the group ytdlp of pyproject.toml pins {name} {found} times")
    return text[: group.start()] + lines + text[group.end() :]


def main() -> int:
    pyproject = PROJECT / "pyproject.toml"
    before = pyproject.read_text()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # With the project itself in the same command, the new yt-dlp has to agree with all other pins.
    if subprocess.run([*pip, "--upgrade", "--editable", ".[dev]", *PACKAGES], cwd=PROJECT, check=False).returncode:
        print(
            "nothing was changed: pip could not install a newer yt-dlp beside the other dependencies; its reason is above", file=sys.stderr
        )
        return 1
    versions = json.loads(
        subprocess.run(
            [sys.executable, "-c", _VERSIONS, *(name.partition("[")[0] for name in PACKAGES)], check=True, capture_output=True, text=True
        ).stdout
    )
    after = with_pins(before, versions)
    if after == before:
        print(f"yt-dlp {versions['yt-dlp']} is the newest already")
        return 0
    if subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", *_TESTS], cwd=PROJECT, check=False).returncode:
        subprocess.run([*pip, "--editable", ".[dev,ytdlp]"], cwd=PROJECT, check=True)
        print(f"Heaters does not work with yt-dlp {versions['yt-dlp']} (see above), so the version of before is back", file=sys.stderr)
        return 1
    pyproject.write_text(after)
    print(f"yt-dlp {versions['yt-dlp']} is installed and noted in pyproject.toml; restart heaters up, and commit pyproject.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())

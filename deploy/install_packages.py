"""`install_packages.py REQUIREMENT ...`: pip installs them, and says in one line each what it looks for, fetches and unpacks.

With --quiet pip says nothing for minutes, and without it some thousand lines.
"""

import re
import subprocess
import sys

_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-color", "--progress-bar", "off", "--no-compile"]
_FETCHED = re.compile(r"^\s*(?P<how>Downloading|Using cached) (?P<file>\S+?)(?:\.tar\.gz|-[^-]+-[^-]+-[^-]+\.whl) \((?P<size>[^)]+)\)")
_EVERY = 50


def main(requirements: list[str]) -> int:
    """pip's exit code. What it says of errors goes to stderr."""
    looked = 0
    with subprocess.Popen([*_PIP, *requirements], stdout=subprocess.PIPE, text=True, errors="replace") as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            if line.startswith("Collecting "):
                looked += 1
                if looked % _EVERY == 0:
                    print(f"  looked up {looked} packages", flush=True)
            elif fetched := _FETCHED.match(line):
                print(f"  {'cached' if fetched['how'] == 'Using cached' else 'fetching'} {fetched['file']} ({fetched['size']})", flush=True)
            elif line.startswith("Installing collected packages: "):
                print(f"  unpacking {line.count(',') + 1} packages, which takes a minute or more", flush=True)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

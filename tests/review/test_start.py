"""`python -m review_app`: what it says instead of serving."""

from __future__ import annotations

import subprocess
import sys

import pytest

from review_app.__main__ import main


def test_its_help_starts_no_server() -> None:
    done = subprocess.run([sys.executable, "-m", "review_app", "--help"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: python -m review_app\n\nServe the review app on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT")
    assert "heaters serve review" in done.stdout


def test_arguments_are_refused_because_it_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "8600"]) == 2
    assert capsys.readouterr().err == "python -m review_app takes no arguments, but got: --port 8600. Its help: --help\n"

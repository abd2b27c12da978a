"""The real Chromium that browser tests and benchmarks drive. One for a whole process: Playwright cannot be started twice in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

WAIT_MS = 40_000  # two busy cores
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=WAIT_MS)


@contextmanager
def started_chromium() -> Iterator[Browser]:
    """Chromium as it is installed. `make programs` installs one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def with_profile(browser: Browser, folder: Path, **options: Any) -> Iterator[BrowserContext]:
    """A Chromium beside `browser` that keeps what it has seen, compiled programs too, in `folder`, as that of a person does."""
    context = browser.browser_type.launch_persistent_context(folder, executable_path=_program(), args=_ARGUMENTS, **options)
    yield context
    context.close()


def _program() -> str:
    # The shell has no window to draw, so the same tests take a third less of the processor.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, "no Chromium; type: make programs"
    return program

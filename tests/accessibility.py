"""axe-core in the page of a browser test: what keeps people with a screen reader, a keyboard or weak eyes from using it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page


def found_by_axe(page: Page) -> list[str]:
    """What axe-core has against the page as it stands, shadow roots too: one line for each rule and element."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate("axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)")
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]

"""How soon a page of the review app stands in a real Chromium, and what the server sends for it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from playwright.sync_api import Page

from review_app.service.links import OLD_COOKIE
from tests.chromium import started_chromium
from tests.served_review_app import ServedReviewApp

#: Notes each message from the server with its size, and each change of the page.
_WATCH = """
window.received = []; window.changed = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({data}) => window.received.push([performance.now(), data.size ?? data.byteLength ?? data.length]));
  }
};
new MutationObserver(() => window.changed.push(performance.now())).observe(document, {childList: true, subtree: true, characterData: true});
"""
#: After so long without a message or a change a page stands. The pages refresh themselves every 3 s and more.
_QUIET_MS = 600
_WATCHED_MS = 2_500


@dataclass(frozen=True, slots=True)
class Shown:
    """milliseconds: from the click on its link to the last change. sent_bytes: over the page's connection until then."""

    milliseconds: float
    sent_bytes: int


def pages_shown(served: ServedReviewApp, token: str, names: list[str], *, times: int) -> dict[str, Shown]:
    """Each page by the name of its link, opened from another page `times` times: medians of it."""
    with started_chromium() as browser, browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True) as context:
        context.add_cookies([{"name": OLD_COOKIE, "value": token, "url": served.url}])
        page = context.new_page()
        page.add_init_script(_WATCH)
        page.goto(f"{served.url}/search")
        found: dict[str, list[Shown]] = {name: [] for name in names}
        page.get_by_role("link", name=names[0]).wait_for()
        for turn in range(times + 1):
            for name in names:
                shown = _opened(page, name)
                if turn:  # the first time its program is loaded
                    found[name].append(shown)
    return {name: Shown(median(one.milliseconds for one in each), max(one.sent_bytes for one in each)) for name, each in found.items()}


def _opened(page: Page, name: str) -> Shown:
    page.evaluate("window.received.length = window.changed.length = 0")
    page.wait_for_timeout(_QUIET_MS)
    link = page.get_by_role("link", name=name, exact=True).first
    link.evaluate("element => element.addEventListener('click', () => {window.clicked = performance.now()}, {capture: true, once: true})")
    link.click()
    page.wait_for_timeout(_WATCHED_MS)
    clicked, received, changed = page.evaluate("[window.clicked, window.received, window.changed]")
    moments = sorted(moment for moment in [*(one for one, _ in received), *changed] if moment >= clicked)
    end = clicked
    for moment in moments:
        if moment - end > _QUIET_MS and end > clicked:
            break
        end = moment
    return Shown(end - clicked, int(sum(size for moment, size in received if clicked <= moment <= end)))

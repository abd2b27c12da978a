"""The pages by their addresses, and the document that a browser gets for each of them.

Streamlit does not know where below a page's address its server lies: it asks `/clips/_stcore/health` and the like first, twice, and each
answer is a 404 in the browser's console. The document says where the server is; its files are named relative to that place anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from streamlit.file_util import get_static_dir

_SERVER = '<script>window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href };</script>'
_HEAD = '<meta charset="UTF-8" />'
#: Of Streamlit's own document, shown until the page has one.
_TITLE = "<title>Streamlit</title>"


@dataclass(frozen=True, slots=True)
class PageName:
    """title: in the bar. for_operators: it stands in the menu and not in the bar, because reviewers do not need it."""

    title: str
    icon: str
    for_operators: bool = False


#: By address; the first one is also what `/` shows.
PAGES: Mapping[str, PageName] = {
    "review": PageName("Review", ":material/rate_review:"),
    "clips": PageName("Clips", ":material/grid_view:"),
    "videos": PageName("Source videos", ":material/movie:"),
    "history": PageName("History", ":material/history:"),
    "search": PageName("Search", ":material/search:"),
    "status": PageName("Status", ":material/monitor_heart:", for_operators=True),
    "sites": PageName("Web sites", ":material/key:", for_operators=True),
    "partitions": PageName("Dagster partitions", ":material/account_tree:", for_operators=True),
}


def page_routes() -> list[Route]:
    """The first page at `/`, the others at their names."""
    return [Route(f"/{name}", _page) for name in ("", *list(PAGES)[1:])]


async def _page(request: Request) -> Response:
    return HTMLResponse(_document(), headers={"Cache-Control": "no-cache"})


@cache
def _document() -> str:
    text = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
    return text.replace(_HEAD, f"{_HEAD}\n    {_SERVER}", 1).replace(_TITLE, "<title>Heaters</title>", 1)

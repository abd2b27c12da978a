"""`/healthz` and `/readyz`: for balancers and containers, which have no session."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.upkeep.readiness import LIVE_PATH, READY_PATH, Readiness
from review_app.server.served import FRESH


def health_routes(settings: Settings, open_database: Callable[[], Database]) -> list[Route]:
    """The routes, behind the door of the review app."""
    readiness = Readiness(settings, open_database)

    async def live(request: Request) -> Response:
        return _said(readiness.answer(LIVE_PATH))  # without a thread: it answers also when all of them wait

    async def ready(request: Request) -> Response:
        return _said(await run_in_threadpool(readiness.answer, READY_PATH))

    return [Route(LIVE_PATH, live), Route(READY_PATH, ready)]


def _said(answer: tuple[int, dict[str, object]]) -> Response:
    status, body = answer
    return JSONResponse(body, status_code=status, headers=FRESH)

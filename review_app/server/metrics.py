"""`/metrics`: the figures of Heaters for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from heaters_dagster.doors import refusal_of_metrics
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.upkeep.metrics import CONTENT_TYPE, Metrics
from review_app.server.served import FRESH


def metrics_route(settings: Settings, open_database: Callable[[], Database]) -> Route:
    """The route, behind the door of the review app; for whom, `refusal_of_metrics` says. It answers also while Postgres is down."""
    metrics = Metrics(settings, open_database)

    async def answer(request: Request) -> Response:
        refusal = refusal_of_metrics(request.headers, settings.metrics_token, is_private=settings.is_for_this_machine_only)
        if refusal is not None:
            return PlainTextResponse(refusal[1], status_code=refusal[0], headers={**FRESH, "WWW-Authenticate": "Bearer"})
        return Response(await run_in_threadpool(metrics.text), media_type=CONTENT_TYPE, headers=FRESH)

    return Route("/metrics", answer)

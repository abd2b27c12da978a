"""`python -m review_app`: serve the review app on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT."""

from __future__ import annotations

import uvicorn

from heaters_dagster.settings import load_settings


def main() -> None:
    settings = load_settings()
    uvicorn.run("review_app.launch:app", host=settings.review_host, port=settings.review_port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()

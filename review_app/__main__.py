"""`python -m review_app`: serve the review app on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT."""

from __future__ import annotations

import sys

import uvicorn

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import load_settings


def main() -> int:
    """Exit code: 0 when it was stopped, 2 when the settings cannot be used."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Review app: {settings.review_url}", flush=True)
    uvicorn.run("review_app.launch:app", host=settings.review_host, port=settings.review_port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

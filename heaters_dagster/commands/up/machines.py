"""What several machines need to work together."""

from __future__ import annotations

import importlib.util

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import Settings


def check_shared(settings: Settings) -> None:
    """Raise SettingsError for the first setting that a machine lacks which works for others."""
    shared = {
        "HEATERS_BROKER_URL": settings.broker_url,
        "HEATERS_DATABASE_URL": settings.database_url,
        "S3_BUCKET_NAME": settings.object_bucket,
        "HEATERS_SECRET_KEY": settings.secret_key,
    }
    if missing := [name for name, value in shared.items() if not value]:
        raise SettingsError(
            f"{missing[0]} is not set: machines share the broker, the database, the bucket and the secret key, so set "
            f"{', '.join(shared)} to the same on all of them"
        )
    if importlib.util.find_spec("dagster_celery") is None:
        raise SettingsError("Celery is not installed: type pip install 'heaters[celery]'")

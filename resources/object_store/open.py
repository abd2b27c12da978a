"""Opens the object store that the settings name."""

from __future__ import annotations

from functools import lru_cache

from heaters_dagster.domain.disk_room import LEAST_FREE_BYTES
from heaters_dagster.settings import Settings
from resources.files.private_folder import private_home
from resources.object_store.cdn import Cdn
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore


def open_object_store(settings: Settings) -> ObjectStore:
    """The bucket if one is set, else the local folder. Nothing is sent yet: a wrong bucket name is noticed at the first use."""
    bucket = settings.object_bucket
    if bucket is None:
        private_home(settings)
        least = min(LEAST_FREE_BYTES, settings.keep_free_bytes)
        return LocalObjectStore(settings.objects_folder, work_folder=settings.work_folder, least_free_bytes=least)
    return open_bucket(settings, bucket)


def open_bucket(settings: Settings, bucket: str) -> ObjectStore:
    """Any bucket, with the server, the key and the tags of the settings."""
    from resources.object_store.s3 import S3ObjectStore

    return S3ObjectStore(
        bucket,
        endpoint_url=settings.s3_endpoint_url,
        browser_url=settings.s3_browser_url,
        cdn=open_cdn(settings),
        kms_key=settings.s3_kms_key,
        tags=settings.object_tags,
    )


def open_cdn(settings: Settings) -> Cdn | None:
    """The CDN in front of the bucket; None when browsers read from the bucket itself. Raises SettingsError when its key cannot be used."""
    if settings.cdn_domain is None:
        return None
    return Cdn(settings.cdn_domain, key_id=settings.cdn_key_id, private_key=settings.cdn_private_key)


@lru_cache(maxsize=8)
def shared_object_store(settings: Settings) -> ObjectStore:
    """The one object store of this process for these settings."""
    return open_object_store(settings)

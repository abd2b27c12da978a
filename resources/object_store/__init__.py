"""The object store: an interface and its two adapters, a local folder and S3. Same keys, same behaviour, same tests."""

from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.local import LocalObjectStore

__all__ = ["LocalObjectStore", "ObjectInfo", "ObjectStore"]

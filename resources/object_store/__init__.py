"""The object store: an interface with two adapters, a local folder and S3. Keys, behaviour and tests are the same for both."""

from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.local import LocalObjectStore

__all__ = ["LocalObjectStore", "ObjectInfo", "ObjectStore"]

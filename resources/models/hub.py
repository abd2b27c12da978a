"""The model hub: whether it can be reached, and files from it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

from heaters_dagster.domain.errors import HeatersError, ModelUnavailableError
from heaters_dagster.domain.reasons import without_objects


def hub_host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT


def is_reachable(host: str) -> bool:
    """Whether a TCP connection opens within 3 s; the hub's own retries would take more than a minute."""
    with contextlib.suppress(OSError), socket.create_connection((host, 443), timeout=3):
        return True
    return False


def hub_file(repository: str, revision: str, name: str) -> Path | None:
    """A file of the hub, from its cache on this machine, else fetched. None when it is not here and the hub cannot be reached.

    Raises ModelUnavailableError when the hub does not give it.
    """
    from huggingface_hub import hf_hub_download

    with contextlib.suppress(Exception):  # whatever the cache lacks, the hub is asked for
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
    host = hub_host()
    if not is_reachable(host):
        return None
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except HeatersError:
        raise
    except Exception as error:
        raise ModelUnavailableError(f"{name} of {repository} cannot be fetched from {host}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return (without_objects(str(error)).strip().splitlines() or [type(error).__name__])[0]

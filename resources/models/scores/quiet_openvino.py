"""The one place that imports OpenVINO, so that it reports to nobody.

`import openvino` sends an event to its makers when the package `openvino_telemetry`, on which its wheel depends, can be imported. Without
that package it takes a stub of its own.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def openvino() -> Any:
    """The package. Raises ImportError where it is not installed or is not for this machine."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's own way to say that a module cannot be imported
    return importlib.import_module("openvino")


def operations() -> Any:
    openvino()
    return importlib.import_module("openvino.opset13")

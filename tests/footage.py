"""Where the labelled development footage lies. It is not part of the repository: nothing may depend on its being there."""

from __future__ import annotations

import os
from pathlib import Path

FOOTAGE = Path(os.environ.get("HEATERS_FOOTAGE") or Path(__file__).resolve().parents[2] / "shared" / "footage")

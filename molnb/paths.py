"""Where things lie: everything molnb writes is below one folder."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds `data/` and `runs/`: ``MOLNB_HOME``, by default the working
    directory.
    """
    return Path(os.environ.get("MOLNB_HOME") or ".")

"""Files that hold one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """Reads the object of a file.

    Raises ValueError, which names the file, if it holds anything else.
    """
    try:
        keys = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(keys, dict):
        raise ValueError(f"{path} is damaged: it is no JSON object")
    return keys

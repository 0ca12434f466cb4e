"""The check of a graph."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from ._program import StrPath, call, settings

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


def check(graph: StrPath, set: Mapping[str, object] = NO_SETTINGS) -> dict[str, Any]:
    """Checks a graph file and returns what ``pipeline check --format json`` prints.

    A file with nodes has ``nodes``, ``stages``, ``parameters`` and ``macs`` (of each node),
    ``cache_bytes`` and ``warnings``; one with phases has a list ``phases`` of such objects. ``set``
    changes options, as ``{"step.steps": 20}``; paths are relative to the working directory.

    Raises GraphProblems with a line for each problem, and RunFailed if the file cannot be read.
    """
    printed = call(["check", os.fspath(graph), "--format", "json", *settings(set)])
    return cast(dict[str, Any], json.loads(printed))

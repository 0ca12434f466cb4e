"""Runs of ``pipeline``, its caches and its models, from Python.

>>> import ssl_compression as sc
>>> with sc.run("graphs/dphubert.json", out="runs/a", set={"step.steps": 20}) as metrics:
...     losses = [m["value"] for m in metrics if m["name"] == "loss"]
>>> metrics.run.models["distill/student"]

numpy and pyarrow are enough; ``Cache.dataset`` needs torch.
"""

from __future__ import annotations

from ._cache import Cache, DamagedPart
from ._check import check
from ._program import GraphProblems, PipelineError, RunFailed, RunStopped, program
from ._results import Run, compare
from ._run import Metric, Running, run

__all__ = [
    "Cache",
    "DamagedPart",
    "GraphProblems",
    "Metric",
    "PipelineError",
    "Run",
    "RunFailed",
    "RunStopped",
    "Running",
    "check",
    "compare",
    "program",
    "run",
]


"""Runs of ``pipeline``, its caches and its models, from Python.

>>> import ssl_compression as sc
>>> with sc.run("graphs/dphubert.json", out="runs/a", set={"step.steps": 20}) as metrics:
...     losses = [m["value"] for m in metrics if m["name"] == "loss"]
>>> student = sc.load_model(metrics.run.models["distill/student"])
>>> states = student(waveforms).hidden_states  # each (rows, frames, width)

numpy and pyarrow are enough; ``load_model`` and ``Cache.dataset`` need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._cache import Cache, DamagedPart
from ._check import check
from ._codec import UnknownCodec
from ._program import GraphProblems, PipelineError, RunFailed, RunStopped, program
from ._results import Run, compare
from ._run import Metric, Running, run

if TYPE_CHECKING:
    import os

    from ._model import SpeechEncoder

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
    "UnknownCodec",
    "check",
    "compare",
    "load_model",
    "program",
    "run",
]


def load_model(folder: str | os.PathLike[str]) -> SpeechEncoder:
    """Loads a model folder as a torch module, in evaluation mode and on the CPU.

    ``module(waveforms, lengths=None)`` takes raw waveforms at 16 kHz, float32 (rows, samples), and
    the samples of each row where rows are padded. It normalises them as the model says. Its
    ``hidden_states`` is a tuple of float32 (rows, frames, width), layer 0 first, numbered as in
    transformers; a row's states do not depend on the other rows, and are zero behind its end.

    Needs torch, and no other package. Raises ValueError if a file of the folder is damaged or does
    not fit config.json, and FileNotFoundError if one is missing.
    """
    from ._model import load

    return load(folder)

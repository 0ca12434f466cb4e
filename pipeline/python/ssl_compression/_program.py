"""The program ``pipeline``: where it is, how it is called, and how it fails."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

StrPath = str | os.PathLike[str]

_DISTRIBUTIONS = ("ssl-compression", "ssl-compression-cuda")
_GRAPH_PROBLEMS = 78
_STOPPED = (75, 130, -signal.SIGINT, -signal.SIGTERM)


class PipelineError(Exception):
    """A call of the program that did not succeed."""


class GraphProblems(PipelineError):
    """A graph that the program refuses.

    ``lines`` has a line for each problem: ``FILE:LINE:COLUMN: sentence``.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def __reduce__(self) -> tuple[type[GraphProblems], tuple[list[str]]]:
        return GraphProblems, (self.lines,)


class RunFailed(PipelineError):
    """A call that failed; ``message`` is the end of what the program said.

    ``exit_code`` is 1 for a failure and 2 for a wrong call, as when the folder holds a run already.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message or f"the program ended with exit code {exit_code}")
        self.exit_code = exit_code
        self.message = message

    def __reduce__(self) -> tuple[type[RunFailed], tuple[int, str]]:
        return type(self), (self.exit_code, self.message)


class RunStopped(RunFailed):
    """A run that a signal stopped: ``resume=True`` goes on from its checkpoint.

    ``exit_code`` is 130 for SIGINT and 75 for SIGTERM, and negative before the first update. A second
    Ctrl-C ends the run at once, without a checkpoint of its own.
    """


def program() -> str:
    """Returns the path of the program that the functions of this module call.

    It is the one that was installed with this module, else one beside the interpreter, else the first
    ``pipeline`` on ``PATH``.

    Raises FileNotFoundError if there is none.
    """
    for path in _installed():
        if path.is_file():
            return str(path)
    found = shutil.which("pipeline")
    if found is None:
        raise FileNotFoundError(
            "there is no program `pipeline`: install the wheel, or put the program on PATH"
        )
    return found


def _installed() -> list[Path]:
    """Returns where the program may be that came with this module."""
    names = ("pipeline", "pipeline.exe")
    own = [
        Path(str(file.locate())).resolve()
        for distribution in _DISTRIBUTIONS
        for file in _files(distribution)
        if file.name in names
    ]
    beside = [Path(sys.executable).parent / name for name in names]
    return own + beside


def _files(distribution: str) -> list[importlib.metadata.PackagePath]:
    try:
        return importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def settings(options: Mapping[str, object]) -> list[str]:
    """Returns ``--set`` arguments. Values are written as JSON, so that text stays text.

    Paths are text; numbers and arrays of NumPy are numbers and lists.

    Raises TypeError for a value that JSON has no form for.
    """
    arguments = []
    for option, value in options.items():
        arguments += ["--set", f"{option}={json.dumps(value, default=_plain)}"]
    return arguments


def _plain(value: object) -> object:
    """Returns a value that JSON has a form for."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"an option cannot be of the type {type(value).__name__}")


def call(arguments: list[str]) -> str:
    """Runs ``pipeline ARGUMENTS`` and returns its stdout.

    What it says on stderr goes to ``sys.stderr`` if it succeeds, and into the error if not.
    """
    done = subprocess.run(
        [program(), *arguments], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise error(done.returncode, done.stderr.splitlines())
    if done.stderr:
        print(done.stderr, end="", file=sys.stderr)
    return done.stdout


def error(exit_code: int, lines: list[str]) -> PipelineError:
    """Returns the error for an exit code and the lines of stderr."""
    if exit_code == _GRAPH_PROBLEMS:
        return GraphProblems(lines)
    kind = RunStopped if exit_code in _STOPPED else RunFailed
    return kind(exit_code, "\n".join(lines[-20:]))

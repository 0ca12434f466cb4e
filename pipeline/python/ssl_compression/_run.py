"""A run of the program, with its metrics as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TypedDict, cast

from ._check import NO_SETTINGS
from ._metrics_file import NewLines
from ._program import StrPath, error, program, settings
from ._results import Run

_PAUSE_SECONDS = 0.05


class Metric(TypedDict):
    """A line of metrics.jsonl.

    ``step`` is the update, from 1; metrics of held-out speech are measured after it, with 0 before
    the first. ``wall_time`` is in Unix seconds. ``value`` is None if it is not finite.
    """

    phase: str
    step: int
    epoch: int
    wall_time: float
    name: str
    value: float | None


def run(
    graph: StrPath,
    out: StrPath | None = None,
    set: Mapping[str, object] = NO_SETTINGS,
    steps: int | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Running:
    """Starts a graph as a process of its own and returns its metrics as they come.

    ``out`` is the run's folder, by default ``runs/NAME`` of the graph. ``set`` changes options, as
    ``{"step.steps": 20}``; ``steps`` ends every phase after so many updates; ``resume`` goes on
    from the newest checkpoint. What the program says goes to ``sys.stderr`` unless ``quiet``.

    >>> with run("graphs/dphubert.json", out="runs/a") as metrics:
    ...     for metric in metrics:
    ...         print(metric["phase"], metric["step"], metric["name"], metric["value"])
    """
    arguments = ["run", os.fspath(graph), *settings(set)]
    folder = Path(os.fspath(out)) if out is not None else _default_folder(graph)
    if out is not None:
        arguments += ["--out", os.fspath(out)]
    if steps is not None:
        arguments += ["--steps", str(steps)]
    if resume:
        arguments.append("--resume")
    return Running(arguments, folder, quiet)


def _default_folder(graph: StrPath) -> Path:
    try:
        name = json.loads(Path(os.fspath(graph)).read_text(encoding="utf-8-sig"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        name = "unknown"  # the program says what is wrong with the file
    return Path("runs") / str(name)


class Running(Iterator[Metric]):
    """The metrics of a run while it runs, an iterator; ``run`` is its folder.

    The iterator ends when the program does. Then, or at once if the graph is refused, it raises
    GraphProblems (the graph has problems), RunStopped (a signal stopped the run) or RunFailed.

    Ctrl-C is handed on: the run finishes its update and writes a checkpoint before
    KeyboardInterrupt is raised; a second Ctrl-C ends it at once. ``stop`` does the same without a
    keyboard, and so do the end of a ``with`` block that an error or ``break`` leaves early, and the
    end of the object.
    """

    def __init__(self, arguments: list[str], folder: Path, quiet: bool) -> None:
        self._folder = folder
        self._lines = NewLines(folder / "metrics.jsonl")
        self._pending: list[str] = []
        self._said: list[str] = []
        # Its own group: a Ctrl-C in the terminal reaches Python alone, which hands it on once.
        self._process = subprocess.Popen(
            [program(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        stderr = cast(IO[str], self._process.stderr)
        self._listener = threading.Thread(
            target=_listen, args=(stderr, self._said, quiet), daemon=True
        )
        self._listener.start()
        # Nobody is left to read a run whose object is gone, or whose interpreter ends.
        weakref.finalize(self, _terminate, self._process)

    @property
    def run(self) -> Run:
        """The run's folder. It can be read while the run goes on."""
        return Run._beginning(self._folder)

    def __iter__(self) -> Running:
        return self

    def __next__(self) -> Metric:
        with self._handing_on():
            while not self._pending:
                has_ended = self._process.poll() is not None
                self._pending = self._lines.read()[::-1]
                if self._pending:
                    break
                if has_ended:
                    self._finish()
                    raise StopIteration
                time.sleep(_PAUSE_SECONDS)
            return cast(Metric, json.loads(self._pending.pop()))

    def wait(self) -> Run:
        """Waits for the end of the run and returns its folder. Raises as the iterator does."""
        with self._handing_on():
            self._process.wait()
            self._finish()
        return self.run

    def stop(self) -> None:
        """Stops the run: it finishes its update, writes a checkpoint and ends."""
        _terminate(self._process)
        self._listener.join()

    @contextmanager
    def _handing_on(self) -> Iterator[None]:
        """Hands Ctrl-C on to the program and waits for its end."""
        try:
            yield
        except KeyboardInterrupt:
            self._interrupt()
            raise

    def _interrupt(self) -> None:
        while True:
            try:
                self._process.send_signal(signal.SIGINT)
                self._process.wait()
                self._listener.join()
                return
            except KeyboardInterrupt:
                continue  # the second signal ends the program at once

    def _finish(self) -> None:
        self._listener.join()
        if self._process.returncode != 0:
            raise error(self._process.returncode, self._said)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _listen(stderr: IO[str], said: list[str], quiet: bool) -> None:
    """Keeps and shows what the program says."""
    with stderr:
        for line in stderr:
            said.append(line.rstrip("\n"))
            if quiet or sys.stderr is None:
                continue
            try:
                print(line, end="", file=sys.stderr, flush=True)
            except UnicodeEncodeError:
                plain = line.encode("ascii", "backslashreplace").decode("ascii")
                print(plain, end="", file=sys.stderr, flush=True)
            except (OSError, ValueError):
                quiet = True  # stderr is closed; the program must not wait for a reader


def _terminate(process: subprocess.Popen[str]) -> None:
    """Ends the process, which writes a checkpoint first, and waits for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait()

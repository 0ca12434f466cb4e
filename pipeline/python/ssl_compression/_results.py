"""What a run leaves in its folder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.json  # type: ignore[import-untyped, unused-ignore]

from ._program import StrPath, call

_COLUMNS = [
    ("phase", pa.string()),
    ("step", pa.int64()),
    ("epoch", pa.int64()),
    ("name", pa.string()),
    ("value", pa.float64()),
]
_MAIN = "main"
"""The name of the only phase of a graph without phases."""


class Run:
    """The folder of a run. Its files are read when they are asked for, also while the run goes on.

    Raises FileNotFoundError where there is no folder, or a file is not there (yet), ValueError where
    one is damaged.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(os.fspath(path))
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} holds no run: it is no folder")

    @classmethod
    def _beginning(cls, path: Path) -> Run:
        """The folder of a run that may not have made it yet."""
        run = cls.__new__(cls)
        run.path = path
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def record(self) -> dict[str, Any]:
        """All of run.json: graph, arguments, version, seed, hashes of the data, times."""
        file = self.path / "run.json"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.path} holds no run: there is no run.json") from None
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("graph"), dict):
            raise ValueError(f"{file} is damaged: it has no graph")
        return record

    @property
    def graph(self) -> dict[str, Any]:
        """The graph as it was run, after all settings."""
        return cast(dict[str, Any], self.record["graph"])

    @property
    def summary(self) -> Any:
        """The summary of each phase that has ended, as the program prints it at the end."""
        return self.record["summary"]

    @property
    def metrics(self) -> pa.Table:
        """The metrics: columns ``phase``, ``step`` (the update), ``epoch``, ``name`` and ``value``.

        ``value`` is null where it was not finite. ``metrics.to_pandas()`` needs pandas.
        """
        schema = pa.schema(_COLUMNS)
        file = self.path / "metrics.jsonl"
        lines = file.read_bytes()
        whole = lines[: lines.rfind(b"\n") + 1]  # a running program may be writing the last line
        if not whole:
            return schema.empty_table()
        known = pa.schema([*_COLUMNS, ("wall_time", pa.float64())])
        options = pyarrow.json.ParseOptions(
            explicit_schema=known, unexpected_field_behavior="ignore"
        )
        try:
            table = pyarrow.json.read_json(io.BytesIO(whole), parse_options=options)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{file} is damaged: {error}") from None
        return table.select(schema.names)

    @property
    def phases(self) -> list[str]:
        """The names of the phases in their order; ``main`` for a graph without phases."""
        return [phase["name"] for phase in self._phases()]

    @property
    def models(self) -> dict[str, Path]:
        """The folders of the models that the run has written, by ``phase/node``.

        The phase of a graph without phases is ``main``: ``main/student``.
        """
        return {
            f"{phase}/{node}": folder
            for phase, node, folder in self._folders()
            if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()
        }

    def _phases(self) -> list[dict[str, Any]]:
        graph = self.graph
        return graph.get("phases") or [{"name": _MAIN, "nodes": graph["nodes"]}]

    def _folders(self) -> Iterator[tuple[str, str, Path]]:
        """Yields phase, node and folder of every node of the graph."""
        has_phases = "phases" in self.graph
        for phase in self._phases():
            name = phase["name"]
            parent = self.path / name if has_phases else self.path
            for node in phase["nodes"]:
                yield name, node, parent / node


def compare(runs: Sequence[Run | StrPath]) -> list[dict[str, Any]]:
    """Compares runs: a dict for each, as ``pipeline compare --format json`` prints it.

    Among its keys are ``name``, ``parameters``, ``macs``, ``updates``, ``audio_hours``,
    ``step_seconds``, ``peak_bytes`` and ``dev``, the last loss on held-out speech.

    Raises RunFailed if a folder holds no run.
    """
    paths = [os.fspath(run.path if isinstance(run, Run) else run) for run in runs]
    if not paths:
        return []
    return cast(list[dict[str, Any]], json.loads(call(["compare", *paths, "--format", "json"])))

"""A part of a cache: one Parquet file with rows of one layer, named by the hash of its bytes."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from ._blake3 import digest
from ._codec import Bytes, Decode, Floats

_NAME = re.compile(r"part-[0-9a-f]{16}\.parquet")


class DamagedPart(ValueError):
    """A part of a cache whose bytes are not those that were written; the message names it."""


@dataclass(frozen=True)
class RowIndex:
    """The rows of a part without their floats, in its order."""

    keys: list[bytes]
    ids: list[str]
    frames: list[int]


class Place(NamedTuple):
    """Where a row is."""

    part: Path
    row: int
    id: str
    frames: int


def list_parts(folder: Path) -> list[Path]:
    """Returns the parts in a folder by name; none if there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def verify(path: Path) -> None:
    """Raises DamagedPart if the hash of the bytes is not the one in the name."""
    expected = path.name.removeprefix("part-").removesuffix(".parquet")
    if path.stat().st_size == 0 or not _hash(path).startswith(expected):
        raise DamagedPart(
            f"{path} is damaged: its bytes are not those it was written with; "
            "`pipeline cache verify` checks all parts, and a run replaces damaged ones"
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with memoryview(mapped) as view:
            return digest(view)


def read_index(path: Path) -> RowIndex:
    """Reads what rows a part has."""
    table = _read(path, ["key", "id", "frames"])
    try:
        columns = [table[name].to_pylist() for name in ("key", "id", "frames")]
    except (KeyError, ValueError) as error:  # a column that is not there, text that is no UTF-8
        raise DamagedPart(f"{path} is damaged: {error}") from None
    return RowIndex(*columns)


def read_rows(path: Path, decode: Decode) -> list[Floats]:
    """Reads the rows of a part, each (frames, width). They may share memory.

    Raises DamagedPart if the part cannot be decoded.
    """
    table = _read(path, None)
    rows: list[Floats] = []
    for batch in table.to_batches():
        frames = batch["frames"].to_numpy()
        width = batch["width"].to_numpy()
        stored = _stored(batch)
        for row in range(batch.num_rows):
            size = int(frames[row]), int(width[row])
            try:
                values = decode(*size, stored(row)).reshape(size)
            except ValueError:
                message = f"{path} is damaged: row {row} is not frames x width numbers"
                raise DamagedPart(message) from None
            rows.append(values)
    return rows


def _stored(batch: pa.RecordBatch) -> Callable[[int], Bytes]:
    """Returns a function from the number of a row to the bytes of its values."""
    if "binary" in batch.schema.names:
        values = batch["binary"]
        return lambda row: np.frombuffer(values[row].as_buffer(), np.uint8)
    if "rest" in batch.schema.names:
        columns = [_lists(batch[name]) for name in ("index", "value", "rest")]
        return lambda row: np.concatenate([column(row) for column in columns])
    return _lists(batch["hidden"])


def _lists(lists: pa.ListArray) -> Callable[[int], Bytes]:
    ends = lists.offsets.to_numpy()
    numbers = lists.values.to_numpy(zero_copy_only=False)
    return lambda row: numbers[ends[row] : ends[row + 1]].view(np.uint8)


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(path, memory_map=True).read(columns=columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DamagedPart(f"{path} is damaged: {error}") from error

"""Tensors of safetensors files: the header's length as u64, the header in JSON, then the values."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch  # type: ignore[import-not-found, unused-ignore]

from ._blake3 import digest

_DTYPES = {
    "F64": (torch.float64, 8),
    "F32": (torch.float32, 4),
    "F16": (torch.float16, 2),
    "BF16": (torch.bfloat16, 2),
}
"""The types of floats, with their bytes."""


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads the floats of a file as float32, by name; tensors of integers are left out.

    Raises ValueError if the file is damaged: incomplete, or of another checksum than its own.
    """
    data = path.read_bytes()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
    except (struct.error, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    values = bytearray(data[8 + length :])
    checksum = metadata.get("blake3")
    if checksum is not None and digest(memoryview(values)) != checksum:
        raise ValueError(f"{path} is damaged: its tensors are not those that were written")
    tensors = {}
    for name, entry in header.items():
        try:
            begin, end = entry["data_offsets"]
            if end > len(values):
                raise ValueError("the file ends before it")
            if entry["dtype"] not in _DTYPES:
                continue
            dtype, size = _DTYPES[entry["dtype"]]
            flat = torch.frombuffer(values, dtype=dtype, count=(end - begin) // size, offset=begin)
            tensors[name] = flat.float().clone().reshape(entry["shape"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged at `{name}`: {error}") from None
    return tensors

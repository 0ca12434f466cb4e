"""How a cache stores values, and how they are read back as the program reads them: bit for bit, but for
classes beyond the largest of top-k logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blake3 import digest

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

Decode = Callable[[int, int, Bytes], Floats]
"""Returns frames x width values from the bytes of a row."""

FILE = "codebooks.safetensors"


class UnknownCodec(ValueError):
    """A codec that this version cannot read, or whose codebooks are missing or others."""


def decoder(folder: Path, codec: Any, entry: str) -> Decode:
    """Returns the function that decodes rows of ``entry`` below the folder of a fingerprint.

    Raises UnknownCodec if it cannot be read.
    """
    name = codec if isinstance(codec, str) else codec.get("type")
    if name == "f32":
        return lambda frames, width, stored: stored.view("<f4").astype(np.float32, copy=False)
    if name == "f16":
        return lambda frames, width, stored: stored.view("<f2").astype(np.float32)
    if name == "bf16":
        return lambda frames, width, stored: _bf16(stored)
    if name == "int8" and codec["scale"] == "frame":
        return lambda frames, width, stored: _int8(stored, frames, width, by_frame=True)
    if name == "int8" and codec["scale"] == "channel":
        return lambda frames, width, stored: _int8(stored, frames, width, by_frame=False)
    if name == "top-k":
        return lambda frames, width, stored: _top_k(stored, frames, width, codec["k"])
    if name == "multi-codebook":
        books = _codebooks(folder / FILE, codec["file"], entry)
        return lambda frames, width, stored: _sums(stored, frames, books)
    raise UnknownCodec(f"{folder}: this version does not know the codec {codec!r}")


def _bf16(stored: Bytes) -> Floats:
    return (stored.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def _int8(stored: Bytes, frames: int, width: int, *, by_frame: bool) -> Floats:
    if frames == 0:
        return np.zeros(0, np.float32)
    count = frames if by_frame else width
    scales = stored[: 4 * count].view("<f4").astype(np.float32)
    steps = stored[4 * count :].view(np.int8).reshape(frames, width).astype(np.float32)
    return (steps * (scales[:, None] if by_frame else scales)).ravel()


def _sums(stored: Bytes, frames: int, books: Floats) -> Floats:
    codes = stored.reshape(frames, len(books))
    sums: Floats = books[0][codes[:, 0]]
    for book in range(1, len(books)):
        sums = sums + books[book][codes[:, book]]
    return sums.ravel()


def _top_k(stored: Bytes, frames: int, width: int, k: int) -> Floats:
    """Gives the classes that are not kept the logit with which softmax gives them the rest."""
    kept = min(k, width)
    end = 4 * kept * frames
    classes = stored[:end].view("<u4").reshape(frames, kept).astype(np.int64)
    logits = stored[end : end + 4 * kept * frames].view("<f4").reshape(frames, kept)
    rests = np.maximum(stored[end + 4 * kept * frames :].view("<f4"), np.finfo(np.float32).tiny)
    top = logits.astype(np.float64)
    rest = rests.astype(np.float64)
    mass = np.zeros(frames)
    for place in range(kept):  # in this order, as the program adds them
        mass += np.exp(top[:, place] - top[:, 0])
    share = mass * rest / (1.0 - rest) / max(width - kept, 1)
    other = (top[:, 0] + np.log(share)).astype(np.float32)
    values = np.repeat(np.minimum(other, logits[:, -1])[:, None], width, axis=1)
    np.put_along_axis(values, classes, logits, axis=1)
    return values.ravel()


def _codebooks(path: Path, expected: str, entry: str) -> Floats:
    """Reads the tensor ``entry``, (books, 256, width), of a safetensors file of float32."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnknownCodec(f"{path}: the codebooks of the cache cannot be read: {error}") from None
    if digest(memoryview(data)) != expected:
        raise UnknownCodec(f"{path}: these are not the codebooks of the cache's rows")
    length = int.from_bytes(data[:8], "little")
    tensor = json.loads(data[8 : 8 + length]).get(entry)
    if tensor is None:
        raise UnknownCodec(f"{path}: there are no codebooks of {entry}")
    begin, end = (8 + length + offset for offset in tensor["data_offsets"])
    values = np.frombuffer(data[begin:end], "<f4").astype(np.float32)
    return values.reshape(tensor["shape"])

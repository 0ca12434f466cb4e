"""BLAKE3: by the package ``blake3`` where it is installed, else in numpy.

Chunks of 1 KiB are independent of each other, so a batch of them is hashed at once: some 100 MB a
second. Specification: https://github.com/BLAKE3-team/BLAKE3-specs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Words = NDArray[np.uint32]

_CHUNK = 1024
_BLOCK = 64
_BATCH = 4096
_IV = np.array(
    [
        0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
    ],
    dtype=np.uint32,
)  # fmt: skip
_PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
_CHUNK_START = 1
_CHUNK_END = 2
_PARENT = 4
_ROOT = 8


def digest(data: memoryview) -> str:
    """Returns BLAKE3 of ``data`` as 64 hexadecimal digits."""
    try:
        from blake3 import blake3  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return numpy_digest(data)
    return str(blake3(data, max_threads=blake3.AUTO).hexdigest())


def numpy_digest(data: memoryview) -> str:
    """Returns the same without the package."""
    chunks = max(1, -(-len(data) // _CHUNK))
    if chunks == 1:
        return _hex(_last_chunk(data, 0, _ROOT))
    whole = len(data) // _CHUNK
    values = [
        _whole_chunks(data, first, min(first + _BATCH, whole)) for first in range(0, whole, _BATCH)
    ]
    if whole < chunks:
        values.append(_last_chunk(data[whole * _CHUNK :], whole, 0))
    nodes = np.concatenate(values, axis=1)
    while nodes.shape[1] > 2:
        nodes = _parents(nodes)
    return _hex(_parent(nodes[:, :1], nodes[:, 1:], _ROOT))


def _hex(value: _Words) -> str:
    return value[:, 0].astype("<u4").tobytes().hex()


def _parents(nodes: _Words) -> _Words:
    """Joins neighbours; a last one without neighbour moves up as it is."""
    pairs = nodes.shape[1] // 2
    joined = _parent(nodes[:, 0 : 2 * pairs : 2], nodes[:, 1 : 2 * pairs : 2], 0)
    return np.concatenate([joined, nodes[:, 2 * pairs :]], axis=1)


def _parent(left: _Words, right: _Words, flags: int) -> _Words:
    start = np.repeat(_IV[:, None], left.shape[1], axis=1)
    counters = np.zeros(left.shape[1], dtype=np.uint64)
    return _compress(start, np.concatenate([left, right]), counters, _BLOCK, _PARENT | flags)


def _whole_chunks(data: memoryview, first: int, end: int) -> _Words:
    """Returns the chaining values (8, chunks) of the chunks ``first`` to ``end``, all whole."""
    count = end - first
    words = np.frombuffer(data[first * _CHUNK : end * _CHUNK], dtype="<u4")
    blocks = np.ascontiguousarray(words.reshape(count, 16, 16).transpose(1, 2, 0))
    counters = np.arange(first, end, dtype=np.uint64)
    value = np.repeat(_IV[:, None], count, axis=1)
    for i in range(16):
        flags = (_CHUNK_START if i == 0 else 0) | (_CHUNK_END if i == 15 else 0)
        value = _compress(value, blocks[i].astype(np.uint32), counters, _BLOCK, flags)
    return value


def _last_chunk(data: memoryview, counter: int, flags: int) -> _Words:
    """Returns the chaining value (8, 1) of a chunk of 0 to 1024 bytes."""
    blocks = max(1, -(-len(data) // _BLOCK))
    value = _IV[:, None].copy()
    for i in range(blocks):
        block = bytes(data[i * _BLOCK : (i + 1) * _BLOCK])
        words = np.frombuffer(block.ljust(_BLOCK, b"\0"), dtype="<u4").astype(np.uint32)
        place = (_CHUNK_START if i == 0 else 0) | (_CHUNK_END | flags if i == blocks - 1 else 0)
        counters = np.array([counter], dtype=np.uint64)
        value = _compress(value, words[:, None], counters, len(block), place)
    return value


def _compress(
    value: _Words, block: _Words, counters: NDArray[np.uint64], length: int, flags: int
) -> _Words:
    """Compresses a block (16, n) of each of n inputs into its chaining value (8, n)."""
    count = value.shape[1]
    a = value[:4].copy()
    b = value[4:].copy()
    c = np.repeat(_IV[:4, None], count, axis=1)
    d = np.empty((4, count), dtype=np.uint32)
    d[0] = counters & np.uint64(0xFFFFFFFF)
    d[1] = counters >> np.uint64(32)
    d[2] = length
    d[3] = flags
    order = list(range(16))
    for _ in range(7):
        _mix(a, b, c, d, block[order[0:8:2]], block[order[1:8:2]])
        b, c, d = np.roll(b, -1, 0), np.roll(c, -2, 0), np.roll(d, -3, 0)
        _mix(a, b, c, d, block[order[8:16:2]], block[order[9:16:2]])
        b, c, d = np.roll(b, 1, 0), np.roll(c, 2, 0), np.roll(d, 3, 0)
        order = [order[i] for i in _PERMUTATION]
    return np.concatenate([a ^ c, b ^ d])


def _mix(a: _Words, b: _Words, c: _Words, d: _Words, x: _Words, y: _Words) -> None:
    """Mixes the four columns of the state in place."""
    for message, turn_d, turn_b in ((x, 16, 12), (y, 8, 7)):
        a += b
        a += message
        d ^= a
        _rotate(d, turn_d)
        c += d
        b ^= c
        _rotate(b, turn_b)


def _rotate(words: _Words, bits: int) -> None:
    high = words << np.uint32(32 - bits)
    words >>= np.uint32(bits)
    words |= high

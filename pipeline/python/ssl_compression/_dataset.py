"""Rows of a cache for torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # type: ignore[import-not-found, unused-ignore]
from torch.utils.data import Dataset  # type: ignore[import-not-found, unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._codec import Floats
    from ._part import Place


class CacheDataset(Dataset[tuple[str, tuple[torch.Tensor, ...]]]):  # type: ignore[misc, unused-ignore]
    """Rows of a cache: ``(id, states)``, each state a float32 tensor (frames, width)."""

    def __init__(self, rows: list[list[Place]], read: Callable[[Place], Floats]) -> None:
        self._rows = rows
        self._read = read

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[str, tuple[torch.Tensor, ...]]:
        places = self._rows[index]
        states = tuple(torch.from_numpy(self._read(place)) for place in places)
        return places[0].id, states

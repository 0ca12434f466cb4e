"""Types of encoder.py, which is shared with the exports and has none of its own."""

from collections.abc import Sequence
from typing import Any

import torch  # type: ignore[import-not-found, unused-ignore]

class EncoderMixin:
    fewest_samples: int
    masked_spec_embed: torch.Tensor

    def build(self, config: dict[str, Any]) -> None: ...
    def states(
        self, waveforms: torch.Tensor, masked: torch.Tensor | None = None
    ) -> list[torch.Tensor]: ...
    def states_by_row(
        self, waveforms: Sequence[torch.Tensor], masked: torch.Tensor | None = None
    ) -> list[list[torch.Tensor]]: ...

def is_fbank(config: dict[str, Any]) -> bool: ...
def normalized(waveforms: torch.Tensor, epsilon: float = 1e-7) -> torch.Tensor: ...
def padded(rows: Sequence[torch.Tensor]) -> torch.Tensor: ...

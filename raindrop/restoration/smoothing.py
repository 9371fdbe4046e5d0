"""Maps of the drops that are steadied over the frames of a video."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass
class Smoothing:
    """Steadies the last map over the frames of a video: the gate, where there is one.

    A_t' = weight * A_(t-1)' + (1 - weight) * A_t: drops stay where they are on the
    glass while the scene behind them moves. What is new counts little at first: after
    n frames 1 - weight^n of its map.

    Attributes:
      weight: of the frame before, from 0 (nothing changes) to below 1.
      previous: map of the frame before, [H, W, 1], padded as the network takes it.
    """

    weight: float
    previous: np.ndarray | None = None

    def of(self, maps: np.ndarray, windows: Sequence[Any]) -> np.ndarray:
        """The maps of several windows of one frame, smoothed; keeps nothing."""
        if self.previous is None:
            return maps
        before = np.stack([self.previous[window] for window in windows])
        return self.weight * before + (1 - self.weight) * maps

    def over_frames(self, maps: np.ndarray) -> np.ndarray:
        """The maps of consecutive frames [B, H, W, 1], smoothed; keeps the last."""
        smoothed = []
        for one in maps:
            self.previous = self.of(one[None], [np.s_[:]])[0]
            smoothed.append(self.previous)
        return np.stack(smoothed)

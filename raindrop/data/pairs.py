"""Pairs of a rainy picture and its clean twin."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Pair:
    """One picture twice.

    Attributes:
      name: says which one, in tables and file names.
      rainy: uint8 RGB [H, W, 3].
      clean: likewise, the same size.
    """

    name: str
    rainy: np.ndarray
    clean: np.ndarray

"""Weights made elsewhere, as Flax trees."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class LoadedGenerator:
    """A generator's weights and the network that fits them.

    Attributes:
      fields: for `models.generator.from_fields`.
      params: the tree of parameters, float32.
      source: where they came from, for people.
      sha256: of the file that they came from, where there is one.
    """

    fields: Mapping[str, Any]
    params: Any
    source: str
    sha256: str = ""

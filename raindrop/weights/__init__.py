"""Weights made elsewhere, as Flax trees."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What comes with raindrop; README.md beside it says what it was trained on and gives.
PRETRAINED = Path(__file__).parents[1] / "pretrained" / "lite.safetensors"
SHIPPED = {path.stem: path for path in sorted(PRETRAINED.parent.glob("*.safetensors"))}
# Of all weights in that folder: for research use, as the photographs are that they were
# trained on (README.md there). The code is Apache 2.0.
SHIPPED_LICENCE = "LicenseRef-research-use"


@dataclasses.dataclass(frozen=True)
class LoadedGenerator:
    """A generator's weights and the network that fits them.

    Attributes:
      fields: for `models.generator.from_fields`.
      params: the tree of parameters, float32.
      source: where they came from, for people.
      sha256: of the file, or of the run's arrays, that they came from; tells weights
        of one `source` apart.
      licence: of the weights, as an SPDX name; "" where their file does not say.
      config: of the run that they come from, if they come from one.
    """

    fields: Mapping[str, Any]
    params: Any
    source: str
    sha256: str = ""
    licence: str = ""
    config: Mapping[str, Any] | None = None

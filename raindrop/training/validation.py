"""What a run is scored by while it trains: held-out pairs, and the moving average."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from raindrop.data import pipeline
from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.media import pictures
from raindrop.restoration.derainer import Derainer
from raindrop.weights import LoadedGenerator


@dataclasses.dataclass(frozen=True)
class Scores:
    """One evaluation.

    Attributes:
      evaluation: of all pairs, by all protocols.
      panel: the first pair's rainy picture, the attention map of every step, the output
        and the clean picture in a row; uint8 RGB.
      choosing: the number that the best checkpoint has most of.
    """

    evaluation: evaluate.Evaluation
    panel: np.ndarray
    choosing: float

    @property
    def table(self) -> str:
        """The means, for people."""
        return evaluate.table(self.evaluation)

    @property
    def scalars(self) -> dict[str, float]:
        """The means, for metric writers."""
        return evaluate.scalars(self.evaluation)

    def write(self, folder: Path) -> None:
        """All scores, as `evaluation.json` and `.csv`."""
        evaluate.write(self.evaluation, folder)


class Validation:
    """Scores generators on the pairs that are held out.

    Args:
      config: the whole config.

    Raises:
      UserError: see `evaluate.make_lpips`.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._lpips = evaluate.make_lpips(config.eval)
        self._pairs: list[Pair] = []

    def read_pairs(self) -> None:
        """Reads, or renders, the pairs; to be called before `evaluate`.

        Raises:
          UserError: see `pipeline.validation_pairs`; or none can be read.
        """
        self._pairs = list(pipeline.validation_pairs(self._config))
        if not self._pairs:
            raise UserError("none of the pairs to evaluate on can be read")

    def evaluate(self, params: Any) -> Scores:
        """The scores of the generator with these parameters."""
        fields = self._config.model.generator.to_dict()
        derainer = Derainer(LoadedGenerator(fields, jax.device_get(params), "training"))
        evaluation = evaluate.evaluate(derainer.run, self._pairs, self._lpips)
        first = self._pairs[0]
        output, attention = derainer.run(first.rainy)
        panel = pictures.side_by_side([first.rainy, *attention, output, first.clean])
        choosing = evaluate.choosing(evaluation, self._config.eval.protocol)
        return Scores(evaluation, panel, choosing)

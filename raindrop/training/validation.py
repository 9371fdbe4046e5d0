"""What a run is scored by while it trains: held-out pairs, and the moving average."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from raindrop import provenance
from raindrop.data import pipeline
from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.media import pictures
from raindrop.restoration.derainer import Derainer
from raindrop.weights import LoadedGenerator, checkpoints


@dataclasses.dataclass(frozen=True)
class Scores:
    """One evaluation.

    Attributes:
      evaluations: of all pairs by all protocols, for each source by its name; the first
        one is the one that chooses the checkpoint.
      records: what each source gave, for the record.
      sha256: of the generator's parameters.
      panel: the first pair's rainy picture, its maps of the drops, the output
        and the clean picture in a row; uint8 RGB.
      choosing: the number that the best checkpoint has most of.
    """

    evaluations: dict[str, evaluate.Evaluation]
    records: dict[str, dict[str, Any]]
    sha256: str
    panel: np.ndarray
    choosing: float

    @property
    def table(self) -> str:
        """The means, for people."""
        tables = {k: evaluate.table(v) for k, v in self.evaluations.items()}
        if len(tables) == 1:
            return next(iter(tables.values()))
        return "\n".join(f"on {name}:\n{text}" for name, text in tables.items())

    @property
    def scalars(self) -> dict[str, float]:
        """The means, for metric writers: 'eval/NAME', and 'eval/SOURCE/NAME'.

        Without a source those of the first one; with it where there are several.
        """
        found: dict[str, float] = {}
        for i, (source, evaluation) in enumerate(self.evaluations.items()):
            scalars = evaluate.scalars(evaluation)
            if i == 0:
                found |= {f"eval/{k}": v for k, v in scalars.items()}
            if len(self.evaluations) > 1:
                found |= {f"eval/{source}/{k}": v for k, v in scalars.items()}
        return found

    def write(self, workdir: Path, step: int, record: Mapping[str, Any]) -> None:
        """All scores, as `evaluation.json` and `.csv`.

        Those of the first source lie in the work directory, of others in
        `evaluation/SOURCE`.

        Args:
          workdir: of the run.
          step: that was evaluated.
          record: of the run, see `run_record`.
        """
        source = f"step {step} of {workdir.resolve().name}"
        for i, (name, evaluation) in enumerate(self.evaluations.items()):
            evaluation["provenance"] = {
                **record,
                **evaluation.get("provenance", {}),
                "weights": {"source": source, "sha256": self.sha256},
                "start": record["weights"],
                "evaluated_on": self.records[name],
                "date": provenance.now(),
            }
            folder = workdir / "evaluation" / name if i else workdir
            evaluate.write(evaluation, folder)


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
        self._pairs: dict[str, list[Pair]] = {}

    def read_pairs(self) -> None:
        """Reads, or renders, the pairs; to be called before `evaluate`.

        Raises:
          UserError: see `pipeline.validation_pairs`; or none can be read.
        """
        for name in pipeline.evaluated_sources(self._config):
            self._pairs[name] = list(pipeline.validation_pairs(self._config, name))
            if not self._pairs[name]:
                raise UserError("none of the pairs to evaluate on can be read")

    def evaluate(self, params: Any) -> Scores:
        """The scores of the generator with these parameters."""
        fields = self._config.model.generator.to_dict()
        params = jax.device_get(params)
        derainer = Derainer(LoadedGenerator(fields, params, "training"))
        evaluations = {
            name: evaluate.evaluate(derainer.run, pairs, self._lpips)
            for name, pairs in self._pairs.items()
        }
        if self._lpips:
            lpips = {"network": self._lpips.network} | self._lpips.weights
            for evaluation in evaluations.values():
                evaluation["provenance"] = {"lpips": lpips}
        records = {
            name: pipeline.validation_record(self._config, name) | {"pairs": len(pairs)}
            for name, pairs in self._pairs.items()
        }
        first = next(iter(self._pairs.values()))[0]
        output, attention = derainer.run(first.rainy)
        panel = pictures.side_by_side([first.rainy, *attention, output, first.clean])
        choosing = evaluate.choosing(
            next(iter(evaluations.values())), self._config.eval.protocol
        )
        sha256 = checkpoints.digest(params)
        return Scores(evaluations, records, sha256, panel, choosing)

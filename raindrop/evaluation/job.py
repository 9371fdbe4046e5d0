"""Weights on the pairs that a config names: what the mode `evaluate` does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raindrop import provenance
from raindrop.data import pipeline, sources
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.restoration.derainer import Derainer
from raindrop.weights import LoadedGenerator, checkpoints

# In the current folder, as `runs` is that of trainings.
FOLDER = "evaluations"


def evaluate_weights(
    loaded: LoadedGenerator,
    config: Any,
    output: str | Path | None = None,
    name: str | None = None,
) -> Iterator[tuple[evaluate.Evaluation, str, list[Path]]]:
    """Scores weights, on each source of a mixture by itself.

    Args:
      loaded: the weights and their network.
      config: the whole config; `pipeline.evaluated_sources` says on what.
      output: folder to write, with one in it for each source where they are several;
        by default `default_folder`.
      name: of the weights; by default where they came from.

    Yields:
      For each source the evaluation, a text with the table, and what was written.

    Raises:
      UserError: pairs that are not there or cannot be scored, LPIPS's weights are
        missing, or the folder is a training's, whose own evaluation is in it.
    """
    derainer = Derainer(loaded)
    weights = {
        "name": name or loaded.source,
        "source": loaded.source,
        "sha256": loaded.sha256,
    }
    names = pipeline.evaluated_sources(config)
    for source in names:
        data = sources.of(config, source, "eval.name").record(evaluating=True)
        folder = Path(output) if output else default_folder(weights, data)
        if checkpoints.is_run(folder):
            raise UserError(
                f"{folder} is a training's work directory, with an evaluation of its "
                "own; give another --output"
            )
        if output and len(names) > 1:
            folder /= source
        pairs = pipeline.evaluation_pairs(config, source)
        record = {
            "weights": weights,
            "data": data,
            "versions": provenance.versions(),
            "date": provenance.now(),
            "config": json.loads(config.to_json_best_effort()),
        }
        result, paths = evaluate.evaluate_to_folder(
            derainer.run, pairs, folder, config.eval, record
        )
        where = ", ".join(f"{k} {v}" for k, v in data.items())
        text = f"{weights['name']}, on {where}\n{evaluate.table(result)}"
        yield result, text, paths


def default_folder(weights: dict[str, str], data: dict[str, str]) -> Path:
    """`evaluations/WEIGHTS/DATA`, another for other weights of the same name.

    Args:
      weights: {'name', 'sha256'} and more.
      data: what `Source.record` gives.
    """
    words = [Path(v).name if Path(v).is_dir() else v for v in data.values()]
    name = f"{weights['name']}-{weights['sha256'][:8]}"
    return Path(FOLDER) / _slug(name) / _slug("-".join(words))


def _slug(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text).strip("-.")

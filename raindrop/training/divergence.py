"""A loss or a gradient that is no number any more ends the run, with what led to it."""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from raindrop.errors import UserError
from raindrop.media import atomic, pictures
from raindrop.training.step import Batch, Metrics

FOLDER = "divergence"


class DivergedError(UserError):
    """A run that came to a NaN or an infinity."""


@jax.jit
def all_finite(metrics: Metrics) -> jax.Array:
    """Whether every number is one, as a scalar on the device."""
    return jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))


class Watch:
    """Looks at the losses and gradient norms of every step.

    A step is looked at when the next one is on its way, so that no device waits for
    it; and at once, with `settle`, before its state is saved.

    Args:
      workdir: `divergence/STEP.json` and `.png` in it show the batch.
      batch_size: of all processes together.
    """

    def __init__(self, workdir: str | Path, batch_size: int) -> None:
        self._folder = Path(workdir) / FOLDER
        self._batch_size = batch_size
        self._pending: tuple[int, jax.Array, Metrics, Batch] | None = None
        self._last: tuple[int, Metrics, Batch] | None = None

    def step(self, done: int, metrics: Metrics, batch: Batch) -> None:
        """Takes the metrics and the batch of step `done`; looks at the step before.

        Raises:
          DivergedError: the step before was not finite.
        """
        finite = all_finite(metrics)
        self.settle()
        self._pending = done, finite, metrics, batch

    def settle(self) -> None:
        """Looks at the last step now.

        Raises:
          DivergedError: it was not finite.
        """
        if self._pending is None:
            return
        step, finite, metrics, batch = self._pending
        self._pending, self._last = None, (step, metrics, batch)
        if not finite:
            names = [k for k, v in metrics.items() if not math.isfinite(v)]
            raise self.report(f"{', '.join(names)} of step {step} is not finite")

    def report(self, what: str) -> DivergedError:
        """Writes the last batch that was looked at; returns the error to raise."""
        assert self._last is not None, "no step has been looked at"
        step, metrics, given = self._last
        batch: dict[str, Any] = dict(given)
        if jax.process_count() > 1:
            batch = multihost_utils.process_allgather(batch, tiled=True)
        batch = {k: np.concatenate(np.asarray(v)) for k, v in batch.items()}
        first = (step - 1) * self._batch_size
        if jax.process_index() == 0:
            _write(self._folder, step, first, metrics, batch)
        return DivergedError(
            f"{what}; the batch is in {self._folder / f'{step:07d}.png'} and .json. "
            "Checkpoints are of the time before; go on with a smaller "
            "optimizer.learning_rate or optimizer.clip_norm, or without those examples"
        )


def _write(
    folder: Path,
    step: int,
    first: int,
    metrics: Metrics,
    batch: Mapping[str, np.ndarray],
) -> None:
    count = len(batch["rainy"])
    examples = [
        {"index": first + i}
        | {k: int(np.sum(~np.isfinite(v[i]))) for k, v in batch.items()}
        for i in range(count)
    ]
    content: dict[str, Any] = {
        "step": step,
        "indices": [first + i for i in range(count)],
        "metrics": {name: str(float(v)) for name, v in metrics.items()},
        "values_not_finite": examples,
        "batch_again": f"next(raindrop.data.pipeline.batches(config, {step - 1}))",
    }
    rows = [
        pictures.side_by_side(
            np.nan_to_num(batch[name][i], nan=1.0, posinf=1.0, neginf=0.0)
            for name in ("rainy", "mask", "clean")
        )
        for i in range(count)
    ]
    with contextlib.suppress(ImportError):  # no codecs where there is little beside JAX
        pictures.write_image(folder / f"{step:07d}.png", np.concatenate(rows))
    with atomic.replacing(folder / f"{step:07d}.json") as part:
        part.write_text(json.dumps(content, indent=2) + "\n")

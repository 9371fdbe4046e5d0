"""Crops read by NumPy and Pillow alone, for machines that have JAX and little else.

What `pipeline.crops` gives, by other draws: `data.reader=numpy`.
"""

import collections
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from raindrop.data import augmentation
from raindrop.data.mixture import Mixture

_AHEAD = 4  # batches


def crops(
    config: Any, first_step: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Random crops of the sources' pictures, for ever, from `first_step` on.

    Those of a step depend on the seed and the step alone. Pictures are drawn with
    replacement: one may come twice before another has come once.

    Args:
      config: the whole config.
      first_step: of the run.
      process_index: this process gets the examples of its part of each batch.
      process_count: the parts, put one after the other, are the global batch.

    Yields:
      As `pipeline.crops`.

    Raises:
      UserError: data that is not there, not usable, or smaller than the crop.
    """
    drawn = _Drawn(config, Mixture(config))
    local = config.training.batch_size // process_count
    part = slice(process_index * local, (process_index + 1) * local)
    # In a generator of its own, so that bad data is told at the call.
    return _batches(drawn, first_step, part)


def _batches(
    drawn: "_Drawn", step: int, part: slice
) -> Iterator[dict[str, np.ndarray]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Read while the devices are at the one before; several, as the slowest example
        # of a batch takes ten times as long as most.
        ahead = collections.deque(
            drawn.submit(pool, step + i, part) for i in range(_AHEAD)
        )
        while True:
            batch = ahead.popleft()
            ahead.append(drawn.submit(pool, step + _AHEAD, part))
            step += 1
            images, rendered, index = zip(*(one.result() for one in batch), strict=True)
            yield {
                "images": np.stack(images),
                "rendered": np.array(rendered),
                "index": np.array(index, np.int64),
            }


class _Drawn:
    """The examples of every step.

    Args:
      config: the whole config.
      mixture: what to read.
    """

    def __init__(self, config: Any, mixture: Mixture) -> None:
        self._training, self._mixture = config.training, mixture

    def submit(self, pool: ThreadPoolExecutor, step: int, part: slice) -> list[Any]:
        """Begins to read the examples of `part` of a step's batch."""
        batch_size = self._training.batch_size
        rng = np.random.default_rng([self._training.seed, step])
        draws = rng.random((batch_size, 2 + augmentation.NUM_DRAWS))
        index = step * batch_size + np.arange(batch_size)
        return [
            pool.submit(self._example, i, u)
            for i, u in zip(index[part], draws[part], strict=True)
        ]

    def _example(self, index: int, u: np.ndarray) -> tuple[np.ndarray, bool, int]:
        """The crop that the draws decide: its source, its picture, and `augment`'s."""
        which = int(np.searchsorted(self._mixture.bounds, u[0], side="right"))
        cache = self._mixture.caches[which]
        crop = self._mixture.crop(which, int(u[1] * len(cache)), u[2:])
        return crop, cache.rendered, index

"""Crops read by NumPy and Pillow alone, for machines that have JAX and little else.

What `pipeline.crops` gives, by other draws: `data.reader=numpy`.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from raindrop.data import augmentation, sources
from raindrop.data.picture_cache import PictureCache
from raindrop.errors import UserError


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
    shares = sources.weights(config.data)
    cache_bytes = int(config.data.cache_gib * 2**30 / len(shares))
    caches = [sources.training(config, name, cache_bytes) for name in shares]
    drawn = _Drawn(config, caches, list(shares.values()))
    local = config.training.batch_size // process_count
    part = slice(process_index * local, (process_index + 1) * local)
    # In a generator of its own, so that bad data is told at the call.
    return _batches(drawn, first_step, part)


def _batches(
    drawn: "_Drawn", step: int, part: slice
) -> Iterator[dict[str, np.ndarray]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # A batch ahead, while the devices are at the one before.
        ahead = drawn.submit(pool, step, part)
        while True:
            batch, step = ahead, step + 1
            ahead = drawn.submit(pool, step, part)
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
      caches: the pictures of each source.
      shares: of each source in the run.
    """

    def __init__(
        self, config: Any, caches: list[PictureCache], shares: list[float]
    ) -> None:
        self._config, self._caches = config, caches
        self._bounds = np.cumsum(shares)[:-1]
        self._channels = 3 if all(cache.rendered for cache in caches) else 6

    def submit(self, pool: ThreadPoolExecutor, step: int, part: slice) -> list[Any]:
        """Begins to read the examples of `part` of a step's batch."""
        training = self._config.training
        rng = np.random.default_rng([training.seed, step])
        draws = rng.random((training.batch_size, 2 + augmentation.NUM_DRAWS))
        index = step * training.batch_size + np.arange(training.batch_size)
        return [
            pool.submit(self._example, i, u)
            for i, u in zip(index[part], draws[part], strict=True)
        ]

    def _example(self, index: int, u: np.ndarray) -> tuple[np.ndarray, bool, int]:
        """The crop that the draws decide: its source, its picture, and `augment`'s."""
        cache = self._caches[np.searchsorted(self._bounds, u[0], side="right")]
        position = int(u[1] * len(cache))
        try:
            images = cache(position)
            crop = augmentation.augment(
                images, u[2:], self._config.data, cache.rendered
            )
        except ValueError as error:
            raise UserError(
                f"{cache.names[position]} cannot be cropped: {error}"
            ) from None
        if crop.shape[-1] != self._channels:
            crop = np.tile(crop, 2)
        return crop, cache.rendered, index

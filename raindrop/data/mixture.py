"""The sources that a run trains on, and crops of their pictures."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from raindrop.data import augmentation, sources
from raindrop.errors import UserError


class Mixture:
    """All pictures that a run trains on.

    Attributes:
      caches: the pictures of each source.
      bounds: a number in [0, 1) draws the source that it lies before, or the last one;
        the sources' shares, summed up.
      channels: of every crop: three where all is to be rendered, else six.
    """

    def __init__(self, config: Any) -> None:
        """Opens the sources.

        Args:
          config: the whole config.

        Raises:
          UserError: data that is not there, not usable, or smaller than the crop.
        """
        shares = sources.weights(config.data)
        cache_bytes = int(config.data.cache_gib * 2**30 / len(shares))
        self.caches = [sources.training(config, name, cache_bytes) for name in shares]
        self.bounds = np.cumsum(list(shares.values()))[:-1]
        rendered = all(cache.rendered for cache in self.caches)
        self.channels = 3 if rendered else 6
        self._data = config.data

    def crop(self, which: int, position: int, draws: Iterable[float]) -> np.ndarray:
        """A crop of one picture, or of both of a pair.

        Args:
          which: the source.
          position: of the picture in it.
          draws: see `augmentation.augment`.

        Returns:
          uint8 [crop, crop, channels], of a pair rainy before clean; of a photograph
          among pairs twice the same.

        Raises:
          UserError: a picture that cannot be read, or is smaller than the crop.
        """
        cache = self.caches[which]
        images = cache(position)
        try:
            crop = augmentation.augment(images, draws, self._data, cache.rendered)
        except ValueError as error:
            name = cache.names[position]
            raise UserError(f"{name} cannot be cropped: {error}") from None
        return crop if crop.shape[-1] == self.channels else np.tile(crop, 2)

"""A generator over pictures of any size."""

from pathlib import Path

import jax
import numpy as np

from raindrop import image_io
from raindrop.models import generator
from raindrop.weights import LoadedGenerator


class Derainer:
    """Removes raindrops from pictures. RGB on both sides, whatever the weights speak.

    Args:
      loaded: the weights and their network.
    """

    def __init__(self, loaded: LoadedGenerator) -> None:
        self.source = loaded.source
        network = generator.from_fields(loaded.fields)
        self._params = jax.device_put(loaded.params)
        self._apply = jax.jit(lambda p, x: network.apply({"params": p}, x))

    def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One picture through the network.

        Args:
          image: RGB [H, W, 3], uint8 or float in [0, 1].

        Returns:
          The picture without drops, float32 [H, W, 3], unclipped; the attention maps
          of every step, [N, H, W, 1].
        """
        if image.dtype == np.uint8:
            image = image.astype(np.float32) / 255
        height, width = image.shape[:2]
        padded = image_io.pad_to_multiple(image, 4)[None]
        output = jax.device_get(self._apply(self._params, padded))
        return (
            output.image[0, :height, :width],
            output.attention[:, 0, :height, :width],
        )


def derain_file(derainer: Derainer, source: str | Path, target: str | Path) -> None:
    """Cleans the picture at `source` and writes it to `target`.

    Raises:
      UserError: a picture that cannot be read, or a target that cannot be written.
    """
    image, _ = derainer.run(image_io.read_image(source))
    image_io.write_image(target, image)

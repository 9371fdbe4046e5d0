"""Raindrop removal: the attentive GAN of Qian et al. (CVPR 2018) in JAX/Flax."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raindrop.restoration.derainer import Derainer


def load(weights: str | os.PathLike | None = None, **options: int) -> "Derainer":
    """Weights as an object with `.derain(image, attention=False)`.

    Args:
      weights: a run, one of its steps, or a weight file made elsewhere; the ones
        that come with raindrop by default.
      **options: `tile`, see `raindrop.restoration.derainer.Derainer`.

    Returns:
      A `raindrop.restoration.derainer.Derainer`.

    Raises:
      raindrop.errors.UserError: nothing there, damaged, or no generator.
    """
    # JAX is loaded with the first weights, not with the package.
    from raindrop.restoration import derainer

    return derainer.load(weights, **options)

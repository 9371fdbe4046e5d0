"""Photographs that raindrops are rendered on."""

import functools
import logging
from collections.abc import Sequence

import numpy as np

from raindrop.data import photographs
from raindrop.data.pairs import Pair, PairSet
from raindrop.data.sources.source import Part, Source, Training, large_enough
from raindrop.errors import UserError
from raindrop.media import pictures, pixel_values

_LOG = logging.getLogger(__name__)


class Rendered(Source):
    """Clean photographs; what trains on them puts the drops before them itself."""

    name = "rendered"
    rendered = True

    def training(self) -> Training:
        """All photographs but those held out."""
        paths, sides = [], []
        for path in self._split()[0]:
            try:
                sides.append(min(pictures.image_size(path)))
            except UserError as error:
                if not self.skip:
                    raise
                _LOG.warning("%s; left out", error)
            else:
                paths.append(path)
        if not paths:
            raise UserError(
                f"{self.config.data.photos} holds no photograph to train on"
            )
        names = [str(path) for path in paths]
        fitting = [paths[i] for i in large_enough(names, sides, self.config.data)]
        return (
            [str(path) for path in fitting],
            lambda position: pictures.read_image(fitting[position]),
        )

    def held_out(self) -> PairSet:
        """The held-out photographs under drops that `eval.seed` decides."""
        import jax

        from raindrop.rendering import render

        settings = render.Settings(**self.config.data.rendering)
        draw = jax.jit(functools.partial(render.example, settings=settings))
        paths = self._split()[1]
        seed = jax.random.key(self.config.eval.seed)

        def read(position: int) -> Pair:
            photograph = pictures.read_image(paths[position])
            key = jax.random.fold_in(seed, position)
            drawn = draw(key, photograph.astype(np.float32) / 255)
            rainy, clean = (pixel_values.to_uint8(np.asarray(x)) for x in drawn[:2])
            return Pair(paths[position].stem, rainy, clean)

        return PairSet([path.stem for path in paths], read)

    def evaluation(self) -> PairSet:
        """The same: nothing else is not trained on."""
        return self.held_out()

    def record(self, evaluating: bool = False) -> dict[str, str]:
        """The photographs."""
        del evaluating
        return {"name": self.name, "photos": self.config.data.photos}

    def parts(self) -> Sequence[Part]:
        """A line: there are no pairs to look at."""
        names, _ = self.training()
        held_out = len(self._split()[1])
        line = f"rendered: {len(names)} photographs, {held_out} held out"
        return [Part(self.name, None, [line])]

    def _split(self) -> tuple[list, list]:
        from raindrop.rendering.camera import check_transforms

        check_transforms()
        return photographs.split(self.config.data.photos, self.config.eval.num_images)

"""Pictures in, pictures without drops out: a generator at one size or at several."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from raindrop.errors import UserError
from raindrop.media.pixel_values import to_float
from raindrop.restoration import scales, tiles
from raindrop.restoration.engine import Engine, JaxEngine
from raindrop.restoration.one_size import OneSize, Result
from raindrop.restoration.smoothing import Smoothing
from raindrop.weights import PRETRAINED, LoadedGenerator

_SHARED = 128  # sides of the smaller copies are padded to multiples of this
_OVERSHOOT = 0.25  # of floats beyond [0, 1]
_OPEN = 0.5  # the gate, where there is a drop


class Derainer(OneSize):
    """Removes raindrops from pictures. RGB on both sides, whatever the weights speak.

    Large pictures are cleaned at half their size as well, and so on: a network knows
    drops as large as it was trained on, in pixels. What is left of drops close to the
    lens shows at a quarter of the size. See `Interface.frame`, `again_at_quarter` and
    `scales`.

    Args:
      loaded: the weights and their network.
      tile: pictures of more than `tile` squared pixels are cut into tiles of at most as
        many; 0 cuts none, whatever memory it takes. By default `one_size.TILE`, or half
        as much again for networks on patches of pixels, which see further and take less
        memory. Smaller tiles overlap less.
      engine: what computes the network of these weights; JAX by default.

    Attributes:
      again: whether a picture is cleaned once more at a quarter of its size, as in
        `Interface.again_at_quarter`.
      fast: whether it is cleaned at one size alone, which is quicker and less clean:
        its own, or of a large picture the half (a quarter, ...) that is not large.

    Raises:
      UserError: tiles that are too small, or weights that are not finite.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        tile: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(loaded, tile, engine)
        self.identity = f"{loaded.source} {loaded.sha256}"
        self.frame = self.interface.frame
        self.again = self.interface.again_at_quarter != "no"
        self.fast = False

    def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One picture through the network.

        Args:
          image: RGB [H, W, 3], uint8, uint16 or float in [0, 1].

        Returns:
          The picture without drops, float32 [H, W, 3], unclipped; the maps,
          [N, H, W, 1], as `derain` gives them.
        """
        picture, maps = self.run_many([image], attention=True, raw=True)[0]
        assert maps is not None, "they were asked for"
        return picture, maps

    def derain(
        self, image: np.ndarray, attention: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Removes the raindrops from a picture, or from a batch of one size.

        Args:
          image: RGB [H, W, 3] or [B, H, W, 3]; uint8, uint16, or float in [0, 1]. Any
            height and width.
          attention: whether the attention maps are wanted too.

        Returns:
          As `image` in shape and type. With `attention` also the maps, float32
          [N, H, W, 1] or [N, B, H, W, 1], the finest last: towards 1 where there is a
          drop, towards 0 where there is none, not clipped to that. They are the
          recurrence's, of every step, and where the network has one the gate: how much
          of what it painted counts. In the shipped weights the gate alone tells drops;
          haze between them opens it too, and on most dry pictures it is about 0.

        Raises:
          UserError: an array of another shape or type; floats that are not in [0, 1];
            an output that is not finite.
        """
        image = np.asarray(image)
        kinds = (np.uint8, np.uint16)
        if image.dtype not in kinds and not np.issubdtype(image.dtype, np.floating):
            raise UserError(
                f"pictures are uint8, uint16 or float in [0, 1], not {image.dtype}"
            )
        if image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape:
            raise UserError(
                f"pictures are RGB, [H, W, 3] or [B, H, W, 3], not {image.shape}"
            )
        batch = image if image.ndim == 4 else image[None]
        results = self.run_many(list(batch), attention=attention)
        pictures = np.stack([picture for picture, _ in results])
        if not attention:
            return pictures if image.ndim == 4 else pictures[0]
        maps = np.stack([one for _, one in results if one is not None], axis=1)
        return (pictures, maps) if image.ndim == 4 else (pictures[0], maps[:, 0])

    def run_many(
        self,
        images: Sequence[np.ndarray],
        shape: tiles.Size | None = None,
        attention: bool = False,
        raw: bool = False,
        smoothing: Smoothing | None = None,
        batch: int | None = None,
        advance: Callable[[int], object] = lambda pixels: None,
    ) -> list[Result]:
        """Several pictures through the network, as few calls as fit the memory.

        Args:
          images: RGB [H, W, 3] each, uint8, uint16 or float; of any sizes that fit
            `shape`.
          shape: the padded size that the network is compiled for; the first
            picture's, padded, by default. Smaller pictures come out as they would in
            a network of their own size. Of pictures that are cut, the tiles' shape.
          attention: whether the maps are wanted.
          raw: float32 and unclipped, rather than as the pictures came.
          smoothing: the pictures are frames of one size, in their order.
          batch: pictures at once; what fits the memory by default.
          advance: called after every network call with the pixels that it did.

        Returns:
          Picture and maps (float32 [N, H, W, 1], or None) for each.

        Raises:
          UserError: smoothing of maps that these weights do not have; floats that are
            not in [0, 1]; an output that is not finite.
        """
        for image in images:
            _check_range(image)
        if smoothing is not None and not self.steps:
            raise UserError("these weights have no map of the drops to smooth")
        # Smoothing is of maps at a picture's own size.
        if self.fast and smoothing is None and all(map(self._is_large, images)):
            return [
                self._and_half(i, *self._as_it_is(i, attention, raw, advance), False)
                for i in images
            ]
        results = self.at_own_size(
            images, shape, attention, raw, smoothing, batch, advance
        )
        return [
            self._and_half(
                image, *self._and_quarter(image, *result), self.interface.gated
            )
            for image, result in zip(images, results, strict=True)
        ]

    def _is_large(self, picture: np.ndarray) -> bool:
        return bool(self.frame) and max(picture.shape[:2]) >= 2 * self.frame

    def _as_it_is(
        self,
        image: np.ndarray,
        attention: bool,
        raw: bool,
        advance: Callable[[int], object],
    ) -> Result:
        """The result of a picture that nothing is changed in."""
        size = image.shape[:2]
        advance(size[0] * size[1])
        maps = np.zeros((self.steps, *size, 1), np.float32) if attention else None
        picture = to_float(image) if raw else image
        return picture.copy(), maps

    def _and_half(
        self,
        wet: np.ndarray,
        picture: np.ndarray,
        maps: np.ndarray | None,
        gated: bool,
    ) -> Result:
        """A large picture and its result -> that, and what half its size shows.

        With `gated` the copy is one of the wet picture, and counts where its gate is
        open: what the result has left of a large drop looks less like one. Without,
        nothing says where the copy counts, and it is one of the result.
        """
        size = picture.shape[:2]
        if not self._is_large(picture):
            return picture, maps
        before = _in_range(scales.half(picture))
        small = scales.half(wet) if gated else before
        shape = self._shared_shape(small.shape[:2])
        (clean, more), *_ = self.run_many([small], shape, gated or maps is not None)
        if gated:
            assert more is not None, "they were asked for"
            clean = scales.blend(before, clean, more[-1])
        if not picture.flags.writeable:
            picture = picture.copy()
        scales.bring_back(picture, before, clean)
        if maps is not None and more is not None:
            maps = np.maximum(maps, scales.twice(more, size))
        return picture, maps

    def _and_quarter(
        self, wet: np.ndarray, picture: np.ndarray, maps: np.ndarray | None
    ) -> Result:
        """A picture and its result -> that, and what a quarter shows of large drops.

        Not of pictures of the size of those in training, or smaller. Of `_is_large`
        ones their half, or a half of that, is seen in this way.
        """
        size = picture.shape[:2]
        small = max(size) <= self.frame
        if not self.again or self.fast or small or self._is_large(picture):
            return picture, maps
        half = _in_range(scales.half(picture))
        quarter = scales.half(half)
        wet = scales.half(scales.half(wet))
        of_wet = self.interface.again_at_quarter == "wet"
        where = scales.changed(wet, quarter, around=0 if of_wet else scales.EDGE)
        # Where no other large drop is, what looks like one in a small copy is none.
        if not scales.large_regions(where).any():
            return picture, maps
        (clean, more), *_ = self.at_own_size(
            [wet if of_wet else quarter],
            self._shared_shape(quarter.shape[:2]),
            attention=of_wet or maps is not None,
            raw=False,
        )
        if of_wet:
            assert more is not None, "they were asked for"
            where = more[-1, ..., 0] > _OPEN
        share = scales.large_regions(where & scales.changed(quarter, clean))
        clean = scales.blend(quarter, clean, share)
        if not share.any():
            return picture, maps
        changed = half.copy()
        scales.bring_back(changed, quarter, clean)
        if not picture.flags.writeable:
            picture = picture.copy()
        scales.bring_back(picture, half, changed)
        if maps is not None and more is not None:
            more = scales.twice(share * more, half.shape[:2])
            maps = np.maximum(maps, scales.twice(more, size))
        return picture, maps

    def _shared_shape(self, size: tiles.Size) -> tiles.Size | None:
        """For pictures of many sizes to share a few compiled programs, if they may."""
        if self.exact_shapes or self.is_tiled(self.padded_size(size)):
            return None
        rows, columns = (-(-side // _SHARED) * _SHARED for side in size)
        return self.padded_size((rows, columns))


def _in_range(copy: np.ndarray) -> np.ndarray:
    """A copy of a result that may be unclipped, such as a network takes."""
    return copy.clip(0, 1) if copy.dtype.kind == "f" else copy


def _check_range(image: np.ndarray) -> None:
    """Raises UserError for floats that cannot be meant as values in [0, 1]."""
    if image.dtype in (np.uint8, np.uint16) or image.size == 0:
        return
    low, high = float(image.min()), float(image.max())
    # Enlarged and sharpened pictures overshoot a little; NaN is not within either.
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        raise UserError(
            f"pictures of floats have values in [0, 1], not from {low:g} to {high:g}; "
            "divide those of 0..255 by 255, or give uint8"
        )


def load_derainer(
    weights: str | os.PathLike | None = None,
    tile: int | None = None,
    make_engine: Callable[[LoadedGenerator], Engine] = JaxEngine,
) -> Derainer:
    """The `Derainer` of any weights that `--weights` takes.

    Args:
      weights: a run, one of its steps, or a weight file made elsewhere; None:
        `PRETRAINED`.
      tile: see `Derainer`.
      make_engine: gives what computes the network of the weights.

    Raises:
      UserError: nothing there, damaged, or no generator.
    """
    from raindrop.weights import generators

    loaded = generators.load_generator(weights or PRETRAINED)
    return Derainer(loaded, tile, make_engine(loaded))

"""A generator at a picture's own size: padding, batches, tiles, one network call."""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from raindrop import progress
from raindrop.errors import UserError
from raindrop.media.pictures import pad_to_multiple
from raindrop.media.pixel_values import from_float, to_float
from raindrop.models import generator
from raindrop.restoration import tiles
from raindrop.restoration.engine import Engine, JaxEngine
from raindrop.restoration.smoothing import Smoothing
from raindrop.weights import LoadedGenerator

_LOG = logging.getLogger(__name__)

# Pictures of more than TILE x TILE pixels are cut, and a batch has no more either: that
# bounds the memory of a network call. benchmarks/tiles.py measures what cutting does.
TILE = 768
# What neighbouring tiles share. Pixels that count are at least three eighths of it from
# any cut: 96 pixels, of the 205 that the released network could reach.
OVERLAP = 256
_LARGEST_BATCH = 16
# By how much steadying may enlarge a change. Where the gate is nearly closed, what the
# network painted means nothing. On moving scenes behind fixed drops, 1.5 flickers less
# than 3 or more.
_MORE = 1.5
_SMALLEST_TILE = 64
Result = tuple[np.ndarray, np.ndarray | None]  # a picture, and its maps if asked for


class OneSize:
    """Cleans pictures at their own size, those that are large by tiles.

    Args:
      loaded: the weights and their network.
      tile: see `derainer.Derainer`.
      engine: what computes the network of these weights; JAX by default.

    Attributes:
      interface: what the network takes and gives.
      source: where the weights come from.
      steps: how many maps it gives, the gate among them.
      tile: pictures of more than `tile` squared pixels are cut; 0: none are.
      exact_shapes: whether each picture must have a compiled program of its own size.

    Raises:
      UserError: tiles that are too small, or weights that are not finite.
    """

    def __init__(
        self, loaded: LoadedGenerator, tile: int | None, engine: Engine | None
    ) -> None:
        self.interface = generator.from_fields(loaded.fields).interface
        further = self.interface.tile_factor
        tile = round(TILE * further) if tile is None else tile
        if tile and tile < _SMALLEST_TILE:
            raise UserError(
                f"tiles of {tile} pixels are too small; give at least "
                f"{_SMALLEST_TILE}, or 0 for none"
            )
        _check_finite(loaded)
        self.source = loaded.source
        # Pictures are padded to a multiple of this, and tiles start at one.
        self._multiple = self.interface.multiple
        self.steps = self.interface.num_maps + self.interface.gated
        self._says_whole = self.interface.sees_whole_picture
        self.tile = tile // self._multiple * self._multiple
        third = self.tile // 3 // self._multiple * self._multiple
        self._overlap = min(round(OVERLAP * further), third)
        self._engine = engine or JaxEngine(loaded)
        # Pictures of other sizes than a program's own would come out otherwise.
        exact = self.interface.exact_when_padded and self._engine.masks_padding
        self.exact_shapes = not exact

    def padded_size(self, size: tiles.Size) -> tiles.Size:
        """(height, width) as the network takes it."""
        height, width = (-(-side // self._multiple) * self._multiple for side in size)
        return height, width

    def is_tiled(self, size: tiles.Size) -> bool:
        """Whether pictures of that (height, width) are cut."""
        return bool(self.tile) and size[0] * size[1] > self.tile**2

    def batch_size(self, shape: tiles.Size, count: int) -> int:
        """How many of `count` pictures of one shape go through the network at once."""
        fit = max(1, min(_LARGEST_BATCH, TILE**2 // (shape[0] * shape[1])))
        most = fit * self._engine.devices
        even = -(-count // -(-count // most))
        return -(-even // self._engine.devices) * self._engine.devices

    def at_own_size(
        self,
        images: Sequence[np.ndarray],
        shape: tiles.Size | None,
        attention: bool,
        raw: bool,
        smoothing: Smoothing | None = None,
        batch: int | None = None,
        advance: Callable[[int], object] = lambda pixels: None,
    ) -> list[Result]:
        """Several pictures through the network, as few calls as fit the memory.

        Arguments, results and errors as those of `derainer.Derainer.run_many`.
        """
        if self.is_tiled(self.padded_size(images[0].shape[:2])):
            return [
                self._tiled(i, shape, attention, raw, smoothing, advance)
                for i in images
            ]
        shape = shape or self.padded_size(images[0].shape[:2])
        batch = batch or self.batch_size(shape, len(images))
        results = []
        for start in progress.steps(range(0, len(images), batch), "batch"):
            some = images[start : start + batch]
            pictures, maps = self._call(
                [pad_to_multiple(i, self._multiple) for i in some],
                shape,
                batch,
                attention,
                smoothing.over_frames if smoothing else None,
            )
            advance(sum(image.shape[0] * image.shape[1] for image in some))
            for k, image in enumerate(some):
                height, width = image.shape[:2]
                picture = pictures[k, :height, :width]
                one = None if maps is None else maps[:, k, :height, :width]
                if not raw:
                    picture = from_float(picture, image.dtype)
                results.append((picture, one))
        return results

    def _call(
        self,
        padded: Sequence[np.ndarray],
        shape: tiles.Size,
        batch: int,
        attention: bool,
        smooth: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """One network call: `padded` pictures, and zeros to fill the batch."""
        batch = len(padded) if self._engine.any_batch else batch
        sizes = np.full((batch, 2), shape, np.int32)
        x = np.zeros((batch, *shape, 3), np.float32)
        for k, image in enumerate(padded):
            sizes[k] = image.shape[:2]
            x[k, : sizes[k, 0], : sizes[k, 1]] = to_float(image)
        exact = (sizes == shape).all()
        if self.exact_shapes and not (sizes[: len(padded)] == shape).all():
            raise ValueError(
                f"this network takes no picture in an array larger than it, {shape}"
            )
        count = len(padded)
        if smooth is None or self.interface.gated:
            bounds = None if exact else sizes
            pictures, maps = self._engine.run(x, bounds, attention or bool(smooth))
            if smooth is not None and maps is not None:
                pictures, maps = pictures[:count], np.array(maps[:, :count])
                pictures = _steady(x[:count], pictures, maps, smooth)
        else:
            maps = self._engine.attend(x)
            maps[-1, :count] = smooth(maps[-1, :count])
            pictures = self._engine.restore(x, maps[-1])
        self._check_output(pictures[:count])
        return pictures[:count], None if maps is None else maps[:, :count]

    def _check_output(self, pictures: np.ndarray) -> None:
        # What is not finite stays so in a sum, which needs no second array.
        if not np.isfinite(pictures.sum(dtype=np.float64)):
            raise UserError(
                f"the network's output is not finite (NaN or Inf): {self.source} "
                "does not fit this picture, or its training diverged; take an earlier "
                "checkpoint"
            )

    def _tiled(
        self,
        image: np.ndarray,
        shape: tiles.Size | None,
        attention: bool,
        raw: bool,
        smoothing: Smoothing | None,
        advance: Callable[[int], object],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if self._says_whole:
            self._says_whole = False
            _LOG.warning(
                "this network looks at all of a picture, and those of more than %d x "
                "%d pixels are cut: tiles come out otherwise than the whole would; "
                "--tile=0 cuts none, if the memory suffices",
                self.tile,
                self.tile,
            )
        height, width = image.shape[:2]
        padded = pad_to_multiple(image, self._multiple)
        shape = shape or tiles.tile_shape(
            padded.shape[:2], self.tile, self._overlap, self._multiple
        )
        rows, columns = (
            tiles.positions(size, side, self._overlap, self._multiple)
            for size, side in zip(padded.shape[:2], shape, strict=True)
        )
        corners = [(row, column) for row in rows for column in columns]
        batch = self.batch_size(shape, len(corners))

        wanted = self.steps if attention else int(smoothing is not None)

        def outputs() -> Iterator[np.ndarray]:
            for start in progress.steps(range(0, len(corners), batch), "batch"):
                windows = [
                    np.s_[row : row + shape[0], column : column + shape[1]]
                    for row, column in corners[start : start + batch]
                ]
                smooth = None
                if smoothing:
                    smooth = functools.partial(smoothing.of, windows=windows)
                pictures, maps = self._call(
                    [padded[w] for w in windows], shape, batch, attention, smooth
                )
                counts = (start, start + len(windows))
                before, after = (height * width * n // len(corners) for n in counts)
                advance(after - before)
                for k, picture in enumerate(pictures):
                    last_maps = () if maps is None else maps[-wanted:, k]
                    last_maps = last_maps if wanted else ()
                    yield np.concatenate([picture, *last_maps], axis=-1)

        result = np.empty((height, width, 3), np.float32 if raw else image.dtype)
        maps = np.empty((wanted, *padded.shape[:2], 1), np.float32)
        for top, band in tiles.blend(outputs(), rows, columns, self._overlap):
            for k in range(wanted):
                maps[k, top : top + len(band)] = band[..., 3 + k : 4 + k]
            picture = band[: height - top, :width, :3]
            if not raw:
                picture = from_float(picture, image.dtype)
            result[top : top + len(picture)] = picture
        if smoothing is not None:
            smoothing.previous = maps[-1].copy()
        return result, maps[:, :height, :width] if attention else None


def _steady(
    x: np.ndarray,
    pictures: np.ndarray,
    maps: np.ndarray,
    smooth: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The pictures of x, [B, H, W, 3], by a smoothed gate, put in the maps' last.

    Where tiles overlap, the smoothed one is of blended gates, the divisor this tile's.
    """
    gate = maps[-1].copy()
    maps[-1] = smooth(gate)
    return x + np.minimum(maps[-1] / np.maximum(gate, 1e-6), _MORE) * (pictures - x)


def _check_finite(loaded: LoadedGenerator) -> None:
    """Raises UserError where weights are NaN or infinite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(loaded.params):
        if not np.isfinite(np.asarray(leaf, np.float32)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(
                f"{loaded.source} has weights that are not finite (NaN or Inf), such "
                f"as {name}: its training diverged, or the file is damaged; take an "
                "earlier checkpoint"
            )

"""Where training pictures come from: each source decodes them by position."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from raindrop.data import pairs, photographs
from raindrop.data.pairs import PairSet
from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)
NAMES = ("rendered", "pairs", "raindrop")


class Source:
    """Pictures by position, and as many of them kept as fit into memory.

    What is kept changes the time only, never a value. Safe to call from threads.

    Args:
      names: of the pictures, for messages; as many as there are.
      decode: position to uint8 [H, W, C]: RGB of a clean photograph that drops are to
        be rendered on, or six channels, the rainy picture before the clean one.
      rendered: whether it is the former.
      cache_bytes: to keep at most.
      skip: the picture after it stands in for one that cannot be decoded, every time.
    """

    def __init__(
        self,
        names: Sequence[str],
        decode: Callable[[int], np.ndarray],
        rendered: bool,
        cache_bytes: int,
        skip: bool = False,
    ) -> None:
        self.names = list(names)
        self.rendered = rendered
        self._decode = decode
        self._left = cache_bytes
        self._skip = skip
        self._skipped: set[int] = set()
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, position: int) -> np.ndarray:
        """What `decode` gives at `position`.

        Raises:
          UserError: a picture that cannot be decoded, or none that can.
        """
        for distance in range(len(self)):
            candidate = (position + distance) % len(self)
            try:
                return self._read(candidate)
            except UserError as error:
                if not self._skip:
                    raise
                with self._lock:
                    if candidate not in self._skipped:
                        self._skipped.add(candidate)
                        _LOG.warning("%s; the picture after it is taken", error)
        raise UserError("none of the pictures to train on can be decoded")

    def _read(self, position: int) -> np.ndarray:
        image = self._kept.get(position)
        if image is None:
            image = self._decode(position)
            with self._lock:
                if position not in self._kept and image.nbytes <= self._left:
                    self._kept[position] = image
                    self._left -= image.nbytes
        return image


def weights(data: Any) -> dict[str, float]:
    """Share of each source in a run: `data.mixture`, or all of `data.name`.

    Raises:
      UserError: an unknown source, or a weight below zero.
    """
    mixture = {name: float(w) for name, w in data.mixture.items() if w}
    if not mixture:
        mixture = {data.name: 1.0}
    for name, weight in mixture.items():
        if name not in NAMES:
            raise UserError(
                f"data.name must be one of {', '.join(NAMES)}, not {name!r}"
            )
        if weight < 0:
            raise UserError(f"data.mixture.{name} is {weight}; weights are above zero")
    total = sum(mixture.values())
    return {name: weight / total for name, weight in mixture.items()}


def training(config: Any, name: str, cache_bytes: int) -> Source:
    """The pictures of a source to train on: all but those held out.

    Args:
      config: the whole config.
      name: of `NAMES`.
      cache_bytes: see `Source`.

    Raises:
      UserError: data that is not there or not usable, or smaller than the crop.
    """
    data = config.data
    skip = data.on_error == "skip"
    if name == "rendered":
        paths, _ = photographs.split(data.photos, config.eval.num_images)
        fitting = photographs.at_least(paths, data.crop_size, skip)
        paths = [paths[i] for i in fitting]
        names = [str(path) for path in paths]
        return Source(
            names, lambda i: pictures.read_image(paths[i]), True, cache_bytes, skip
        )
    pair_set = open_pairs(name, data, "train")
    away = set(photographs.hold_out(pair_set.names, config.eval.num_images))
    pair_set = pair_set.subset(i for i in range(len(pair_set)) if i not in away)
    if not pair_set:
        raise UserError(
            "there is one pair, and it is held out for evaluation; give more of them, "
            "or set eval.num_images=0 to train on it"
        )
    if name == "pairs":
        files = pair_set.files
        pair_set = pair_set.subset(photographs.at_least(files, data.crop_size, skip))

    def decode(position: int) -> np.ndarray:
        pair = pair_set.read(position)
        return np.concatenate([pair.rainy, pair.clean], axis=-1)

    return Source(pair_set.names, decode, False, cache_bytes, skip)


def held_out(config: Any, name: str) -> PairSet:
    """The pairs of 'pairs' or 'raindrop' that are not trained on.

    Where `eval.num_images` is 0, and so nothing is held out, those that are.

    Raises:
      UserError: as `training`.
    """
    pair_set = open_pairs(name, config.data, "train")
    away = photographs.hold_out(pair_set.names, config.eval.num_images)
    if not away:
        _LOG.warning(
            "eval.num_images is 0: evaluating on pairs that are trained on, which says "
            "nothing about others"
        )
    return pair_set.subset(away) if away else pair_set


def open_pairs(name: str, where: Any, split: str) -> PairSet:
    """All pairs of 'pairs', or of a split of 'raindrop'.

    Args:
      name: one of the two.
      where: config group with the fields dir, rainy and clean.
      split: of 'raindrop'.

    Raises:
      UserError: data that is not there or not usable.
    """
    if name == "pairs":
        return PairSet.of(pairs.load(where.dir, where.rainy, where.clean))
    from raindrop.data import raindrop_dataset

    return raindrop_dataset.open_split(where.dir, split)

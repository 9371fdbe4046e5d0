"""Which pictures show the same scene, and which pairs to hold out of training.

A score on pictures of a scene that was trained on, behind other drops, says little
about new scenes: what is held out must come from scenes that are not trained on.
"""

import hashlib
import logging
import os
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from raindrop.data.pairs import PairFiles
from raindrop.errors import UserError

_LOG = logging.getLogger(__name__)
# Height and width of the thumbnails that scenes are told by; small enough to forgive
# drops and noise.
SHAPE = (24, 32)
_BLOCK = 1024  # rows of the table of correlations at a time
# From so many on, folders are scenes; one or two are parts of a set: day/ and night/.
_LEAST_FOLDERS = 3
_MANY = 2000  # pictures whose comparison takes long enough to say so


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A small copy of uint8 RGB [H, W, 3]: uint8 luma [24, 32]."""
    gray = Image.fromarray(image).convert("L")
    return np.asarray(gray.resize(SHAPE[::-1], Image.Resampling.BOX))


def unit(thumbnails: np.ndarray) -> np.ndarray:
    """Vectors of length 1 whose dot products are the correlations of the thumbnails.

    Args:
      thumbnails: uint8 [..., 24, 32] of `thumbnail`.

    Returns:
      float32 [..., 768]; zero where a picture is of one colour.
    """
    flat = thumbnails.reshape(*thumbnails.shape[:-2], -1).astype(np.float32)
    flat = flat - flat.mean(-1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)


def group(thumbnails: np.ndarray, least: float) -> list[int]:
    """A label for each thumbnail; those of equal labels show the same scene.

    Args:
      thumbnails: uint8 [N, 24, 32] of `thumbnail`.
      least: the correlation from which on two show the same scene. What looks like
        two others makes one scene of all three.
    """
    # Not at the top: photographs do without it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vectors, count = unit(thumbnails), len(thumbnails)
    labels = np.arange(count)
    for start in range(0, count, _BLOCK):
        alike = vectors[start : start + _BLOCK] @ vectors.T >= least
        first, second = np.nonzero(alike)
        edges = np.unique(labels[start + first] * count + labels[second])
        graph = coo_array(
            (np.ones(len(edges), bool), np.divmod(edges, count)), (count, count)
        )
        labels = connected_components(graph, directed=False)[1][labels].astype(np.int64)
    return labels.tolist()


def of_files(files: Sequence[PairFiles], least: float) -> Sequence[Hashable]:
    """A label for each pair: that of its scene.

    Pairs that share the file of their ground truth show one scene. Beyond that the
    folders of the scenes tell, where there are several; else the ground truths are
    compared.

    Args:
      files: the pairs.
      least: see `group`.
    """
    if len({pair.scene for pair in files}) >= _LEAST_FOLDERS:
        return [pair.scene for pair in files]
    stamps = tuple(pair.clean.stat().st_mtime_ns for pair in files)
    return _compare(tuple(files), stamps, least)


# A run asks twice: for what to train on, and for what to evaluate on.
@lru_cache(maxsize=4)
def _compare(
    files: tuple[PairFiles, ...], stamps: tuple[int, ...], least: float
) -> list[int]:
    del stamps  # part of the cache's key: files may have changed
    truths = {pair.clean: pair for pair in files}
    if len(truths) > _MANY:
        _LOG.info("comparing %d ground truths, to tell the scenes apart", len(truths))

    def small(pair: PairFiles) -> np.ndarray:
        try:
            return thumbnail(pair.read_clean())
        except UserError:  # told where the picture is used
            return np.zeros(SHAPE, np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        thumbnails = np.stack(list(pool.map(small, truths.values())))
    labels = dict(zip(truths, group(thumbnails, least), strict=True))
    return [labels[pair.clean] for pair in files]


class Split(NamedTuple):
    """Positions of the pairs of a set.

    Attributes:
      train: to train on.
      held_out: to evaluate on.
      left_out: neither: of the scenes of those that are held out.
      shared: whether held-out pairs are of scenes that are trained on, for want of
        others.
    """

    train: list[int]
    held_out: list[int]
    left_out: list[int]
    shared: bool


def split(names: Sequence[str], scenes: Sequence[Hashable], count: int) -> Split:
    """Holds out some pairs, and keeps their scenes out of training.

    Which ones follows from their names alone, so that adding pictures moves few. Scenes
    are left out of training up to half of all pairs; where even one scene is more than
    that, pairs are held out of scenes that are trained on.

    Args:
      names: of the pairs.
      scenes: a label for each.
      count: how many to hold out; at most a tenth of them, at least one. None where
        this is 0.
    """
    everything = range(len(names))
    if count <= 0 or not names:
        return Split(list(everything), [], [], False)
    members: dict[Hashable, list[int]] = {}
    for position, scene in enumerate(scenes):
        members.setdefault(scene, []).append(position)
    count = max(1, min(count, len(names) // 10))
    order = drawn_order(names)
    held_out, away = list(_fitting(order, scenes, members, count)), set()
    for position in held_out:
        away.update(members[scenes[position]])
    if not held_out:
        held_out = order[:count]
        away = set(held_out)
    kept = [position for position in everything if position not in away]
    return Split(
        kept,
        sorted(held_out),
        sorted(away - set(held_out)),
        not {scenes[p] for p in kept}.isdisjoint(scenes[p] for p in held_out),
    )


def drawn_order(names: Sequence[str]) -> list[int]:
    """Positions in an order that follows from each name, whatever the others are."""

    def draw(position: int) -> bytes:
        name = names[position].encode("utf-8", "surrogateescape")
        return hashlib.sha256(name).digest()

    return sorted(range(len(names)), key=draw)


def _fitting(
    order: Sequence[int],
    scenes: Sequence[Hashable],
    members: dict[Hashable, list[int]],
    count: int,
) -> Iterator[int]:
    """The first `count` whose scenes together are at most half of all pairs."""
    taken: set[Hashable] = set()
    away = given = 0
    for position in order:
        scene = scenes[position]
        if scene not in taken:
            if away + len(members[scene]) > len(order) / 2:
                continue
            taken.add(scene)
            away += len(members[scene])
        yield position
        given += 1
        if given == count:
            return

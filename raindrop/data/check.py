"""A look at pairs before they are trained on: `raindrop check`."""

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from skimage.registration import phase_cross_correlation

from raindrop.data import masks, pairs, scenes, sources
from raindrop.data.pairs import Pair, PairSet
from raindrop.data.rendered_pairs import thumbnail
from raindrop.data.sources.source import PairSource, Part, Source
from raindrop.errors import UserError, printable
from raindrop.media import pictures

_PRECISION = 4  # of a shift, parts of a pixel


def check(config: Any, folder: str | Path) -> tuple[str, list[Path]]:
    """Counts, sizes, mask sizes and all that looks wrong, in the sets a config names.

    Args:
      config: the whole config.
      folder: gets a contact sheet (rainy, clean, mask) of every set,
        check_SET.png.

    Returns:
      The report, and the sheets.

    Raises:
      UserError: no pairs at all.
    """
    folder = Path(folder)
    lines: list[str] = []
    vectors: dict[str, _Vectors] = {}
    sheets = []
    for source, part in _parts(config):
        lines += part.lines
        if part.pairs is None:
            continue
        lines.append(f"{part.title}: {len(part.pairs)} pairs")
        found, rows, vectors[part.title] = _look(part.pairs, config)
        held_out = part.trained_on and config.eval.num_images
        if held_out and isinstance(source, PairSource):
            found += _split_lines(source, part.pairs, vectors[part.title])
        lines += [f"  {line}" for line in found]
        if rows:
            path = folder / f"check_{part.title.replace('/', '_')}.png"
            pictures.write_image(path, np.concatenate(rows))
            sheets.append(path)
    titles = list(vectors)
    least = config.check.same_scene
    for i, first in enumerate(titles):
        for second in titles[i + 1 :]:
            same = _same_scenes(vectors[first], vectors[second], least)
            lines.append(
                f"{first} and {second}: {len(same)} pictures of {second} show a scene "
                f"of {first}" + (f": {pairs.shorten(same)}" if same else "")
            )
    return printable("\n".join(lines)), sheets


def _parts(config: Any) -> Iterator[tuple[Source, Part]]:
    """The sets that training and evaluation would read, with their sources."""
    names = list(sources.weights(config.data))
    for name in names:
        source = sources.of(config, name)
        for part in source.parts():
            yield source, part
    evaluated = config.eval.name or config.data.name
    elsewhere = config.eval.dir or config.eval.rainy or evaluated not in names
    source = sources.of(config, evaluated, "eval.name")
    if elsewhere and not source.rendered:
        yield source, source.evaluation_part()


# Names of pictures, and what their scenes are told by: float32 [N, 768].
_Vectors = tuple[list[str], np.ndarray]


def _split_lines(source: PairSource, pair_set: PairSet, vectors: _Vectors) -> list[str]:
    """What is held out of a set, and whether it shows what is trained on."""
    split = source.split(pair_set)
    count = len(set(pair_set.labels()))
    lines = [
        f"{count} scene{'s' if count > 1 else ''}; pairs held out: "
        f"{len(split.held_out)}, left out of training for their scenes: "
        f"{len(split.left_out)}"
    ]
    if split.shared:
        lines.append(
            "the pairs held out show scenes that are trained on, for want of others: "
            "their score says nothing about new scenes"
        )
        return lines
    seen = dict(zip(*vectors, strict=True))

    def chosen(positions: list[int]) -> _Vectors:
        names = [pair_set.names[i] for i in positions]
        names = [name for name in names if name in seen]
        return names, np.array([seen[name] for name in names])

    same = _same_scenes(
        chosen(split.train), chosen(split.held_out), source.config.check.same_scene
    )
    if same:
        lines.append(
            "held-out pairs that look like one that is trained on: "
            + pairs.shorten(same)
        )
    return lines


def _look(
    pair_set: PairSet, config: Any
) -> tuple[list[str], list[np.ndarray], _Vectors]:
    """Lines on a set, rows of its sheet, and its scenes."""
    lines: list[str] = []
    rows: list[np.ndarray] = []
    sizes: collections.Counter[str] = collections.Counter()
    small, names, thumbnails, covered = [], [], [], []
    for position, name in enumerate(pair_set.names):
        try:
            pair = pair_set.read(position)
        except UserError as error:
            lines.append(str(error))
            continue
        height, width = pair.clean.shape[:2]
        sizes[f"{width} x {height}"] += 1
        if min(height, width) < config.data.crop_size:
            small.append(name)
        shift = misalignment(pair)
        if shift is not None and np.hypot(*shift) >= config.check.shift:
            lines.append(
                f"{name}: rainy is {shift[1]:+.1f} pixels to the right and "
                f"{shift[0]:+.1f} down from clean"
            )
        brighter = brightness(pair)
        if abs(brighter) > config.check.brightness:
            lines.append(f"{name}: rainy is {brighter * 255:+.0f} of 255 in brightness")
        mask = np.asarray(
            masks.mask(
                jnp.asarray(pair.rainy, jnp.float32) / 255,
                jnp.asarray(pair.clean, jnp.float32) / 255,
                **config.data.mask,
            )
        )
        covered.append(float(mask.mean()))
        names.append(name)
        thumbnails.append(scenes.thumbnail(pair.clean))
        if len(rows) < config.check.sheet_rows:
            shown = (pair.rainy, pair.clean, np.repeat(mask, 3, axis=-1))
            rows.append(pictures.side_by_side(map(thumbnail, shown)))
    for size, count in sizes.most_common():
        lines.append(f"{count} of {size}")
    if small:
        lines.append(
            f"{len(small)} smaller than the crop of {config.data.crop_size}: "
            + pairs.shorten(small)
        )
    if covered:
        lines.append(
            f"drops cover {np.mean(covered):.1%} ({min(covered):.1%} to "
            f"{max(covered):.1%})"
        )
    vectors = scenes.unit(np.reshape(thumbnails, (-1, *scenes.SHAPE)))
    return lines, rows, (names, vectors)


def misalignment(pair: Pair) -> tuple[float, float] | None:
    """How far the rainy picture lies from the clean one, (down, right), in pixels.

    By phase correlation. Drops can mislead it; so the shift counts only where undoing
    it, to whole pixels, brings the pictures nearer in the median.

    Returns:
      The shift, (0, 0) included, or None where correlation misled.
    """
    rainy, clean = (_luma(image) for image in (pair.rainy, pair.clean))
    # It gives the shift that would bring the rainy picture onto the clean one.
    shift, _, _ = phase_cross_correlation(clean, rainy, upsample_factor=_PRECISION)
    down, right = -shift
    rows, columns = round(down), round(right)
    if rows == 0 and columns == 0:
        return float(down), float(right)
    if abs(rows) >= clean.shape[0] // 2 or abs(columns) >= clean.shape[1] // 2:
        return None
    inside = _overlap(clean, -rows, -columns)
    moved = np.median(np.abs(_overlap(rainy, rows, columns) - inside))
    still = np.median(np.abs(_overlap(rainy, -rows, -columns) - inside))
    return (float(down), float(right)) if moved < still else None


def _overlap(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The part of a picture that is left when the first rows, columns are cut off.

    Or the last ones, where the numbers are negative.
    """
    parts = (slice(n, None) if n >= 0 else slice(None, n) for n in (rows, columns))
    return image[tuple(parts)]


def brightness(pair: Pair) -> float:
    """Median of rainy - clean, luma in [0, 1]: drops on less than half do not count."""
    return float(np.median(_luma(pair.rainy) - _luma(pair.clean)))


def _same_scenes(first: _Vectors, second: _Vectors, least: float) -> list[str]:
    """'NAME (as OTHER)' of every picture of the second that shows a scene of the first.

    Args:
      first: names and vectors.
      second: likewise.
      least: correlation from which on two show the same scene.
    """
    names, other_names = first[0], second[0]
    if not names or not other_names:
        return []
    correlation = second[1] @ first[1].T
    nearest = correlation.argmax(1)
    return [
        f"{name} (as {names[nearest[i]]})"
        for i, name in enumerate(other_names)
        if correlation[i, nearest[i]] >= least
    ]


def _luma(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255

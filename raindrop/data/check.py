"""A look at pairs before they are trained on: `--mode=check`."""

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.registration import phase_cross_correlation

from raindrop.data import masks, pairs, photographs, sources
from raindrop.data.pairs import Pair, PairSet
from raindrop.data.rendered_pairs import thumbnail
from raindrop.errors import UserError
from raindrop.media import pictures

# Thumbnails that scenes are told by; small enough to forgive drops and noise.
_SCENE = (32, 24)
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
    scenes: dict[str, tuple[list[str], np.ndarray]] = {}
    sheets = []
    for title, pair_set in _sets(config, lines):
        lines.append(f"{title}: {len(pair_set)} pairs")
        found, rows, scenes[title] = _look(pair_set, config)
        lines += [f"  {line}" for line in found]
        if rows:
            path = folder / f"check_{title.replace('/', '_')}.png"
            pictures.write_image(path, np.concatenate(rows))
            sheets.append(path)
    titles = list(scenes)
    for i, first in enumerate(titles):
        for second in titles[i + 1 :]:
            same = _same_scenes(*scenes[first], *scenes[second], config.check)
            lines.append(
                f"{first} and {second}: {len(same)} pictures of {second} show a scene "
                f"of {first}" + (f": {pairs.shorten(same)}" if same else "")
            )
    return "\n".join(lines), sheets


def _sets(config: Any, lines: list[str]) -> Iterable[tuple[str, PairSet]]:
    """The sets of pairs that training and evaluation would read, by title."""
    names = dict.fromkeys([*sources.weights(config.data), config.eval.name])
    places: list[tuple[str, str, Any]] = []
    for name in names:
        if name == "pairs":
            places.append(("pairs", name, config.data))
        elif name == "raindrop":
            places += [(f"raindrop/{s}", name, config.data) for s in _splits(config)]
    if "rendered" in names:
        train, held_out = photographs.split(config.data.photos, config.eval.num_images)
        photographs.at_least(train, config.data.crop_size)
        lines.append(f"rendered: {len(train)} photographs, {len(held_out)} held out")
    if config.eval.dir or config.eval.rainy:
        places.append(("eval", config.eval.name or config.data.name, config.eval))
    for title, name, where in places:
        if name == "pairs":
            yield title, _usable(title, where, lines)
        else:
            split = config.eval.split if title == "eval" else title.split("/")[1]
            yield title, sources.open_pairs(name, where, split)


def _splits(config: Any) -> list[str]:
    from raindrop.data import raindrop_dataset

    if not config.data.dir:
        raindrop_dataset.prepare("")  # says what to do
    return list(raindrop_dataset.find_sources(Path(config.data.dir)))


def _usable(title: str, where: Any, lines: list[str]) -> PairSet:
    """The pairs of a folder without a problem; the problems become lines."""
    found, alone = pairs.find(where.dir, where.rainy, where.clean)
    if alone:
        lines.append(f"{title}: {len(alone)} pictures without a twin")
        lines += [f"  {path}" for path in alone]
    problems = {pair.name: pairs.problem(pair) for pair in found}
    lines += [f"{title}: {text}" for text in problems.values() if text]
    return PairSet.of([pair for pair in found if not problems[pair.name]])


def _look(
    pair_set: PairSet, config: Any
) -> tuple[list[str], list[np.ndarray], tuple[list[str], np.ndarray]]:
    """Lines on a set, rows of its sheet, and its scenes."""
    lines: list[str] = []
    rows: list[np.ndarray] = []
    sizes: collections.Counter[str] = collections.Counter()
    small, names, scenes, covered = [], [], [], []
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
                pair.rainy.astype(np.float32) / 255,
                pair.clean.astype(np.float32) / 255,
                **config.data.mask,
            )
        )
        covered.append(float(mask.mean()))
        names.append(name)
        scenes.append(scene(pair.clean))
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
    return lines, rows, (names, np.array(scenes))


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


def scene(image: np.ndarray) -> np.ndarray:
    """A thumbnail as a vector of length 1 whose dot products are correlations."""
    small = cv2.resize(_luma(image), _SCENE, interpolation=cv2.INTER_AREA).ravel()
    small = small - small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-12)


def _same_scenes(
    names: list[str],
    scenes: np.ndarray,
    other_names: list[str],
    other_scenes: np.ndarray,
    settings: Any,
) -> list[str]:
    """'NAME (as OTHER)' of every other picture that shows a scene of these."""
    if not names or not other_names:
        return []
    correlation = other_scenes @ scenes.T
    nearest = correlation.argmax(1)
    return [
        f"{name} (as {names[nearest[i]]})"
        for i, name in enumerate(other_names)
        if correlation[i, nearest[i]] >= settings.same_scene
    ]


def _luma(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255

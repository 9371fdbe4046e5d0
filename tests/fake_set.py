"""A data set of the official layout, made of rendered drops on bundled photographs."""

import zipfile
from functools import cache

import cv2
import jax
import numpy as np

from configs import default
from raindrop.data import photographs
from raindrop.media import pictures, pixel_values
from raindrop.rendering.render import render
from raindrop.rendering.settings import Settings

HEIGHT, WIDTH = 44, 60


@cache
def rendered_pairs(count):
    """(rainy, clean), uint8 RGB [HEIGHT, WIDTH, 3]."""
    settings = Settings(**default.get_config().data.rendering)
    draw = jax.jit(render, static_argnums=2)
    paths, _ = photographs.split("bundled", 1)
    pairs = []
    for i in range(count):
        whole = pictures.read_image(paths[i % len(paths)])
        clean = cv2.resize(whole[20 * i :], (WIDTH, HEIGHT), interpolation=3)
        rainy, _ = draw(jax.random.key(i), np.float32(clean) / 255, settings)
        pairs.append((pixel_values.to_uint8(np.asarray(rainy)), clean))
    return pairs


def write_folders(root, splits, first=0):
    """SPLIT/data/N_rain.png and SPLIT/gt/N_clean.png; test_b as JPEG, as published."""
    pairs = rendered_pairs(14)
    for split, count in splits.items():
        suffix = ".jpg" if split == "test_b" else ".png"
        for n in range(count):
            rainy, clean = pairs[(first + n) % len(pairs)]
            pictures.write_image(root / split / "data" / f"{n}_rain{suffix}", rainy)
            pictures.write_image(root / split / "gt" / f"{n}_clean{suffix}", clean)
        first += count
    return root


def zip_folders(root, target):
    """The same as zip files."""
    target.mkdir()
    for split in sorted(p for p in root.iterdir() if p.is_dir()):
        with zipfile.ZipFile(target / f"{split.name}.zip", "w") as archive:
            for path in sorted(split.rglob("*")):
                archive.write(path, path.relative_to(root))
    return target

"""Photographs in, a data set of rendered pairs out: `--mode=render`."""

import dataclasses
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from raindrop.errors import UserError
from raindrop.media.pictures import find_images, read_image, side_by_side, write_image
from raindrop.rendering.render import render
from raindrop.rendering.settings import Settings

# Compiled once per size: photographs of one camera share theirs.
_draw = jax.jit(render, static_argnums=2)
_SHEET_ROWS = 8
_SHEET_CELL = (240, 160)  # width, height


def render_folder(
    input: str | os.PathLike,
    output: str | os.PathLike,
    config: ml_collections.ConfigDict,
    seed: int = 0,
    copies: int = 1,
) -> Path:
    """Puts raindrops before every photograph of a folder.

    Writes data/N_rain.png, gt/N_clean.png and mask/N_mask.png, the layout of the
    Raindrop data set, sources.txt (N and the photograph it was made from, with a tab
    between) and sheet.png, the first pairs to look at. Picture N depends on the seed,
    N and its photograph alone.

    Args:
      input: folder of photographs, searched with its subfolders. Drops scale with
        each photograph's long side.
      output: folder to write; made if missing.
      config: fields of `Settings`, such as `config.data.rendering`.
      seed: of all that is drawn.
      copies: renderings of each photograph.

    Returns:
      The path of the contact sheet.

    Raises:
      UserError: no photographs, a damaged one, or an output that cannot be written or
        holds a data set already.
    """
    if copies < 1:
        raise UserError(f"copies must be at least 1, not {copies}")
    paths = find_images(input)
    output = Path(output)
    _claim(output)
    settings = Settings(**config)
    key = jax.random.key(seed)
    sources, sheet = [], []
    with tqdm(total=len(paths) * copies, unit="picture", desc="render") as progress:
        for path in paths:
            photograph = read_image(path)
            framed = dataclasses.replace(settings, frame=max(photograph.shape[:2]))
            clean = jnp.asarray(photograph, jnp.float32) / 255
            for _ in range(copies):
                n = len(sources)
                rainy, mask = _draw(jax.random.fold_in(key, n), clean, framed)
                trio = [np.asarray(rainy), photograph, np.asarray(mask)]
                trio[2] = np.repeat(trio[2], 3, axis=-1)
                for folder, image in zip(_FOLDERS, trio, strict=True):
                    name = f"{n}_{_FOLDERS[folder]}.png"
                    write_image(output / folder / name, image)
                if len(sheet) < _SHEET_ROWS:
                    sheet.append(side_by_side(thumbnail(image) for image in trio))
                sources.append(f"{n}\t{path}\n")
                progress.update()
    (output / "sources.txt").write_text("".join(sources))
    write_image(output / "sheet.png", np.concatenate(sheet))
    return output / "sheet.png"


_FOLDERS = {"data": "rain", "gt": "clean", "mask": "mask"}


def _claim(output: Path) -> None:
    """Makes the folders, and sees that nothing of another data set is in them."""
    try:
        for folder in _FOLDERS:
            (output / folder).mkdir(parents=True, exist_ok=True)
            if any((output / folder).iterdir()):
                raise UserError(
                    f"{output / folder} is not empty; give a new --output folder"
                )
        if not os.access(output, os.W_OK):
            raise PermissionError(13, "Permission denied", str(output))
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}); give another --output"
        ) from None


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture cut and shrunk to a cell of the contact sheet, uint8."""
    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.asarray(ImageOps.fit(Image.fromarray(image), _SHEET_CELL))
